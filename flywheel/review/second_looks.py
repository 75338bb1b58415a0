"""Which turns the previous model answers too, and whether it said the same as the one that serves.

Knows the store and the registry. Does not ask any model: who does, brings the answer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flywheel.database import dump, now
from flywheel.history import RunRecords
from flywheel.promote import Registry
from flywheel.review.lots import Lots
from flywheel.review.policy import Policy
from flywheel.review.verdicts import calls_of, first_reply
from flywheel.store import Message, Store, Turn

RECENT = 200
QUIET_SECONDS = 30
"""The machine is idle when no run is under way and nobody has asked for so long."""


class SecondLooks:
    """The table of them."""

    def __init__(self, store: Store, registry: Registry, policy: Policy) -> None:
        self._store = store
        self._registry = registry
        self._share = policy.second_look_share
        self._lots = Lots(store.database)

    def idle(self) -> bool:
        """Whether the machine has time for it."""
        since = (datetime.now(UTC) - timedelta(seconds=QUIET_SECONDS)).isoformat()
        busy = self._store.database.first(
            "SELECT 1 FROM turns WHERE created_at > ? UNION ALL SELECT 1 FROM turns WHERE status = 'running'"
            " UNION ALL SELECT 1 FROM turns WHERE finished_at > ? LIMIT 1",
            (since, since),
        )
        return busy is None and RunRecords(self._store.database).active() is None

    def previous(self) -> str | None:
        """The model that served before the present one, or None."""
        served = self._registry.served().model
        found = next((move.previous for move in self._registry.promotions(20) if move.model == served), None)
        return found if found != served else None

    def wanting(self) -> Turn | None:
        """The newest turn of the present model whose lot it is, and which the previous one has not answered."""
        found = self._store.database.query(
            "SELECT t.id FROM turns t WHERE t.finished_at IS NOT NULL AND t.model = ?"
            " AND NOT EXISTS (SELECT 1 FROM second_looks s WHERE s.turn_id = t.id) ORDER BY t.finished_at DESC LIMIT ?",
            (self._registry.served().model, RECENT),
        )
        drawn = (row["id"] for row in found if self._lots.drawn("second look", row["id"], self._share))
        turn_id = next(drawn, None)
        return None if turn_id is None else self._store.turn(turn_id)

    def record(self, turn: Turn, model: str, response: Message) -> bool:
        """Keep what the other model said; returns whether it differs: in its calls, or in calling anything at all."""
        differs = calls_of(response) != calls_of(first_reply(turn.messages))
        row = {"turn_id": turn.id, "model": model, "response": dump(response), "differs": int(differs), "created_at": now()}
        self._store.database.insert("second_looks", row, ignore=True)
        return differs
