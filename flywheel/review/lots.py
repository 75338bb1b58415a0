"""Lots drawn for turns: the same turn always draws the same lot, and nobody can foresee or choose it. Knows ids only."""

from __future__ import annotations

import hmac
import secrets

from flywheel.database import Database


class Lots:
    """Keyed hashes of turn ids; the key is made once for a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key: bytes | None = None

    def drawn(self, purpose: str, turn_id: str, share: float) -> bool:
        """Whether the turn is among this share of all turns, for this purpose."""
        if share <= 0:
            return False
        digest = hmac.digest(self._known_key(), f"{purpose}:{turn_id}".encode(), "sha256")
        return int.from_bytes(digest[:8]) < share * 2**64

    def _known_key(self) -> bytes:
        if self._key is None:
            sql = "SELECT value FROM secrets WHERE name = 'lots_key'"
            if self._database.first(sql) is None:
                self._database.insert("secrets", {"name": "lots_key", "value": secrets.token_hex(32)}, ignore=True)
            found = self._database.first(sql)
            assert found is not None
            self._key = bytes.fromhex(found["value"])
        return self._key
