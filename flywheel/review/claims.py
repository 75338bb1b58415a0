"""Who is at which turn: a lock that ends by itself, so that no two people correct the same turn and nobody holds one for ever.

Knows reviewers' names and turns' ids; what is done with a turn, others know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flywheel.database import Database
from flywheel.errors import Conflict

MINUTES = 10
"""A claim lasts so long after the reviewer last did something."""


@dataclass(frozen=True)
class Claim:
    """One reviewer's hold on a turn. since: when they opened it; until: when it ends unless they do something (both UTC)."""

    turn_id: str
    reviewer: str
    since: str
    until: str


class Claims:
    """The table of them. `moment` is the present one unless it is given."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, turn_id: str, reviewer: str, moment: datetime | None = None) -> Claim:
        """Claim a turn for a reviewer, letting go what they held before; returns who holds it now, which may be somebody else."""
        at = moment or datetime.now(UTC)
        with self._database.transaction():
            held = self.holder(turn_id, at)
            if held is not None and held.reviewer != reviewer:
                return held
            self._database.execute("DELETE FROM review_claims WHERE reviewer = ? AND turn_id != ?", (reviewer, turn_id))
            since = held.since if held else at.isoformat()
            claim = Claim(turn_id, reviewer, since, (at + timedelta(minutes=MINUTES)).isoformat())
            self._database.upsert("review_claims", vars(claim), ("turn_id",))
        return claim

    def holder(self, turn_id: str, moment: datetime | None = None) -> Claim | None:
        """Who holds the turn now, or None."""
        at = (moment or datetime.now(UTC)).isoformat()
        row = self._database.first("SELECT * FROM review_claims WHERE turn_id = ? AND until > ?", (turn_id, at))
        return None if row is None else Claim(**row)

    def last(self, turn_id: str, reviewer: str) -> Claim | None:
        """The reviewer's own claim of the turn, also one that has ended."""
        row = self._database.first("SELECT * FROM review_claims WHERE turn_id = ? AND reviewer = ?", (turn_id, reviewer))
        return None if row is None else Claim(**row)

    def check(self, turn_id: str, reviewer: str) -> None:
        """Raises Conflict while somebody else holds the turn."""
        held = self.holder(turn_id)
        if held is not None and held.reviewer != reviewer:
            raise Conflict(f"{held.reviewer} is reviewing this turn until {local_clock(held.until)}; decide after that")

    def release(self, turn_id: str, reviewer: str) -> None:
        """Let go of a turn."""
        self._database.execute("DELETE FROM review_claims WHERE turn_id = ? AND reviewer = ?", (turn_id, reviewer))


def local_clock(moment: str) -> str:
    """Hours and minutes of this machine's time: "14:05"."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M}"
