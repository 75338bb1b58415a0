"""Quarantine: rows that look planted stay stored and are not used until a developer releases them.

Looks at what the store holds, keeps what `suspects` finds, and lets go. Whoever is released is not held again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flywheel.audit import Audit
from flywheel.caps import Caps
from flywheel.database import Database
from flywheel.errors import NotFound
from flywheel.ledger import Ledger
from flywheel.rows import Row
from flywheel.suspects import Vote, suspects

VOTES = """
SELECT v.person, v.turn_id, min(v.created_at) AS created_at, t.question, max(v.opinion) AS opinion FROM (
    SELECT person, turn_id, created_at, opinion FROM ratings WHERE thumb IS NOT NULL
    UNION ALL SELECT person, turn_id, created_at, opinion FROM proposals
) v JOIN turns t ON t.id = v.turn_id GROUP BY v.person, v.turn_id ORDER BY 3, v.turn_id, v.person
"""
"""Who said that an answer was good or bad, or proposed another one: one vote a person and turn."""
HELD = """
SELECT id, held, person, messages FROM examples WHERE held IS NOT NULL AND NOT released AND superseded_by IS NULL
ORDER BY held, created_at, id
"""


@dataclass(frozen=True)
class HeldRow:
    """A row in quarantine: why, whose turn it came from, and what it asks."""

    id: str
    reason: str
    person: str | None
    question: str


class Quarantine:
    """The quarantine of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledger = Ledger(database)

    def scan(self, known: Sequence[Row], caps: Caps) -> int:
        """Look at all examples and put those that look planted in; returns how many came in now.

        known: rows that nobody outside can have planted.
        """
        with self._database.transaction():
            examples = self._ledger.examples()
            found = suspects(examples, self._votes(), known, caps)
            free = {
                record["id"] for record in self._database.query("SELECT id FROM examples WHERE held IS NULL AND NOT released")
            }
            new = {example_id: reason for example_id, reason in found.items() if example_id in free}
            for example_id, reason in new.items():
                self._database.update("examples", example_id, {"held": reason})
        return len(new)

    def held(self) -> list[HeldRow]:
        """What is in quarantine, those with the same reason together."""
        return [
            HeldRow(record["id"], record["held"], record["person"], Row(json.loads(record["messages"]), []).question)
            for record in self._database.query(HELD)
        ]

    def release(self, example_id: str, person: str) -> HeldRow:
        """Let a row be used again, for good; it stands in the audit log. Raises NotFound if it is not in quarantine."""
        with self._database.transaction():
            row = next((row for row in self.held() if row.id == example_id), None)
            if row is None:
                raise NotFound(f"no row {example_id!r} in quarantine; `flywheel quarantine list` shows those that are")
            self._database.update("examples", example_id, {"released": 1})
            Audit(self._database).record(person, "release row", example_id)
        return row

    def _votes(self) -> list[Vote]:
        return [
            Vote(
                record["person"], record["turn_id"], datetime.fromisoformat(record["created_at"]).timestamp(),
                record["question"], record["opinion"],
            )
            for record in self._database.query(VOTES)
        ]  # fmt: skip
