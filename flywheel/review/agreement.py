"""How far reviewers agree, and how long a correction takes: the numbers on the desk's screen.

Cohen's kappa on the verdict (right as it was, corrected, rejected) of the two reviewers who decided on the same turn without
seeing each other's decision; F1 over the tools and arguments of their calls. The functions are pure; `Statistics.read` asks the
store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flywheel.database import Database
from flywheel.review.verdicts import Calls, Decided, decided, first_reply, standing
from flywheel.store import review_from

RECENT = 2000
"""So many of the latest decisions are looked at."""
Pair = tuple[Decided, Decided]


def kappa(pairs: Sequence[Pair]) -> float | None:
    """Cohen's kappa on the verdicts; None without pairs, or where both always said one and the same, so that it says nothing."""
    if not pairs:
        return None
    size = len(pairs)
    observed = sum(one.kind == other.kind for one, other in pairs) / size
    left, right = Counter(one.kind for one, _ in pairs), Counter(other.kind for _, other in pairs)
    chance = sum(left[kind] * right[kind] for kind in left) / size**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def calls_f1(pairs: Sequence[Pair]) -> float | None:
    """F1 over the tools and arguments of the pairs' calls taken together; None where nobody called anything."""
    shared = total = 0
    for one, other in pairs:
        left, right = _parts(one.calls), _parts(other.calls)
        shared += (left & right).total()
        total += left.total() + right.total()
    return 2 * shared / total if total else None


def _parts(calls: Calls) -> Counter[tuple[str, str, str]]:
    """The tool of each call, and each of its arguments with its value."""
    parts = Counter((name, "", "") for name, _ in calls)
    parts.update((name, key, json.dumps(value, sort_keys=True)) for name, arguments in calls for key, value in arguments.items())
    return parts


@dataclass(frozen=True)
class Statistics:
    """reviewers: known ones. pairs: turns on which two decided; kappa over them. f1: over the pairs_with_calls among them.

    seconds: the median from opening a turn to having corrected it, over `corrections` ones of which it is known.
    """

    reviewers: int
    decisions: int
    pairs: int
    kappa: float | None
    pairs_with_calls: int
    f1: float | None
    corrections: int
    seconds: float | None

    @classmethod
    def read(cls, database: Database, reviewers: int) -> Statistics:
        """The numbers as the store has them now."""
        found = _pairs(database)
        calling = [pair for pair in found if pair[0].calls or pair[1].calls]
        took = [
            row["seconds"]
            for row in database.query(
                "SELECT seconds FROM (SELECT * FROM reviews ORDER BY id DESC LIMIT ?)"
                " WHERE verdict = 'approved' AND response_override IS NOT NULL AND seconds IS NOT NULL",
                (RECENT,),
            )
        ]
        made = database.first("SELECT count(*) AS n FROM reviews WHERE verdict IN ('approved', 'rejected')")
        return cls(
            reviewers, made["n"] if made else 0, len(found), kappa(found), len(calling), calls_f1(calling),
            len(took), median(took) if took else None,
        )  # fmt: skip

    def text(self) -> str:
        """In two or three sentences for a person."""
        agreement = f"Two reviewers decided on {self.pairs} turns."
        if self.reviewers < 2:
            agreement = "Only one reviewer is known here, so no turn goes to a second one."
        elif self.pairs:
            known = "not defined (they always said the same)" if self.kappa is None else f"{self.kappa:.2f}"
            agreement = f"Agreement on {self.pairs} turns: kappa {known}"
            agreement += "." if self.f1 is None else f"; calls and arguments F1 {self.f1:.2f} (n = {self.pairs_with_calls})."
        if self.seconds is None:
            return agreement
        return f"{agreement} A correction takes {self.seconds:.0f} s (median, n = {self.corrections})."


def _pairs(database: Database) -> list[Pair]:
    """The first two standing decisions on each turn that went to two reviewers."""
    turns = database.query(
        "SELECT t.id, t.messages FROM turns t WHERE t.id IN (SELECT turn_id FROM"
        " (SELECT turn_id FROM reviews WHERE provisional ORDER BY id DESC LIMIT ?))",
        (RECENT,),
    )
    found = []
    for turn in turns:
        rows = database.query("SELECT * FROM reviews WHERE turn_id = ? ORDER BY id", (turn["id"],))
        both = standing([review_from(row) for row in rows], "")[:2]
        if len(both) == 2 and both[0].provisional:
            said = first_reply(json.loads(turn["messages"]))
            found.append((decided(both[0], said), decided(both[1], said)))
    return found
