"""Toolsets as an application offers them: tools of the phrase bank, invented ones and the chat's own, with hard neighbours.

A neighbour is hard when it does something else to the same thing (reminder_create, reminder_list). Tools that a request could
mean as well never stand side by side. Knows nothing of turns, messages and tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from flywheel.local.base.chat_values import ChatValues
from flywheel.local.base.domains import DomainTool, same_meaning
from flywheel.local.base.draw import Draw
from flywheel.local.base.families import SHIPPED, Asked, FamilyTool, Schema, alike, bank, held_out, siblings
from flywheel.local.base.invented import Inventor
from flywheel.local.base.old_tools import OldTool

SIZES = (1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8)
_SORTS = ("families",) * 10 + ("mixed",) * 4 + ("domains",) * 3 + ("old",) * 2 + ("chat",) * 4
LARGE = (9, 10, 11, 12, 13, 14)
# So common in names that they say nothing of what a tool is about.
_COMMON = frozenset(
    "get set add find search create list show make book view check status new log update read the order all".split()
)


class Tool(Protocol):
    """What turns are made of."""

    key: str
    schema: Schema

    @property
    def name(self) -> str:
        """What the tool is called in a call."""

    def ask(self) -> Asked:
        """A request and its arguments."""

    def follow_up(self, before: Asked) -> Asked | None:
        """A request that refers back to the one before."""

    def incomplete(self) -> tuple[str, str] | None:
        """A request without a required value, and the question that asks for it."""

    def result(self, asked: Asked) -> tuple[str, str] | None:
        """What the tool might give, and a sentence that tells it."""


class Toolsets:
    """Draws toolsets. With `test`, targets come from what training never sees: families and nouns that are held out."""

    def __init__(self, draw: Draw, seed: int, *, test: bool = False) -> None:
        self._draw = draw
        self._values = ChatValues(draw)
        self._inventor = Inventor(seed)
        self._test = test
        self._families = [name for name in bank() if held_out(name) == test and not name.startswith(SHIPPED)]
        self._around = [name for name in bank() if not name.startswith(SHIPPED) and (test or not held_out(name))]
        self._shipped = [name for name in bank() if name.startswith(SHIPPED)]
        self._askable = self._families + ([] if test else self._shipped)
        self._offerable = self._around + ([] if test else self._shipped)

    def draw(self, sort: str = "") -> list[Tool]:
        """A toolset of this sort: `families`, `domains`, `mixed`, `old` or `chat`; any of them by chance where none is given."""
        sort = sort or self._draw.pick(_SORTS)
        makers: dict[str, Callable[[], list[Tool]]] = {
            "families": self._of_families, "domains": self._of_domains, "mixed": self._mixed, "old": self._of_old,
            "chat": self._of_chat,
        }  # fmt: skip
        tools = makers[sort]()
        return self._draw.some(tools, len(tools)) if sort != "chat" else tools

    def stranger(self, tools: list[Tool]) -> Tool:
        """A tool that is not in the set, about nothing that any of the set is about."""
        while True:
            tool: Tool
            if self._draw.chance(0.75):
                tool = FamilyTool(self._draw.pick(self._askable), self._draw, self._values)
            else:
                tool = DomainTool(self._draw, self._values, held_out=self._test)
            if all(_strange(tool, other) for other in tools):
                return tool

    def _size(self) -> int:
        return self._draw.pick(LARGE if self._draw.chance(0.06) else SIZES)

    def _of_families(self) -> list[Tool]:
        names = self._family_names(self._size())
        return self._distinct(names)

    def _family_names(self, size: int) -> list[str]:
        """One to be asked for, at times its siblings, and others that no request for it could mean."""
        names = [self._draw.pick(self._askable)]
        near = [name for name in siblings(names[0]) if name in self._around]
        if self._draw.chance(0.6):
            names += self._apart(names, self._draw.some(near, min(2, size - 1)))
        for _ in range(8 * size):
            if len(names) >= size:
                break
            pool = self._families if self._draw.chance(0.5) else self._offerable
            names += self._apart(names, [self._draw.pick(pool)])
        return names

    def _apart(self, names: list[str], more: list[str]) -> list[str]:
        kept: list[str] = []
        for name in more:
            if not any(name == other or name in alike()[other] for other in names + kept):
                kept.append(name)
        return kept

    def _of_domains(self) -> list[Tool]:
        size = self._size()
        tools: list[DomainTool] = []
        while len(tools) < size:
            like = self._draw.pick(tools) if tools and self._draw.chance(0.35) else None
            tool = DomainTool(self._draw, self._values, held_out=self._test, like=like)
            if all(_side_by_side(tool, other) for other in tools):
                tools.append(tool)
        return list(tools)

    def _mixed(self) -> list[Tool]:
        tools = self._of_families()[:5]
        for _ in range(self._draw.between(1, 4)):
            tool = DomainTool(self._draw, self._values, held_out=self._test)
            if all(_strange(tool, other) and _distinct_names(tool, other) for other in tools):
                tools.append(tool)
        return tools

    def _of_old(self) -> list[Tool]:
        return [OldTool(tool, self._inventor) for tool in self._inventor.toolset(set())]

    def _of_chat(self) -> list[Tool]:
        """The chat's own tools in their order, all or some of them, now and then with others."""
        names = list(self._shipped)
        if self._draw.chance(0.4):
            names = self._draw.some(names, self._draw.between(3, len(names)))
        if self._draw.chance(0.25):
            names += self._apart(names, [self._draw.pick(self._around)])
        return self._distinct(names)

    def _distinct(self, names: list[str]) -> list[Tool]:
        """A tool of each family, none named like another."""
        tools: list[Tool] = []
        for name in names:
            for _ in range(20):
                tool = FamilyTool(name, self._draw, self._values)
                if all(_distinct_names(tool, other) for other in tools):
                    tools.append(tool)
                    break
        return tools


def _distinct_names(tool: Tool, other: Tool) -> bool:
    return "".join(re.findall(r"[a-z0-9]+", tool.name.lower())) != "".join(re.findall(r"[a-z0-9]+", other.name.lower()))


def _side_by_side(tool: DomainTool, other: DomainTool) -> bool:
    """Whether both may be offered: about different things, or doing different things to the same."""
    if tool.noun == other.noun:
        return _distinct_names(tool, other) and not same_meaning(tool.verb, other.verb)
    return _distinct_names(tool, other) and _strange(tool, other)


def _strange(tool: Tool, other: Tool) -> bool:
    """Whether no word of what the one is about stands in the other's name or key, and no request could mean both."""
    if tool.key == other.key or other.key in alike().get(tool.key, ()):
        return False
    return not _about(tool) & _about(other)


def _about(tool: Tool) -> set[str]:
    """The telling words of a tool's key and name, without plural endings."""
    words = re.findall(r"[a-z]{3,}", tool.key.replace(SHIPPED, "").lower())
    words += re.findall(r"[A-Z]?[a-z]{2,}", tool.name)
    return {word.lower().removesuffix("s") for word in words} - _COMMON - {"domain", "old"}
