"""The values of everyday questions, and how people say them: for every {slot} of a phrase a value that its tool takes.

A value is said as it is written in the call, save where the call has a word of its own for what people say (a reason, "the UK").
Knows no phrases and no tools.
"""

from __future__ import annotations

import re
from typing import Any

from flywheel.local.base.draw import Draw

_SLOT = re.compile(r"{(\w+)}")
_ARGUMENTS = {
    "on_date": "date", "on_day": "date", "day": "date",
    "have_status": "status", "city_region": "city", "symbol": "from_currency",
}  # fmt: skip
"""Slots that are not called as the argument which they fill."""


class Values:
    """Draws values for slots. lists: name -> "a,b,c", as in everyday_values.json."""

    def __init__(self, draw: Draw, lists: dict[str, Any]) -> None:
        self._draw = draw
        self._lists = lists

    def fill(self, text: str) -> tuple[str, dict[str, Any]]:
        """The text with its slots filled, and the arguments that the values are."""
        slots = _SLOT.findall(text)
        drawn = self._pairs(slots)
        for slot in slots:
            if slot not in drawn:
                drawn[slot] = getattr(self, f"_{slot}")()
        said = _SLOT.sub(lambda slot: drawn[slot[1]][1], text)
        return said, {_ARGUMENTS.get(slot, slot): value for slot, (value, _) in drawn.items()}

    def _one(self, name: str) -> str:
        return str(self._draw.pick(self._lists[name].split(",")))

    def _same(self, name: str) -> tuple[str, str]:
        value = self._one(name)
        return value, value

    def _worded(self, name: str) -> tuple[str, str]:
        """A value and one of the ways to say it."""
        value = self._draw.pick(list(self._lists[name]))
        return value, self._draw.pick(self._lists[name][value].split("|"))

    def _pairs(self, slots: list[str]) -> dict[str, tuple[Any, str]]:
        """Units of one kind, currencies that differ: what is drawn together. Names of the same thing are parted by |."""
        drawn: dict[str, tuple[Any, str]] = {}
        if "symbol" in slots:
            symbol = self._draw.pick(list(self._lists["symbols"]))
            target = self._draw.pick(self._lists["symbols"][symbol].split(","))
            return {"symbol": (symbol, symbol), "to_currency": (target, target)}
        if "from_unit" in slots or "to_unit" in slots:
            kind = self._draw.pick(list(self._lists["units"]))
            drawn = self._from_and_to(self._lists["units"][kind], "unit")
        if "from_currency" in slots or "to_currency" in slots:
            drawn = self._from_and_to(self._lists["currencies"], "currency")
        return {slot: drawn[slot] for slot in slots if slot in drawn}

    def _from_and_to(self, listed: str, what: str) -> dict[str, tuple[Any, str]]:
        source, target = (self._draw.pick(names.split("|")) for names in self._draw.some(listed.split(","), 2))
        return {f"from_{what}": (source, source), f"to_{what}": (target, target)}

    def _number(self) -> tuple[int | float, str]:
        draw = self._draw
        if draw.chance(0.25):
            real = draw.real(0.5, 200, draw.pick([1, 1, 2]))
            whole = int(real) if real.is_integer() else real
            return whole, str(whole)
        number = draw.pick([draw.between(2, 30), draw.between(10, 99), 50 * draw.between(1, 40), draw.between(100, 999)])
        return number, str(number)

    _value = _amount = _number

    def _expression(self) -> tuple[str, str]:
        draw = self._draw
        a, b, c = (draw.between(2, high) for high in (99, 99, 12))
        plain = [
            f"{a} * {b}", f"{a} + {b}", f"{a} - {b}", f"{a * c} / {c}", f"{5 * c}% of {10 * b}", f"{a}% of {b * 5}",
            f"{c} * ({a} + {b})", f"({a} + {b}) * {c}",
        ]  # fmt: skip
        rare = [
            f"{a} x {c}", f"{a} times {c}", f"{a * c} divided by {c}", f"{a} plus {b}", f"{a * 10} minus {b}", f"{a}+{b}",
            f"{c}^{draw.between(2, 5)}", f"the square root of {c * c}", f"sqrt({a})", f"{c} squared", f"{a}*{c}",
            f"{a} + {b} + {c}", f"{draw.real(1, 90, 2)} * {c}", f"{draw.real(5, 60, 2)} + {draw.real(5, 60, 2)}",
            f"({a} - {min(a, b)}) / {c}", f"{draw.real(1, 20, 1)}% of {10 * b}",
        ]  # fmt: skip
        form = draw.pick(plain if draw.chance(0.6) else rare)
        return form, form

    def _city(self) -> tuple[str, str]:
        city = self._one("cities")
        return (city.lower(), city.lower()) if self._draw.chance(0.12) else (city, city)

    def _city_region(self) -> tuple[str, str]:
        city = self._draw.pick(self._lists["city_regions"].split("|"))
        return city, city

    def _country(self) -> tuple[str, str]:
        country = self._one("countries")
        return country.removeprefix("the "), country

    def _month(self) -> tuple[str, str]:
        return self._same("months")

    def _year(self) -> tuple[int, str]:
        year = self._draw.between(2024, 2031)
        return year, str(year)

    def _day(self) -> tuple[str, str]:
        """A day that is near, as for a forecast."""
        return self._same("days")

    def _on_day(self) -> tuple[str, str]:
        return _with_preposition(self._day())

    def _date(self) -> tuple[str, str]:
        draw = self._draw
        if draw.chance(0.8):
            return self._day()
        day, month = draw.between(1, 28), draw.between(1, 12)
        name = self._lists["months"].split(",")[month - 1]
        iso = f"20{draw.between(27, 30)}-{month:02d}-{day:02d}"
        written = draw.pick([iso, f"{day} {name}", f"{name} {day}"])
        return written, written

    def _on_date(self) -> tuple[str, str]:
        return _with_preposition(self._date())

    def _time(self) -> tuple[str, str]:
        return self._same("times")

    def _status(self) -> tuple[str, str]:
        status = self._draw.pick(list(self._lists["statuses"]))
        return status, status

    def _have_status(self) -> tuple[str, str]:
        return self._worded("statuses")

    def _reason(self) -> tuple[str, str]:
        return self._worded("reasons")

    def _product(self) -> tuple[str, str]:
        return self._same("products")

    def _order_id(self) -> tuple[str, str]:
        number = str(self._draw.between(1001, 1008 if self._draw.chance(0.3) else 9999))
        written = number if self._draw.chance(0.1) else f"A{number}"
        return written, written

    def _reminder_id(self) -> tuple[int, str]:
        number = self._draw.pick([self._draw.between(1, 20), self._draw.between(1, 200)])
        return number, str(number)

    def _text(self) -> tuple[str, str]:
        task = _SLOT.sub(lambda slot: self._one(slot[1]), self._one("tasks"))
        return task, task

    def _name(self) -> tuple[str, str]:
        return self._same("names")

    def _people(self) -> tuple[str, str]:
        return self._same("people")

    def _groceries(self) -> tuple[str, str]:
        return self._same("groceries")


def _with_preposition(day: tuple[str, str]) -> tuple[str, str]:
    value, said = day
    return value, said if said.startswith(("today", "tomorrow", "next ", "in ", "the ")) else f"on {said}"
