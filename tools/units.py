"""convert_units: physical units and amounts of data, by pint.

Knows no currencies (see currency.py). The registry takes a moment to build: it is built once, at first use.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import re
import threading
from typing import Annotated, Any

from pydantic import Field

from tools.sentences import number
from tools.tool import ToolError

UnitName = Annotated[str, Field(min_length=1, max_length=40)]

# What people write and pint does not read, or reads as something else ("amps" as attometres per second, "c" as light speed).
_SPELLINGS = {
    "c": "degC", "°c": "degC", "centigrade": "degC", "f": "degF", "°f": "degF", "k": "kelvin", "kelvins": "kelvin", "kmh": "km/h",
    "kph": "km/h", "kmph": "km/h", "amp": "ampere", "amps": "ampere", "kilo": "kilogram", "kilos": "kilogram", "min": "minute",
    "mins": "minute", "hr": "hour", "hrs": "hour", "sec": "second", "secs": "second", "yr": "year", "yrs": "year", "wk": "week",
    "fl oz": "fluid_ounce", "fluid ounce": "fluid_ounce", "fluid ounces": "fluid_ounce", "nautical mile": "nautical_mile",
    "nautical miles": "nautical_mile", "light year": "light_year", "light years": "light_year",
    "imperial gallon": "imperial_gallon",
    "imperial gallons": "imperial_gallon", "imperial pint": "imperial_pint", "imperial pints": "imperial_pint",
    "troy ounce": "troy_ounce", "troy ounces": "troy_ounce", "metric ton": "metric_ton", "metric tons": "metric_ton",
    "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "kbps": "kilobit/second", "mbps": "megabit/second",
    "gbps": "gigabit/second", "sqm": "m**2", "sq m": "m**2", "sq km": "km**2", "sqft": "ft**2", "sq ft": "ft**2",
    "sq mi": "mi**2",
    "lb": "pound", "lbs": "pound", "cal": "calorie", "hp": "horsepower", "ton": "short_ton", "tons": "short_ton",
    "kwh": "kilowatt_hour", "mpg": "mile/gallon", "pt": "pint", "in": "inch", "ft": "foot", "oz": "ounce",
}  # fmt: skip
# One power of one digit: m**9999999 and m^4^4^4^4 would keep the processor busy.
_SAFE = re.compile(r"(?:[a-zµμΩ°²³ /._-]|\*(?!\*)|(?:\^|\*\*)[1-4](?!\d|\s*(?:\^|\*\*)))+", re.IGNORECASE)


def convert_units(value: float, from_unit: UnitName, to_unit: UnitName) -> dict[str, Any]:
    """Convert a value from one unit to another.

    Args:
        value: The number to convert
        from_unit: The unit it is in, such as km, pounds or celsius
        to_unit: The unit wanted, such as miles, kg or fahrenheit
    """
    import pint

    source, target = _unit(from_unit), _unit(to_unit)
    try:
        result = float(units().Quantity(value, source).to(target).magnitude)
    except pint.DimensionalityError:
        raise ToolError(
            f"{from_unit!r} cannot be converted to {to_unit!r}: one is {_kind(source)}, the other {_kind(target)}."
        ) from None
    except (pint.PintError, ArithmeticError):
        raise ToolError(f"{from_unit!r} cannot be converted to {to_unit!r}. Name two plain units of the same kind.") from None
    if not math.isfinite(result):
        raise ToolError(f"{value:g} {from_unit} in {to_unit} is too big a number.")
    return {
        "summary": f"{number(_tidy(value))} {_said(source, from_unit)} is {number(_tidy(result))} {_said(target, to_unit)}.",
        "value": _tidy(value),
        "from_unit": _shown(source),
        "result": _tidy(result),
        "to_unit": _shown(target),
    }


_build = threading.Lock()  # protects the first use of units(): building the registry twice at once would double the wait


def units() -> Any:
    """The one pint registry."""
    with _build:
        return _registry()


@functools.cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry()
    registry.parse_units("km/h")  # the first parse is slow
    return registry


def _unit(text: str) -> Any:
    """The pint unit that the text names, in any common spelling. Raises ToolError."""
    words = re.sub(r"^(degrees?|deg) (?=\w)", "", " ".join(text.split()), flags=re.IGNORECASE)
    plain = words.lower()
    candidates = [_SPELLINGS.get(plain), words, plain, re.sub(r"(?<=[a-z])([23])$", r"**\1", plain)]
    for candidate in candidates:
        if candidate and _SAFE.fullmatch(candidate):
            with contextlib.suppress(Exception):  # pint raises what its tokenizer meets: AssertionError, TypeError, TokenError
                return units().parse_units(candidate.replace("^", "**"))
    close = difflib.get_close_matches(plain, _names(), n=3, cutoff=0.75)
    hint = f" Did you mean {' or '.join(close)}?" if close else " Use names such as km, miles, kg, pounds, litres, celsius."
    raise ToolError(f"{text!r} is no unit that I know.{hint}")


@functools.cache
def _names() -> tuple[str, ...]:
    return tuple(name for name in dir(units()) if name.isalpha() and len(name) > 2 and name.islower())


def _kind(unit: Any) -> str:
    return _shown(unit.dimensionality).replace("[", "").replace("]", "")


def _shown(unit: Any) -> str:
    return str(unit).replace("degree_", "").replace("_", " ").replace(" ** ", "^").replace(" / ", "/")


def _said(unit: Any, text: str) -> str:
    """The unit in the person's own words, save degrees, whose names come in too many forms to read well in a sentence."""
    return {"degree_Celsius": "°C", "degree_Fahrenheit": "°F", "kelvin": "K"}.get(str(unit), " ".join(text.split()))


def _tidy(value: float) -> int | float:
    rounded = float(f"{value:.8g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
