"""Sides: what trains, what checks and what examines; how a new group gets one, and which side a question that two have stands on.

A group (a conversation, or one imported question, with all whose question is nearly the same) has one side for ever. Pure.
"""

from __future__ import annotations

import hmac
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from flywheel.near_duplicates import clusters
from flywheel.rows import Row

if TYPE_CHECKING:
    from flywheel.ledger import Example

Side = Literal["train", "validation", "holdout"]
SIDES: tuple[Side, ...] = get_args(Side)
LEARNED: tuple[Side, ...] = ("train", "validation")
SIDE_WORDS = {"train": "training set", "validation": "validation set", "holdout": "holdout"}
SOURCE_WORDS = {"correction": "correction", "thumb_up": "approved answer", "import": "imported row"}
NO_TOOL = "no tool"
SEVERAL_CALLS = "several calls"
_BLOCK: tuple[Side, ...] = ("train",) * 7 + ("validation",) + ("holdout",) * 2


def expected_tool(row: Row) -> str:
    """The names of the tools that the answer calls, joined, or "no tool"."""
    return ", ".join(sorted(call.name for call in row.calls)) or NO_TOOL


def stratum(row: Row) -> str:
    """The kind of row of which every side should have its share: a tool, "no tool" or "several calls"."""
    return SEVERAL_CALLS if len(row.calls) > 1 else expected_tool(row)


def drawn_side(key: bytes, kind: str, place: int) -> Side:
    """The side of the `place`th group (from 0) of a stratum: of ten in a row seven train, one checks and two examine.

    Which of them is drawn by a keyed hash, so that nobody without the key can aim a row at a side.
    """
    block, slot = divmod(place, len(_BLOCK))
    order = list(_BLOCK)
    random.Random(hmac.digest(key, f"{kind} {block}".encode("utf-8", "replace"), "sha256")).shuffle(order)
    return order[slot]


@dataclass
class Placed:
    """Examples by the side on which they are used, and what became of the others.

    moved: corrections that examine because their question, or nearly theirs, does. followed: those that went over to the
    side of an older question that is nearly theirs.
    """

    used: dict[Side, list[Example]] = field(default_factory=lambda: {side: [] for side in SIDES})
    moved: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    exclusions: list[dict[str, str]] = field(default_factory=list)

    def exclude(self, example_id: str, reason: str) -> None:
        """Leave an example out."""
        self.exclusions.append({"id": example_id, "reason": reason})

    def leave_out(self, side: Side, reasons: dict[str, str]) -> None:
        """Leave out some that had a place, for these reasons."""
        self.used[side] = [example for example in self.used[side] if example.id not in reasons]
        for example_id, reason in reasons.items():
            self.exclude(example_id, reason)

    def keys(self, *sides: Side) -> set[str]:
        """The question keys that stand on these sides."""
        return {example.row.question_key for side in sides for example in self.used[side]}

    def questions(self, *sides: Side) -> list[str]:
        """The questions themselves."""
        return [example.row.question for side in sides for example in self.used[side]]


def place(examples: Sequence[Example], old_skills: Sequence[Row]) -> Placed:
    """Give every example its place: one side for questions that are nearly the same, one row for those that say the same."""
    placed = Placed()
    oldest_first = sorted(examples, key=lambda example: (example.created_at, example.id))
    for example in oldest_first:
        if example.held is not None:
            placed.exclude(example.id, f"quarantined: {example.held}")
    free = [example for example in oldest_first if example.held is None]
    asked = {row.question_key: row.question for row in (*(example.row for example in free), *old_skills)}
    cluster_of = dict(zip(asked, clusters([*asked.values()]), strict=True))
    examined = {cluster_of[row.question_key] for row in old_skills}
    members: dict[int, list[Example]] = defaultdict(list)
    for example in free:
        members[cluster_of[example.row.question_key]].append(example)
    for cluster, near in members.items():
        side = _one_side(near)
        for example in _collapsed([*_settled(near, side, placed)], placed):
            if cluster in examined and side != "holdout" and example.source != "correction":
                placed.exclude(example.id, "nearly the same question examines the old skills, and what is examined never trains")
            else:
                placed.used[side].append(example)
    return placed


def _authority(example: Example) -> tuple[bool, str, str]:
    """Which of several answers to one question stands: a correction before all others, then the newest."""
    return example.source == "correction", example.created_at, example.id


def _one_side(near: list[Example]) -> Side:
    """The side of questions that are nearly the same: the holdout wherever it is among them, else that of the oldest one.

    A correction's side goes before that of other rows, since what checks is no exam.
    """
    if any(example.side == "holdout" for example in near):
        return "holdout"
    return min(near, key=lambda example: (example.source != "correction", example.created_at, example.id)).side


def _settled(near: list[Example], side: Side, placed: Placed) -> Iterable[Example]:
    """Those that stay: on the cluster's side, one for each situation; the others are excluded with their reason."""
    if len(near) == 1:  # most are, and what is around them is long
        return near
    standing: dict[str, Example] = {}
    for example in sorted(near, key=_authority, reverse=True):
        if side == "holdout" and example.side != side and example.source != "correction":
            placed.exclude(example.id, "the same question, or nearly the same, stands in the holdout")
            continue
        best = standing.setdefault(_situation(example.row), example)
        if best is not example:
            stands = f"the {SOURCE_WORDS[best.source]} {best.id!r} stands for it"
            placed.exclude(example.id, f"the same question with the same tools; {stands}")
        elif example.side != side:
            (placed.moved if side == "holdout" else placed.followed).append(example.id)
    return standing.values()


def _collapsed(settled: list[Example], placed: Placed) -> Iterable[Example]:
    """One of several that ask nearly the same and are answered with the same; a correction stays in any case."""
    standing: dict[str, Example] = {}
    if len(settled) == 1:
        yield settled[0]
        return
    for example in settled:  # the best authority comes first
        best = standing.setdefault(_said(example.row), example)
        if best is not example and example.source != "correction":
            stands = f"the {SOURCE_WORDS[best.source]} {best.id!r} stands for it"
            placed.exclude(example.id, f"nearly the same question with the same answer; {stands}")
        else:
            yield example


def _around(row: Row) -> list[object]:
    """What stands around the question: the conversation before, what came between it and the answer, and the tools on offer."""
    asked_at = max((index for index, message in enumerate(row.messages[:-1]) if message.get("role") == "user"), default=0)
    tools = sorted(json.dumps(tool, sort_keys=True) for tool in row.tools)
    return [row.messages[:asked_at], row.messages[asked_at + 1 : -1], tools]


def _situation(row: Row) -> str:
    """What two rows share that put the same question, after the same conversation, with the same tools on offer."""
    return f"{row.question_key} {json.dumps(_around(row), sort_keys=True)}"


def _said(row: Row) -> str:
    """What two rows share that are answered with the same in the same situation, whatever the question."""
    return json.dumps([row.messages[-1], _around(row)], sort_keys=True)
