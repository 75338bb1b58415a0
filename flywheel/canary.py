"""The canary: a candidate that passed the gate answers a share of the conversations before it answers all.

Which conversations is decided by a keyed hash, so that each stays with its model; everything else is counted from turns and
ratings, so that a restart loses nothing. Knows the store; what is done with a decision, `promote` knows.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from flywheel.canary_evidence import Arms, Decision, Seen, judge
from flywheel.database import Database, now

CanaryStatus = Literal["running", "promoted", "rolled_back", "ended"]

SEEN = """
SELECT model, count(*) AS conversations, sum(down) AS thumbs_down, sum(trouble) AS errors FROM (
    SELECT t.model, max(EXISTS (SELECT 1 FROM ratings r WHERE r.turn_id = t.id AND r.thumb = 'down')) AS down,
        max(t.status = 'failed' OR EXISTS (
            SELECT 1 FROM tool_calls k WHERE k.turn_id = t.id AND k.status IN ('failed', 'refused'))) AS trouble
    FROM turns t WHERE t.created_at >= ? AND t.finished_at IS NOT NULL AND t.model IN (?, ?) GROUP BY t.conversation_id, t.model
) GROUP BY model
"""
"""Each conversation once, whatever its length: as bad as its worst turn."""


@dataclass(frozen=True)
class Policy:
    """How a candidate that passed comes to serve.

    share: of the conversations that it answers first, below 1; 0 = all at once. conversations: how many without harm are enough.
    alpha: the chance, at most, that one which does no harm is taken back.
    """

    share: float = 0.0
    conversations: int = 50
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Raises ValueError for settings under which nothing could be compared."""
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share}; give a share of the conversations below 1, such as 0.2, or 0 for no canary")
        if self.conversations < 1 or not 0 < self.alpha < 1:
            raise ValueError("conversations must be at least 1, and alpha a chance between 0 and 1, such as 0.05")


@dataclass(frozen=True)
class Canary:
    """One candidate on trial beside the current model, under the policy of the day it began."""

    id: int
    model: str
    current: str
    run_id: str | None
    share: float
    conversations: int
    alpha: float
    status: CanaryStatus
    reason: str
    started_at: str
    ended_at: str | None


class Canaries:
    """Canaries of one store; at most one of them runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def running(self) -> Canary | None:
        """The one that runs."""
        row = self._database.first("SELECT * FROM canaries WHERE status = 'running'")
        return None if row is None else Canary(**row)

    def latest(self) -> Canary | None:
        """The one that began last, running or not."""
        row = self._database.first("SELECT * FROM canaries ORDER BY id DESC LIMIT 1")
        return None if row is None else Canary(**row)

    def begin(self, model: str, current: str, run_id: str | None, policy: Policy) -> None:
        """Let it begin; none may be running."""
        record = {"model": model, "current": current, "run_id": run_id, "status": "running", "reason": "", "started_at": now()}
        self._database.insert("canaries", record | vars(policy) | {"ended_at": None})

    def end(self, canary: Canary, status: CanaryStatus, reason: str) -> None:
        """Record how it ended."""
        self._database.update("canaries", str(canary.id), {"status": status, "reason": reason, "ended_at": now()})

    def chosen(self, canary: Canary, conversation_id: str) -> bool:
        """Whether the candidate answers this conversation: the same for as long as this canary runs."""
        drawn = hmac.digest(self._key(), f"{canary.id} {conversation_id}".encode(), "sha256")
        return int.from_bytes(drawn[:8], "big") / 2**64 < canary.share

    def seen(self, canary: Canary) -> Seen:
        """What has come of it so far."""
        rows = self._database.query(SEEN, (canary.started_at, canary.model, canary.current))
        found = {row["model"]: row for row in rows}
        arms = [
            Arms(*(found[model][what] if model in found else 0 for model in (canary.model, canary.current)))
            for what in ("conversations", "thumbs_down", "errors")
        ]
        return Seen(*arms)

    def judged(self, canary: Canary) -> Decision | None:
        """The decision, if what was seen allows one."""
        return judge(self.seen(canary), share=canary.share, conversations=canary.conversations, alpha=canary.alpha)

    def _key(self) -> bytes:
        """Random, made once, so that nobody can aim a conversation at a model."""
        sql = "SELECT value FROM secrets WHERE name = 'canary_key'"
        found = self._database.first(sql)
        if found is None:
            self._database.insert("secrets", {"name": "canary_key", "value": secrets.token_hex(32)}, ignore=True)
            found = self._database.first(sql)
            assert found is not None
        return bytes.fromhex(found["value"])
