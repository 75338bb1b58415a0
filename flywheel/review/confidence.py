"""How sure a model was of what it decided, from the probabilities that a server tells with its tokens.

Knows numbers and the table that keeps them. Does not know how a model is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import NamedTuple

from flywheel.database import Database

COMPARED, FEWEST = 500, 40
"""A model's last so many turns say what is usual for it; with fewer than these nothing is unusual."""


class TokenChance(NamedTuple):
    """A token's natural-log probability, and that of the likeliest other token at its place (None: it was not told)."""

    logprob: float
    rival: float | None


@dataclass(frozen=True)
class Confidence:
    """mean_logprob: over the decision's tokens, near 0 is sure. margin: the smallest lead of a token over its likeliest rival,
    in natural log; below 0 where the grammar forbade what the model would rather have written."""

    mean_logprob: float
    margin: float
    tokens: int

    @classmethod
    def of(cls, chances: Iterable[TokenChance]) -> Confidence | None:
        """The measure of a decision, or None where the server told nothing."""
        known = list(chances)
        leads = [one.logprob - one.rival for one in known if one.rival is not None]
        if not known or not leads:
            return None
        return cls(sum(one.logprob for one in known) / len(known), min(leads), len(known))


@dataclass(frozen=True)
class Unsure:
    """Below which of the two numbers a model's decision is among its least sure ones."""

    mean_logprob: float
    margin: float

    def words(self, mean_logprob: float, margin: float) -> str | None:
        """What makes this decision unsure, or None."""
        if mean_logprob < self.mean_logprob:
            return f"unsure of its words (mean log-probability {mean_logprob:.2f})"
        return f"unsure between two words (margin {margin:.2f})" if margin < self.margin else None


class Confidences:
    """The table of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, turn_id: str, model: str, confidence: Confidence) -> None:
        """Keep a turn's first decision's confidence; a later one of the same turn changes nothing."""
        row = {"turn_id": turn_id, "model": model, **asdict(confidence)}
        self._database.insert("confidences", row, ignore=True)

    def unsure(self, model: str, share: float) -> Unsure | None:
        """The model's own usual, by its last turns; None while there are too few, or nothing is to count as unsure."""
        rows = self._database.query(
            "SELECT mean_logprob, margin FROM confidences WHERE model = ? ORDER BY rowid DESC LIMIT ?", (model, COMPARED)
        )
        if len(rows) < FEWEST or share <= 0:
            return None
        place = int(min(share, 0.5) * len(rows))
        return Unsure(*(sorted(row[name] for row in rows)[place] for name in ("mean_logprob", "margin")))
