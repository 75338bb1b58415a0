"""The audit log: who did what that not everybody may do, in the order in which it happened. Nothing here changes a line.

Knows no handler; who calls it names the action and its subject.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flywheel.database import Database, dump, now

READING = "read turn"


@dataclass(frozen=True)
class Entry:
    """One line. subject: what it was done to (a model, a turn, a person). detail: small facts; never what people wrote."""

    id: int
    person: str
    action: str
    subject: str
    detail: dict[str, Any]
    created_at: str

    def told(self) -> str:
        """The detail in words: `roles: developer, reviewer; sessions: 2`."""
        parts = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in self.detail.items()}
        return "; ".join(f"{name}: {value}" for name, value in parts.items())


class Audit:
    """Writes and reads the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, person: str, action: str, subject: str = "", **detail: Any) -> None:
        """Append a line, durably; inside a transaction it stands or falls with it."""
        self._database.insert(
            "audit", {"person": person, "action": action, "subject": subject, "detail": dump(detail), "created_at": now()}
        )

    def record_reading(self, person: str, turn_id: str) -> None:
        """Append that they read a turn of somebody else's, once a day for each person and turn."""
        others = self._database.first("SELECT 1 FROM turns WHERE id = ? AND person != ?", (turn_id, person))
        sql = "SELECT 1 FROM audit WHERE action = ? AND subject = ? AND person = ? AND created_at >= ?"
        if others and not self._database.first(sql, (READING, turn_id, person, now()[:10])):
            self.record(person, READING, turn_id)

    def entries(self, limit: int = 200) -> list[Entry]:
        """The newest lines first."""
        rows = self._database.query("SELECT * FROM audit ORDER BY id DESC LIMIT ?", (limit,))
        return [Entry(**row | {"detail": json.loads(row["detail"])}) for row in rows]
