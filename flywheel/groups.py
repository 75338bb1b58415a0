"""Groups and their sides, decided once and kept for ever: a conversation, or one imported question, with what is nearly the same.

Knows the store's tables of groups and examples; which side a draw falls on, `sides` knows.
"""

from __future__ import annotations

import json
import secrets

from flywheel.database import Database, dump, now
from flywheel.near_duplicates import NearTexts
from flywheel.rows import Row
from flywheel.sides import Side, drawn_side, stratum

CONFIDENT_CORRECTIONS = 20
"""Up to so many corrected conversations always train: a holdout of a handful decides nothing, and the person who took the
trouble would wait for a fix that never comes. From then on their side is decided by hash like any other."""


class Groups:
    """The groups of one store. Its methods are called within the transaction that stores the example."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._near = NearTexts()
        self._indexed: set[str] = set()

    def refresh(self) -> None:
        """Take in the questions that are stored and not known here yet, oldest first. Those that are gone do no harm."""
        stored = self._database.query("SELECT id FROM examples ORDER BY created_at, id")
        unknown = [record["id"] for record in stored if record["id"] not in self._indexed]
        sql = (
            "SELECT e.id, e.messages FROM examples e JOIN json_each(?) wanted ON wanted.value = e.id ORDER BY e.created_at, e.id"
        )
        for record in self._database.query(sql, (dump(unknown),)) if unknown else ():
            self.note(record["id"], Row(json.loads(record["messages"]), []))

    def note(self, example_id: str, row: Row) -> None:
        """Remember the question of an example that is stored now."""
        self._near.add(example_id, row.question)
        self._indexed.add(example_id)

    def ensure(self, group_id: str, row: Row, *, corrected: bool) -> None:
        """Decide the group's side by its first row, unless that happened before."""
        if self._database.first("SELECT 1 FROM groups WHERE id = ?", (group_id,)):
            return
        side, rule, drawn_for = self._decided(row, corrected)
        record = {"id": group_id, "side": side, "rule": rule, "decided_at": now(), "stratum": drawn_for}
        self._database.insert("groups", record)

    def _decided(self, row: Row, corrected: bool) -> tuple[Side, str, str | None]:
        """(side, the rule that decided, the stratum it was drawn for): early corrections train, a question that is known, or
        nearly, follows the older group, and the rest are drawn."""
        if corrected:
            found = self._database.first("SELECT count(DISTINCT group_id) AS n FROM examples WHERE source = 'correction'")
            if found is None or found["n"] < CONFIDENT_CORRECTIONS:
                return "train", f"among the first {CONFIDENT_CORRECTIONS} corrected conversations", None
        twin = self._database.first(
            "SELECT g.side FROM examples e JOIN groups g ON g.id = e.group_id WHERE e.question_key = ?"
            " ORDER BY g.side = 'holdout' DESC, e.created_at LIMIT 1",
            (row.question_key,),
        )
        if twin is not None:
            return twin["side"], "with the same question elsewhere", None
        older = self._side_of_near(row)
        if older is not None:
            return older, "with nearly the same question elsewhere", None
        kind = stratum(row)
        drawn = self._database.first("SELECT count(*) AS n FROM groups WHERE stratum = ?", (kind,))
        return drawn_side(self._split_key(), kind, drawn["n"] if drawn else 0), f"keyed hash among {kind!r}", kind

    def _side_of_near(self, row: Row) -> Side | None:
        """The side of the oldest example that asks nearly the same."""
        for example_id in self._near.near(row.question):
            sql = "SELECT g.side FROM examples e JOIN groups g ON g.id = e.group_id WHERE e.id = ?"
            found = self._database.first(sql, (example_id,))
            if found is not None:
                side: Side = found["side"]
                return side
        return None

    def _split_key(self) -> bytes:
        """The key of the hash that decides sides: random, made once, so that nobody can aim a row at a side."""
        sql = "SELECT value FROM secrets WHERE name = 'split_key'"
        found = self._database.first(sql)
        if found is None:
            self._database.insert("secrets", {"name": "split_key", "value": secrets.token_hex(32)}, ignore=True)
            found = self._database.first(sql)
            assert found is not None
        return bytes.fromhex(found["value"])
