"""Variants of a corrected conversation: the same request put a little differently, with other values, to other tools beside.

A value that a person says and a call repeats is swapped in both, for one that stands in the same argument elsewhere or that looks
like it; what changes around values is what people change without thinking. Pure: the same row and seed give the same variants.
Knows nothing of where rows come from, which of them train, or how often.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.rows import Row, check_row

Values = Mapping[tuple[str, str], Sequence[str]]
"""(tool, argument) → the texts that stood there in other rows."""

HOW = [
    "values that the question says and the call repeats are swapped: texts for others of the same argument, digits for digits",
    "capitals, full stops, openings, closings and now and then a letter of the words around values",
]
"""What is varied, in words for a manifest."""

_OPENINGS = ("please ", "hi, ", "hey, ", "ok, ", "so, ")
_CLOSINGS = (" please", " thanks", ", thank you")
_TRIES = 4
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DAY = re.compile(r"(\d{4})-\d\d-\d\d")
_YEAR = re.compile(r"(19|20)\d\d")
_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9][A-Za-z0-9._/-]{2,}")


class _Said(NamedTuple):
    """A value that the question says and the call repeats: where in the question, in which call and argument."""

    start: int
    end: int
    call: int
    argument: str


def values_of(rows: Iterable[Row]) -> Values:
    """The texts that rows call their tools with, by tool and argument, each once and in order of appearance."""
    found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in rows:
        for name, arguments in row.calls:
            for argument, value in arguments.items():
                if isinstance(value, str):
                    found[name, argument][value] = None
    return {place: list(texts) for place, texts in found.items()}


def variants(row: Row, count: int, values: Values, *, seed: str) -> list[Row]:
    """At most `count` different rows that ask for the same thing; fewer where little can be varied."""
    chance = random.Random(f"{seed} {row.digest}")
    made: dict[str, Row] = {row.digest: row}
    for _ in range(_TRIES * count):
        if len(made) > count:
            break
        varied = _varied(row, values, chance)
        if varied.digest not in made and not check_row(varied):
            made[varied.digest] = varied
    return list(made.values())[1:]


def _varied(row: Row, values: Values, chance: random.Random) -> Row:
    asked = max(place for place, message in enumerate(row.messages) if message.get("role") == "user")
    messages: list[dict[str, Any]] = json.loads(json.dumps(row.messages))
    arguments = [call["function"]["arguments"] for call in messages[-1].get("tool_calls") or ()]
    text, parts, place = row.question, [], 0
    for said in _said(row):
        old = arguments[said.call][said.argument]
        spoken, value = _swapped(old, values.get((row.calls[said.call].name, said.argument), ()), chance)
        arguments[said.call][said.argument] = value
        parts += [_around(text[place : said.start], chance), spoken]
        place = said.end
    parts.append(_around(text[place:], chance))
    messages[asked]["content"] = _dressed(parts, chance)
    tools = chance.sample(row.tools, len(row.tools)) if chance.random() < SHUFFLED else row.tools
    return Row(messages, tools)


SHUFFLED = 0.0


def _said(row: Row) -> list[_Said]:
    """What can be swapped, in order: values that the whole conversation says once, and only in the question."""
    text = row.question
    elsewhere = " ".join(str(message.get("content")) for message in row.messages[:-1]).replace(text, "", 1)
    found: list[_Said] = []
    for number, (_, arguments) in enumerate(row.calls):
        for name, value in arguments.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
                continue
            places = list(re.finditer(rf"(?<![\w.]){re.escape(str(value))}(?![\w]|\.\d)", text))
            if len(places) == 1 and str(value) not in elsewhere:
                found.append(_Said(*places[0].span(), number, name))
    found.sort()
    apart = [one for one in found if not any(_meet(one, other) for other in found if other is not one)]
    return apart


def _meet(one: _Said, other: _Said) -> bool:
    return one.start < other.end and other.start < one.end


def _swapped(value: Any, others: Sequence[str], chance: random.Random) -> tuple[str, Any]:
    """(as it is said, as it is called with): another value of the kind, or the same where none is known."""
    if isinstance(value, int | float):
        spoken = _like(str(value), chance)
        return spoken, (int(spoken) if isinstance(value, int) else float(spoken))
    if _NUMBER.fullmatch(value) or _CODE.fullmatch(value):
        spoken = _like(value, chance)
        return spoken, spoken
    other = chance.choice([text for text in others if text != value] or [value])
    return other, other


def _like(text: str, chance: random.Random) -> str:
    """Digits for digits, the first of a number never 0; letters of codes stay, since they may say what kind of code it is.

    A day stays a day of its year, and what looks like a year stays in its century.
    """
    if day := _DAY.fullmatch(text):
        return f"{day[1]}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
    if year := _YEAR.fullmatch(text):
        return f"{year[1]}{chance.randrange(100):02d}"
    drawn = [str(chance.randrange(10)) if letter.isdigit() else letter for letter in text]
    first = next(place for place, letter in enumerate(text) if letter.isdigit())
    if text[first] != "0":
        drawn[first] = str(chance.randrange(1, 10))
    return "".join(drawn)


def _around(text: str, chance: random.Random) -> str:
    """The words between two values, now and then with one letter of one of them wrong."""
    words = [found.span() for found in re.finditer(r"(?<![\w'])[a-z]{5,}(?![\w'])", text)]
    if not words or chance.random() > 0.1:
        return text
    start, end = chance.choice(words)
    at = chance.randrange(start + 1, end - 2)
    return chance.choice([text[:at] + text[at + 1] + text[at] + text[at + 2 :], text[:at] + text[at + 1 :]])


def _dressed(parts: list[str], chance: random.Random) -> str:
    """The question put together, with or without what people put around a request."""
    first, last = parts[0], parts[-1]
    if chance.random() < 0.4 and first:
        first = first[:1].lower() + first[1:] if chance.random() < 0.6 else first[:1].upper() + first[1:]
    if chance.random() < 0.15 and first and not re.match(r"I\b", first):
        first = chance.choice(_OPENINGS) + first[:1].lower() + first[1:]
    parts = [first, *parts[1:]]
    if chance.random() < 0.4:
        parts[-1] = last.rstrip("?.! ") if len(parts) > 1 else parts[-1].rstrip("?.! ")
    if chance.random() < 0.15 and not "".join(parts).rstrip().endswith(("?", ".", "!")):
        parts[-1] = parts[-1] + chance.choice(_CLOSINGS)
    return "".join(parts)
