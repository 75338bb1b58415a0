"""convert_units: common spellings; clear words where units do not go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest_plugins = ("tool_fixtures",)


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (10, "km", "miles", 6.2137119), (1, "KG", "lbs", 2.2046226), (5, "feet", "cm", 152.4), (5, "foot", "centimetres", 152.4),
        (72, "fahrenheit", "celsius", 22.222222), (100, "°C", "°F", 212), (0, "C", "K", 273.15),
        (100, "degrees Celsius", "F", 212),
        (-40, "celsius", "fahrenheit", -40), (1, "cup", "ml", 236.58824), (8, "fluid ounces", "ml", 236.58824),
        (1, "GB", "MB", 1000),
        (1, "gallon", "litres", 3.7854118), (1, "imperial gallon", "liters", 4.54609), (60, "mph", "km/h", 96.56064),
        (100, "kmh", "miles per hour", 62.137119), (1, "m2", "sq ft", 10.76391), (1, "cubic metres", "liters", 1000),
        (2, "hours", "min", 120),
        (1, "stone", "kg", 6.3502932), (3, "amps", "mA", 3000), (1, "nautical mile", "km", 1.852), (1, "tonne", "kg", 1000),
        (1, "light year", "km", 9.4607305e12), (2.5, "tbsp", "tsp", 7.5), (1, "acre", "m^2", 4046.8726),
    ],
)  # fmt: skip
def test_conversions(ask: Callable[..., dict[str, Any]], value: float, source: str, target: str, result: float) -> None:
    answer = ask("convert_units", value=value, from_unit=source, to_unit=target)
    assert answer["result"] == pytest.approx(result, rel=1e-7)
    assert answer["value"] == value


def test_the_answer_names_the_units_in_full(ask: Callable[..., dict[str, Any]]) -> None:
    assert ask("convert_units", value=2, from_unit="sq ft", to_unit="m²") == {
        "summary": "2 sq ft is 0.186 m².", "value": 2, "from_unit": "foot^2", "result": 0.18580608, "to_unit": "meter^2",
    }  # fmt: skip
    assert ask("convert_units", value=20, from_unit="c", to_unit="f")["to_unit"] == "Fahrenheit"


@pytest.mark.parametrize(
    ("value", "source", "target", "summary"),
    [
        (10, "km", "miles", "10 km is 6.21 miles."), (72, "degrees  fahrenheit", "c", "72 °F is 22.22 °C."),
        (999.999, "m", "km", "1,000 m is 1 km."), (-0.5, "sq  ft", "m2", "-0.5 sq ft is -0.0465 m2."),
        (1, "light year", "km", "1 light year is 9,460,730,500,000 km."), (0, "kg", "lbs", "0 kg is 0 lbs."),
        (1, "nm", "km", "1 nm is 1 × 10^-12 km."), (2.5e15, "km", "m", "2.5 × 10^15 km is 2.5 × 10^18 m."),
    ],
)  # fmt: skip
def test_the_sentence_has_the_persons_units_and_readable_numbers(
    ask: Callable[..., dict[str, Any]], value: float, source: str, target: str, summary: str
) -> None:
    assert ask("convert_units", value=value, from_unit=source, to_unit=target)["summary"] == summary


@pytest.mark.parametrize(
    ("value", "source", "target", "says"),
    [
        (1, "km", "kg", "'km' cannot be converted to 'kg': one is length, the other mass"),
        (1, "killometer", "m", "Did you mean kilometer"),
        (1, "USD", "EUR", "'USD' is no unit that I know"),
        (1, "m", "blorps", "'blorps' is no unit"),
        (1, "celsius/hour", "F", "cannot be converted"),
        (1e308, "km", "nm", "too big"),
        (1, "m**9999999", "m", "no unit"),
        (1, "m^4^4^4^4", "m", "no unit"),
        (1, "m**4 ** 4", "m", "no unit"),
        (1, "m^2*s", "m", "length^2 * time"),
        (1, "(((", "m", "no unit"),
        (1, "'", "m", "no unit"),
        (1, "m/0", "m", "no unit"),
        (1, " ", "m", "no unit"),
        (1, "__class__", "m", "no unit"),
        (1, "x" * 41, "m", "at most 40"),
        ("10", "km", "m", "argument 'value'"),
        (float("inf"), "km", "m", "argument 'value'"),
    ],
)
def test_errors(refuse: Callable[..., str], value: object, source: str, target: str, says: str) -> None:
    assert says in refuse("convert_units", value=value, from_unit=source, to_unit=target)
