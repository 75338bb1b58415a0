"""Everyday questions to the chat's own tools: calls, questions back where a value is missing, and words where no tool fits.

A small model learns a way to ask from several rows with different values, and copies a value best where it stands in the question
as it stands in the call: so most rows ask in one of a dozen plain ways a tool, and the rest in rarer ones. Phrases and values are
in everyday_*.json, written by hand; everyday_values.py draws the values. The tools' schemas are given to this module: it knows
the tools only by their names and arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from flywheel.local.base.draw import Draw
from flywheel.rows import Row, ToolSchema
from flywheel.starter.everyday_values import Values

Phrase = str | list[Any]
"""What a person says, with {slots}; or that and the arguments which the words imply."""

CORE_ROWS, RARE_ROWS = 48, 13
"""For each tool: rows in the plain ways to ask, in turn, and rows in rarer ways, each once; its example questions come on top."""
MISSING, OUT_OF_SCOPE, SMALL_TALK = 40, 38, 37

_OPENINGS = ("hey, ", "hi, ", "hello, ", "ok, ")
_CLOSINGS = (" please", " please", " thanks", ", thank you", " pls")

T = TypeVar("T")


def _read(name: str) -> Any:
    return json.loads(Path(__file__).with_name(f"everyday_{name}.json").read_text(encoding="utf-8"))


def everyday_rows(tools: list[ToolSchema], seed: int) -> list[Row]:
    """All rows, shuffled; no two ask the same question. `tools`, in OpenAI shape, are offered by every row in this order."""
    return _Writer(tools, Draw(seed)).rows()


class _Writer:
    """Fills phrases with values and makes rows of them."""

    def __init__(self, tools: list[ToolSchema], draw: Draw) -> None:
        self._tools = tools
        self._draw = draw
        self._values = Values(draw, _read("values"))
        self._asked: set[str] = set()

    def rows(self) -> list[Row]:
        """Every row there is to write."""
        phrases, talk = _read("phrases"), _read("talk")
        rows = [row for tool in self._tools for row in self._calls(tool["function"], phrases[tool["function"]["name"]])]
        declines = [[said, self._draw.pick(talk["declines"])] for said in _cycled(talk["out_of_scope"], OUT_OF_SCOPE)]
        rows += [self._new(partial(self._spoken, *pair)) for pair in _cycled(talk["missing"], MISSING) + declines]
        rows += [self._new(partial(self._spoken, *pair, polite=False)) for pair in _cycled(talk["small_talk"], SMALL_TALK)]
        return self._draw.some(rows, len(rows))

    def _calls(self, function: dict[str, Any], phrases: dict[str, list[Phrase]]) -> list[Row]:
        examples = [self._new(partial(self._call, function, phrase, as_is=True)) for phrase in phrases["examples"]]
        drawn = _cycled(phrases["core"], CORE_ROWS) + self._draw.some(phrases["rare"], RARE_ROWS)
        return examples + [self._new(partial(self._call, function, phrase)) for phrase in drawn]

    def _new(self, write: Callable[[], Row]) -> Row:
        """A row whose question was not asked before."""
        row = write()
        while row.question_key in self._asked:
            row = write()
        self._asked.add(row.question_key)
        return row

    def _call(self, function: dict[str, Any], phrase: Phrase, *, as_is: bool = False) -> Row:
        text, implied = (phrase, {}) if isinstance(phrase, str) else phrase
        said, arguments = self._values.fill(text if as_is else self._dressed(text))
        given = arguments | implied
        ordered = {key: given[key] for key in function["parameters"]["properties"] if key in given}
        call = {"type": "function", "function": {"name": function["name"], "arguments": ordered}}
        return self._row(said, {"role": "assistant", "content": "", "tool_calls": [call]})

    def _spoken(self, text: str, answer: str, *, polite: bool = True) -> Row:
        said, values = self._values.fill(self._dressed(text, polite=polite))
        return self._row(said, {"role": "assistant", "content": answer.format_map(values)})

    def _row(self, said: str, answer: dict[str, Any]) -> Row:
        return Row([{"role": "user", "content": said}, answer], self._tools)

    def _dressed(self, said: str, *, polite: bool = True) -> str:
        """A phrase with the small differences between people: a careless start or end and, where polite, a hello or a please."""
        draw = self._draw
        closes = polite and draw.chance(0.12) and not said.endswith((".", "!", "="))
        if closes and "please" not in said.lower() and "pls" not in said:
            said = said.rstrip("?") + draw.pick(_CLOSINGS)
        if draw.chance(0.3):
            said = said[0].lower() + said[1:]
        if draw.chance(0.2):
            said = said.rstrip("?.")
        if polite and draw.chance(0.05):
            said = draw.pick(_OPENINGS) + (said if said.startswith("I") else said[0].lower() + said[1:])
        return said


def _cycled(items: Sequence[T], count: int) -> list[T]:
    """So many items: all in turn, and again from the first."""
    return [items[place % len(items)] for place in range(count)]
