"""Training turns: a toolset and several independent conversations over it, each ending in the assistant's message to learn.

`Turns(seed).sample()` draws one; the kinds and their shares are in SHARES. Messages and tools are in OpenAI shape, arguments as
JSON objects. With `test`, calls go to families and domains that training never sees. Knows no tokens and no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from flywheel.local.base.domains import DOMAINS
from flywheel.local.base.draw import Draw
from flywheel.local.base.families import Asked, Schema
from flywheel.local.base.surface import as_typed
from flywheel.local.base.toolsets import Tool, Toolsets
from flywheel.local.base.words import Words

Kind = Literal["call", "decline", "ask_back", "talk", "result", "error", "two_calls", "follow_up", "after"]
Message = dict[str, Any]

SHARES: dict[Kind, int] = {
    "call": 45, "decline": 20, "ask_back": 8, "talk": 4, "result": 8, "error": 2, "two_calls": 5, "follow_up": 5, "after": 3,
}  # fmt: skip
"""Of a hundred turns. `after` is a call that follows a finished exchange about something else."""
_DRAWN_KINDS: list[Kind] = [kind for kind, share in SHARES.items() for _ in range(share)]
_JOINTS = (" and ", " and ", " and also ", ", and ", ", then ", ". Also ", " and then ", "; ", " plus ")
_TOLD_ERRORS = (
    "'{x}' is no {n} that I know.",
    "There is no {n} of {x}.",
    "The {n} cannot be reached.",
    "'{x}' is not a {a} {n}.",
)
_REFUSED = "the person declined"


class Turn(NamedTuple):
    """A conversation; the last message is what is asked of the model."""

    kind: Kind
    messages: list[Message]


class Sample(NamedTuple):
    """Tools in OpenAI shape, and independent turns that are all offered these."""

    tools: list[Schema]
    turns: list[Turn]


class Turns:
    """Draws samples from one seed."""

    def __init__(self, seed: int, *, test: bool = False) -> None:
        self._draw = Draw(seed)
        self._toolsets = Toolsets(self._draw, seed + 1_000_003, test=test)
        self._words = Words(self._draw)
        self._makers: dict[Kind, Callable[[list[Tool]], list[Message] | None]] = {
            "call": self._call, "decline": self._decline, "ask_back": self._ask_back, "talk": lambda _: self._talk(),
            "result": self._result, "error": self._error, "two_calls": self._two_calls, "follow_up": self._follow_up,
            "after": self._after,
        }  # fmt: skip

    def sample(self, sort: str = "", kind: Kind | None = None, count: int = 0) -> Sample:
        """A toolset of this sort (see `Toolsets.draw`) with `count` turns of this kind; what is not given is left to chance."""
        tools = self._toolsets.draw(sort)
        while not tools:
            tools = self._toolsets.draw(sort)
        # A long list of tools costs as much as many turns: more turns share it.
        wanted = count or self._draw.between(3, 5) + (3 if len(tools) > 8 else 0)
        turns: list[Turn] = []
        for _ in range(20 * wanted):
            if len(turns) >= wanted:
                break
            drawn: Kind = kind if kind is not None else self._draw.pick(_DRAWN_KINDS)
            if (messages := self._makers[drawn](tools)) is not None:
                turns.append(Turn(drawn, messages))
        return Sample([tool.schema for tool in tools], turns)

    def _call(self, tools: list[Tool]) -> list[Message]:
        tool = self._draw.pick(tools)
        asked = tool.ask()
        return [_user(asked.text), _calls((tool, asked))]

    def _decline(self, tools: list[Tool]) -> list[Message]:
        if self._draw.chance(0.15):
            text = as_typed(self._draw, self._draw.pick(DOMAINS["general"]))
        else:
            text = self._toolsets.stranger(tools).ask().text
        return [_user(text), _says(self._draw.pick(DOMAINS["declines"]))]

    def _ask_back(self, tools: list[Tool]) -> list[Message] | None:
        found = self._draw.pick(tools).incomplete()
        return [_user(found[0]), _says(found[1])] if found else None

    def _talk(self) -> list[Message]:
        topic = self._draw.pick(DOMAINS["talk"])
        return [_user(as_typed(self._draw, self._draw.pick(topic["said"]))), _says(self._draw.pick(topic["answers"]))]

    def _result(self, tools: list[Tool]) -> list[Message] | None:
        """Half the results bring their sentence along, as `summary`."""
        tool = self._draw.pick(tools)
        asked = tool.ask()
        found = tool.result(asked)
        if found is None:
            return None
        content, sentence = found
        if self._draw.chance(0.4):
            sentence = self._longer(sentence)
            content = _compact({"summary": sentence} | json.loads(content))
        return [_user(asked.text), _calls((tool, asked)), _tool(content), _says(sentence)]

    def _longer(self, sentence: str) -> str:
        """A summary as tools write it: more than one thing, names and marks that no sentence pattern foresees."""
        draw = self._draw
        more = draw.pick(["{x}", "{X} ({n})", "{p}", "“{n} {x}”", "{c}, {X}", "{a} {n}", "{X} {X}"])
        said = self._words.compose(draw.pick([f". It is for {more}.", f" ({more})", f": {more} and {more}.", f", {more}.", ""]))
        return (sentence.rstrip(".") + said) if said else sentence

    def _error(self, tools: list[Tool]) -> list[Message]:
        draw = self._draw
        tool = draw.pick(tools)
        asked = tool.ask()
        error, answer = draw.pick(DOMAINS["errors"]), draw.pick(DOMAINS["error_answers"])
        if draw.chance(0.15):
            error, said = _REFUSED, "All right, I did not do that."
        elif draw.chance(0.5):
            error = self._words.compose(draw.pick(_TOLD_ERRORS))
            said = f"Sorry, that did not work: {error}"
        else:
            said = answer.format(e=error)
        return [_user(asked.text), _calls((tool, asked)), _tool(_compact({"error": error})), _says(said)]

    def _two_calls(self, tools: list[Tool]) -> list[Message]:
        draw = self._draw
        first = draw.pick(tools)
        second = first if draw.chance(0.3) else draw.pick(tools)
        one, other = first.ask(), second.ask()
        start = one.text.rstrip("?.! ")
        as_it_is = ("I ", "I'", *filter(None, other.said.values()))  # a value stays as it was said
        end = other.text if other.text.startswith(as_it_is) else other.text[:1].lower() + other.text[1:]
        return [_user(start + draw.pick(_JOINTS) + end), _calls((first, one), (second, other))]

    def _follow_up(self, tools: list[Tool]) -> list[Message] | None:
        tool = self._draw.pick(tools)
        asked = tool.ask()
        following = tool.follow_up(asked)
        if following is None:
            return None
        return [*self._exchange(tool, asked), _user(following.text), _calls((tool, following))]

    def _after(self, tools: list[Tool]) -> list[Message]:
        tool = self._draw.pick(tools)
        before = self._talk() if self._draw.chance(0.3) else self._exchange(tool, tool.ask())
        return before + (self._decline(tools) if self._draw.chance(0.2) else self._call(tools))

    def _exchange(self, tool: Tool, asked: Asked) -> list[Message]:
        """A question and its call, mostly with the tool's result and a sentence."""
        begun = [_user(asked.text), _calls((tool, asked))]
        found = tool.result(asked) if self._draw.chance(0.7) else None
        return [*begun, _tool(found[0]), _says(found[1])] if found else begun


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _says(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _tool(content: str) -> Message:
    return {"role": "tool", "content": content}


def _calls(*calls: tuple[Tool, Asked]) -> Message:
    made = [{"type": "function", "function": {"name": tool.name, "arguments": asked.arguments}} for tool, asked in calls]
    return {"role": "assistant", "content": "", "tool_calls": made}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
