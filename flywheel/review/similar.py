"""Undecided turns that asked the same as a corrected one, so that one correction may stand for several.

A turn whose question is the same but for case, spacing and punctuation takes the correction as it is. One that differs in a few
words takes it only if those are slips of the pen and every value of the corrected calls stands in its question too; otherwise it
is named, and somebody has to open it. Knows the queue's table; applies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from flywheel.database import Database
from flywheel.review.verdicts import calls_of
from flywheel.store import Message

LOOKED_AT = 300
"""So many of the latest undecided turns, of those that wait and of the quiet ones, are compared word by word."""
ALIKE, SLIP = 0.7, 0.75
"""Shared words of two questions, and shared letters of a word and its misspelling, from 0 to 1."""
WORD = re.compile(r"[-+]?\d+(?:[.,]\d+)*|\w+")


@dataclass(frozen=True)
class Similar:
    """An undecided turn like the corrected one. applies: whether the correction may be taken over without opening it."""

    turn_id: str
    question: str
    applies: bool


class SimilarTurns:
    """Looks for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, turn_id: str, response: Message, limit: int) -> list[Similar]:
        """Undecided turns like this one, to which its correction applies first."""
        own = self._database.first("SELECT question, question_key, offered FROM review_queue WHERE turn_id = ?", (turn_id,))
        if own is None:
            return []
        same, near = [], []
        for row in self._candidates(turn_id, own):
            if row["question_key"] == own["question_key"]:
                same.append(Similar(row["turn_id"], row["question"], True))
            elif alike(own["question"], row["question"]):
                near.append(Similar(row["turn_id"], row["question"], carries_over(own["question"], row["question"], response)))
            if len(same) + sum(found.applies for found in near) >= limit:
                break
        return [*same, *sorted(near, key=lambda found: not found.applies)][:limit]

    def _candidates(self, turn_id: str, own: dict[str, Any]) -> Iterator[dict[str, Any]]:
        columns, undecided = (
            "turn_id, question, question_key",
            "offered = :offered AND state IN ('open', 'quiet') AND turn_id != :own",
        )
        values = own | {"own": turn_id, "size": len(own["question"]), "most": LOOKED_AT}
        seen: set[str] = set()
        for sql in (
            f"SELECT {columns} FROM review_queue WHERE question_key = :question_key AND {undecided} LIMIT 50",
            *(
                f"SELECT {columns} FROM (SELECT * FROM review_queue WHERE waiting = {waiting} ORDER BY moment DESC LIMIT :most)"
                f" WHERE {undecided} AND abs(length(question) - :size) <= 5 + :size / 3"
                for waiting in (1, 0)
            ),
        ):
            for row in self._database.query(sql, values):
                if row["turn_id"] not in seen:
                    seen.add(row["turn_id"])
                    yield row


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def alike(one: str, other: str) -> bool:
    """Whether two questions share most of their words, in order; a misspelled word counts as shared."""
    left, right = _words(one), _words(other)
    if not left or not right or len({*left} & {*right}) < min(len(left), len(right)) / 2:
        return False
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    shared = sum(block.size for block in matcher.get_matching_blocks())
    shared += sum(_slips(left[a:b], right[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag == "replace")
    return 2 * shared / (len(left) + len(right)) >= ALIKE


def carries_over(one: str, other: str, response: Message) -> bool:
    """Whether a correction of the first question is right for the second too, as far as words can tell."""
    calls = calls_of(response)
    left, right = _words(one), _words(other)
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag != "equal" and not (b - a == d - c == _slips(left[a:b], right[c:d])):
            return False
    return bool(calls) and all(_stands_in(right, value) for _, arguments in calls for value in _leaves(arguments))


def _slips(left: list[str], right: list[str]) -> int:
    """How many words, pair by pair, are one another's misspelling; numbers never are."""
    pairs = zip(left, right, strict=False)
    return sum(a.isalpha() and b.isalpha() and SequenceMatcher(None, a, b).ratio() >= SLIP for a, b in pairs)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


def _stands_in(words: list[str], value: Any) -> bool:
    wanted = _words(str(value))
    starts = range(len(words) - len(wanted) + 1)
    return bool(wanted) and any(words[start : start + len(wanted)] == wanted for start in starts)
