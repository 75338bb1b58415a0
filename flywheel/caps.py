"""How much of a training set, or of an exam, one person may be: the policy's section on people who give too much, and the count.

Pure. Knows who gave a row, not whether it is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.ledger import Example


@dataclass(frozen=True)
class Caps:
    """The section [caps] of the policy file, which says what each value means."""

    caps_from_people: int = 5
    person_share: float = 5.0
    person_rows: int = 50
    person_floor: int = 10
    burst_votes: int = 30
    burst_minutes: float = 10.0
    burst_times: float = 5.0
    copies: int = 10
    trigger_rows: int = 6
    trigger_share: float = 0.9


@dataclass(frozen=True)
class Excess:
    """What one cap leaves out. limit: rows that each person keeps at most. reasons: example id → why it is left out."""

    limit: int
    reasons: dict[str, str]


def excess(
    examples: Sequence[Example],
    caps: Caps,
    *,
    weight: int = 1,
    beside: Callable[[int], int] = lambda rows: 0,
    newest: bool = True,
) -> Excess | None:
    """What is over the share of one person among the examples of one file; None while too few people gave any.

    weight: rows that a correction stands for. beside: how many rows of nobody's join so many of the examples. newest: whether a
    person's newest rows stay (what trains) or their oldest (what examines). Imports are nobody's.
    """
    given: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.source != "import" and example.person is not None:
            given[example.person].append(example)
    if len(given) < caps.caps_from_people:
        return None
    rows = {person: sum(_rows(one, weight) for one in theirs) for person, theirs in given.items()}
    nobodys = len(examples) - sum(map(len, given.values()))
    limit = _limit([*rows.values()], nobodys, caps, beside)
    reasons: dict[str, str] = {}
    for person, theirs in given.items():
        kept = 0
        for one in sorted(theirs, key=_first_to_stay, reverse=newest):
            kept += _rows(one, weight)
            if kept > limit:
                reasons[one.id] = f"one person gave {rows[person]} rows of this kind; at most {limit} of theirs are used"
    return Excess(limit, reasons)


def _rows(example: Example, weight: int) -> int:
    return weight if example.source == "correction" else 1


def _first_to_stay(example: Example) -> tuple[bool, str, str]:
    return example.source == "correction", example.created_at, example.id


def _limit(rows: list[int], nobodys: int, caps: Caps, beside: Callable[[int], int]) -> int:
    """The most rows for each such that nobody is over the share of what is then there.

    Fewer people than a hundred divided by the share cannot all be under it: then it is an equal share.
    """
    share = max(caps.person_share, 100 / len(rows)) / 100
    limit = caps.person_rows
    while limit > caps.person_floor:
        examples = nobodys + sum(min(theirs, limit) for theirs in rows)
        allowed = int(share * (examples + beside(examples)) + 1e-9)
        if allowed >= limit:
            return limit
        limit = max(allowed, caps.person_floor)
    return min(caps.person_floor, caps.person_rows)
