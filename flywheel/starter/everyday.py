"""Everyday questions to the chat's own tools: calls, questions back where a value is missing, and words where no tool fits.

Phrases and values are in everyday_*.json, written by hand; this file fills the first with the second. The tools' schemas are
given to it: it knows the tools only by their names and arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flywheel.rows import Row, ToolSchema
from flywheel.starter.draw import Draw

Phrase = str | list[Any]
"""What a person says, with {slots}; or that and the arguments which the words imply."""

CALLS_A_TOOL = 26
MISSING, OUT_OF_SCOPE, SMALL_TALK = 22, 22, 20

_SLOT = re.compile(r"{(\w+)}")
_OPENINGS = ("hey, ", "hi! ", "hello, ", "quick one: ", "ok so ", "sorry to bother you, ", "Good evening. ", "right, ")
_CLOSINGS = (" please", " thanks", ", thank you", " pls", " :)")


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(f"everyday_{name}.json").read_text(encoding="utf-8"))


def everyday_rows(tools: list[ToolSchema], seed: int) -> list[Row]:
    """All rows, shuffled; no two ask the same question. `tools` are those the chat offers, in OpenAI shape."""
    return _Writer(tools, Draw(seed)).rows()


class _Writer:
    """Fills phrases with values and puts tools beside them."""

    def __init__(self, tools: list[ToolSchema], draw: Draw) -> None:
        self._tools = {tool["function"]["name"]: tool for tool in tools}
        self._draw = draw
        self._values = _Values(draw)
        self._asked: set[str] = set()

    def rows(self) -> list[Row]:
        phrases: dict[str, list[Phrase]] = _read("phrases")
        talk = _read("talk")
        rows = [row for name in self._tools for row in self._calls(name, phrases[name])]
        declines = [[said, self._draw.pick(talk["declines"])] for said in talk["out_of_scope"]]
        spoken = self._draw.some(declines, OUT_OF_SCOPE) + self._draw.some(talk["small_talk"], SMALL_TALK)
        for needed, said, answer in self._draw.some(talk["missing"], MISSING) + [[None, *pair] for pair in spoken]:
            rows.append(self._new(partial(self._spoken, needed, said, answer)))
        return self._draw.some(rows, len(rows))

    def _calls(self, name: str, phrases: list[Phrase]) -> list[Row]:
        chosen = self._draw.some(phrases, CALLS_A_TOOL)
        return [self._new(partial(self._call, name, phrase)) for phrase in chosen]

    def _new(self, write: Callable[[], Row]) -> Row:
        """A row whose question was not asked before."""
        row = write()
        while row.question_key in self._asked:
            row = write()
        self._asked.add(row.question_key)
        return row

    def _call(self, name: str, phrase: Phrase) -> Row:
        text, implied = (phrase, {}) if isinstance(phrase, str) else phrase
        said, arguments = self._values.fill(self._dressed(text))
        declared = self._tools[name]["function"]["parameters"]["properties"]
        ordered = {key: (arguments | implied)[key] for key in declared if key in arguments | implied}
        call = {"type": "function", "function": {"name": name, "arguments": ordered}}
        return self._row(said, {"role": "assistant", "content": "", "tool_calls": [call]}, name)

    def _spoken(self, needed: str | None, text: str, answer: str) -> Row:
        said, _ = self._values.fill(self._dressed(text))
        return self._row(said, {"role": "assistant", "content": answer}, needed)

    def _row(self, said: str, answer: dict[str, Any], needed: str | None) -> Row:
        return Row([{"role": "user", "content": said}, answer], self._offered(needed))

    def _offered(self, needed: str | None) -> list[ToolSchema]:
        """All tools, as the chat offers them, for one row in five; else some, with the needed one; always in random order."""
        names = list(self._tools)
        if not self._draw.chance(0.2):
            others = [name for name in names if name != needed]
            names = self._draw.some(others, self._draw.between(4, 7)) + ([needed] if needed else [])
        return [self._tools[name] for name in self._draw.some(names, len(names))]

    def _dressed(self, said: str) -> str:
        """A phrase with the small differences between people: an opening, a closing, a careless start or end."""
        draw = self._draw
        if draw.chance(0.12) and not said.endswith((".", "!")) and "please" not in said and "pls" not in said:
            said = said.rstrip("?") + draw.pick(_CLOSINGS)
        if draw.chance(0.12):
            said = draw.pick(_OPENINGS) + said
        if draw.chance(0.15):
            said = said[0].lower() + said[1:] if draw.chance(0.5) else said.rstrip("?.")
        return said


class _Values:
    """Values for slots, and how people say them."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._lists: dict[str, Any] = _read("values")

    def fill(self, text: str) -> tuple[str, dict[str, Any]]:
        """The text with its slots filled, and the arguments that the values are; `on_date` is `date` with its preposition."""
        slots = _SLOT.findall(text)
        drawn = self._pairs(slots)
        for slot in slots:
            if slot not in drawn:
                drawn[slot] = getattr(self, f"_{slot}")()
        said = _SLOT.sub(lambda slot: drawn[slot[1]][1], text)
        return said, {("date" if slot == "on_date" else slot): value for slot, (value, _) in drawn.items()}

    def _one(self, name: str) -> str:
        return str(self._draw.pick(self._lists[name].split(",")))

    def _same(self, name: str) -> tuple[str, str]:
        value = self._one(name)
        return value, value

    def _pairs(self, slots: list[str]) -> dict[str, tuple[Any, str]]:
        """Units of one kind, currencies that differ: what is drawn together."""
        drawn: dict[str, tuple[Any, str]] = {}
        if "from_unit" in slots or "to_unit" in slots:
            kind = self._draw.pick(list(self._lists["units"]))
            source, target = self._draw.some(self._lists["units"][kind].split(","), 2)
            drawn = {"from_unit": (source, source), "to_unit": (target, target)}
        if "from_currency" in slots or "to_currency" in slots:
            source, target = self._draw.some(self._lists["currencies"].split(","), 2)
            drawn = {"from_currency": (source, source), "to_currency": (target, target)}
        return {slot: drawn[slot] for slot in slots if slot in drawn}

    def _number(self) -> tuple[int | float, str]:
        draw = self._draw
        if draw.chance(0.25):
            real = draw.real(0.5, 200, draw.pick([1, 1, 2]))
            whole = int(real) if real.is_integer() else real
            return whole, str(whole)
        number = draw.pick([draw.between(2, 30), draw.between(10, 99), 50 * draw.between(1, 40), draw.between(100, 999)])
        return number, f"{number:,}" if number >= 1000 and draw.chance(0.2) else str(number)

    _value = _amount = _number

    def _expression(self) -> tuple[str, str]:
        draw = self._draw
        a, b, c = (self._draw.between(2, high) for high in (99, 99, 12))
        forms = [
            f"{a} * {b}", f"{a} x {c}", f"{a} times {c}", f"{a * c} / {c}", f"{a * c} divided by {c}", f"{5 * c}% of {10 * b}",
            f"({a} + {b}) * {c}", f"{c} * ({a} - {min(b, a)})", f"{c}^{draw.between(2, 5)}", f"the square root of {c * c}",
            f"{a} plus {b}", f"{a * 10} minus {b}", f"{a} + {b} + {c}", f"{a / 4} + {b / 10}", f"{c} squared", f"{a}-{c}",
            f"{draw.real(1, 90, 2)} * {c}", f"{a * b} - {b * c}", f"{c} to the power of 3", f"sqrt({a})",
            f"{draw.real(5, 60, 2)} + {draw.real(5, 60, 2)}",
        ]  # fmt: skip
        form = draw.pick(forms)
        return form, form

    def _city(self) -> tuple[str, str]:
        city = self._one("cities")
        return (city.lower(), city.lower()) if self._draw.chance(0.12) else (city, city)

    def _country(self) -> tuple[str, str]:
        country = self._one("countries")
        return country.removeprefix("the "), country

    def _month(self) -> tuple[str, str]:
        return self._same("months")

    def _year(self) -> tuple[int, str]:
        year = self._draw.between(2022, 2031)
        return year, str(year)

    def _date(self) -> tuple[str, str]:
        draw = self._draw
        if draw.chance(0.75):
            return self._same("days")
        day, month = draw.between(1, 28), draw.between(1, 12)
        name = self._lists["months"].split(",")[month - 1]
        iso = f"20{draw.between(26, 29)}-{month:02d}-{day:02d}"
        written = draw.pick([iso, f"{day} {name}", f"{name} {day}"])
        return written, written

    def _on_date(self) -> tuple[str, str]:
        written, _ = self._date()
        bare = written.startswith(("today", "tomorrow", "next "))
        return written, written if bare else f"on {written}"

    def _time(self) -> tuple[str, str]:
        return self._same("times")

    def _product(self) -> tuple[str, str]:
        return self._same("products")

    def _order_id(self) -> tuple[str, str]:
        number = str(self._draw.between(1001, 1008 if self._draw.chance(0.3) else 9999))
        written = number if self._draw.chance(0.15) else f"A{number}"
        return written, written

    def _reminder_id(self) -> tuple[int, str]:
        number = self._draw.pick([self._draw.between(1, 12), self._draw.between(1, 200)])
        return number, str(number)

    def _text(self) -> tuple[str, str]:
        task = _SLOT.sub(lambda slot: self._one(slot[1]), self._one("tasks"))
        return task, task
