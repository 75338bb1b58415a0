"""Corrections that somebody outside proposed for a turn. A reviewer starts from one and decides; none is an example by itself.

Knows the store. Knows nothing of where they come from (`intake`) or of what a reviewer's page makes of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from flywheel.database import Database, dump
from flywheel.rows import Message


@dataclass(frozen=True)
class Proposal:
    """response: the assistant message that should have been, sound by the schema that the model saw. person: `intake:<name>`."""

    id: str
    turn_id: str
    person: str
    response: Message
    opinion: str
    created_at: str


class Proposals:
    """Writes and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, proposal: Proposal) -> None:
        """Keep it; one that is there already stays as it is."""
        self._database.insert("proposals", vars(proposal) | {"response": dump(proposal.response)}, ignore=True)

    def open(self, turn_id: str) -> list[Proposal]:
        """Those of a turn that came after its last review, the newest first."""
        rows = self._database.query(
            "SELECT * FROM proposals p WHERE turn_id = ? AND NOT EXISTS (SELECT 1 FROM reviews v"
            " WHERE v.turn_id = p.turn_id AND v.created_at >= p.created_at) ORDER BY created_at DESC, rowid DESC",
            (turn_id,),
        )
        return [Proposal(**row | {"response": json.loads(row["response"])}) for row in rows]
