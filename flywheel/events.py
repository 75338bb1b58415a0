"""What happened that a developer wants to hear of: runs that ended, models put live, rolled back or set aside.

The database writes an event together with what it tells (see the migration), so none is lost and none is invented. Knows who has
seen which; delivering them elsewhere is `webhook`'s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flywheel.database import Database
from flywheel.database import Row as Record

SELECT = (
    "SELECT e.id, e.kind, e.run_id, e.model, e.created_at, r.status, r.outcome, r.verdict, r.error"
    " FROM events e LEFT JOIN runs r ON r.id = e.run_id"
)


@dataclass(frozen=True)
class Event:
    """kind: "ended" (a run; status, outcome and verdict tell how), "rejected" (its model was set aside), or a move of the served
    model: "promote", "rollback".

    error: why a run failed or its model was set aside, in words that may name people.
    """

    id: int
    kind: str
    run_id: str | None
    model: str | None
    created_at: str
    status: str | None
    outcome: str | None
    verdict: str | None
    error: str | None


def event_from(record: Record) -> Event:
    """An Event from its database row."""
    verdict: Any = json.loads(record["verdict"]) if record["verdict"] else {}
    return Event(**record | {"verdict": verdict.get("verdict")})


class Events:
    """What happened since somebody last looked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unseen(self, person: str, limit: int = 20) -> list[Event]:
        """The newest first; all of them for somebody who never looked."""
        sql = f"{SELECT} WHERE e.id > coalesce((SELECT event FROM looks WHERE person = ?), 0) ORDER BY e.id DESC LIMIT ?"
        return [event_from(record) for record in self._database.query(sql, (person, limit))]

    def seen(self, person: str, event: int) -> None:
        """Remember that they have seen everything up to this event."""
        with self._database.transaction():
            known = self._database.first("SELECT event FROM looks WHERE person = ?", (person,))
            if known is None or known["event"] < event:
                self._database.upsert("looks", {"person": person, "event": event}, ("person",))
