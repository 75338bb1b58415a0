"""The reviewers' desk: what to look at first, what a correction must satisfy, and what becomes of a decision.

What is learned from a turn is the model's first decision in it (its calls, or its words), since that is what the metrics score.
Knows the store and the ledger; knows nothing of pages, of running tools or of training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flywheel.errors import Conflict, InputError, NotFound
from flywheel.json_records import unusable
from flywheel.ledger import Ledger, Source
from flywheel.rows import Row, RowError, rows_from
from flywheel.store import CATEGORIES, Message, Rating, Review, ReviewVerdict, Store, Thumb, ToolCall, ToolSchema, Turn

QUEUE = """
WITH troubled AS (
    SELECT id FROM turns WHERE status IN ('blocked', 'failed')
    UNION SELECT turn_id FROM tool_calls WHERE status IN ('failed', 'refused')
), picked (turn_id, rank, moment) AS (
    SELECT * FROM (
        SELECT turn_id, 0, updated_at FROM ratings r WHERE thumb = 'down'
        AND (:all OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = r.turn_id AND v.created_at >= r.updated_at))
        AND EXISTS (SELECT 1 FROM turns t WHERE t.id = r.turn_id AND t.finished_at IS NOT NULL)
        ORDER BY updated_at DESC LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT id, 1, finished_at FROM turns t WHERE id IN troubled AND finished_at IS NOT NULL
        AND (:all OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = t.id))
        AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.turn_id = t.id AND +r.thumb = 'down')
        ORDER BY finished_at DESC LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT turn_id, 2, updated_at FROM ratings r WHERE thumb = 'up'
        AND (:all OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = r.turn_id))
        AND turn_id NOT IN troubled
        AND EXISTS (SELECT 1 FROM turns t WHERE t.id = r.turn_id AND t.finished_at IS NOT NULL)
        ORDER BY updated_at DESC LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT id, 3, finished_at FROM turns t WHERE finished_at IS NOT NULL
        AND (:all OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = t.id))
        AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.turn_id = t.id AND r.thumb IS NOT NULL)
        AND id NOT IN troubled
        ORDER BY finished_at DESC LIMIT :limit
    ) UNION ALL SELECT * FROM (
        SELECT turn_id, 0, created_at FROM proposals p
        WHERE :all OR NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = p.turn_id AND v.created_at >= p.created_at)
        ORDER BY created_at DESC LIMIT :limit
    )
)
SELECT t.id AS turn_id, t.person, t.question, t.model, t.status, t.created_at, r.thumb, r.categories,
    (SELECT group_concat(name, ', ') FROM (SELECT name FROM tool_calls c WHERE c.turn_id = t.id ORDER BY position)) AS called,
    (SELECT c.status FROM tool_calls c WHERE c.turn_id = t.id AND c.status IN ('failed', 'refused')
        ORDER BY position LIMIT 1) AS trouble,
    (SELECT v.verdict FROM reviews v WHERE v.turn_id = t.id ORDER BY v.id DESC LIMIT 1) AS verdict,
    (SELECT o.person FROM proposals o WHERE o.turn_id = t.id ORDER BY o.created_at DESC LIMIT 1) AS proposer
FROM (SELECT turn_id, min(rank) AS rank, moment FROM picked GROUP BY turn_id) p JOIN turns t ON t.id = p.turn_id
LEFT JOIN ratings r ON r.rowid = (SELECT x.rowid FROM ratings x WHERE x.turn_id = t.id AND x.thumb IS NOT NULL
    ORDER BY x.thumb = 'down' DESC, x.person LIKE 'intake:%' LIMIT 1)
ORDER BY p.rank, p.moment DESC LIMIT :limit
"""
"""Each kind of turn by an index of its own and no further than the limit; wide columns are read for the turns shown only.
The plus keeps SQLite from looking up one turn's rating by its thumb, which would read all of them."""


@dataclass(frozen=True)
class QueueItem:
    """A turn to look at. reason: why it is there. called: names of the tools, or "no tool". verdict: the latest one, if any."""

    turn_id: str
    reason: str
    person: str
    question: str
    called: str
    model: str
    created_at: str
    verdict: ReviewVerdict | None


@dataclass(frozen=True)
class ReviewItem:
    """Everything about one turn that a reviewer needs."""

    turn: Turn
    calls: list[ToolCall]
    ratings: list[Rating]
    review: Review | None


class ReviewDesk:
    """What a reviewer sees and decides."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    # reading ---------------------------------------------------------------------------------------------------------

    def queue(self, include_decided: bool = False, limit: int = 100) -> list[QueueItem]:
        """Finished turns: thumbs down first, then refused, failed and blocked ones, thumbs up, unrated; newest first in each.

        A turn that was decided is left out unless a thumb down came after the decision.
        """
        records = self._store.database.query(QUEUE, {"all": include_decided, "limit": limit})
        return [_item(record) for record in records]

    def item(self, turn_id: str) -> ReviewItem:
        """One turn with its calls, ratings and latest decision. Raises NotFound."""
        turn = self._store.turn(turn_id)
        return ReviewItem(turn, self._store.calls(turn_id), self._store.turn_ratings(turn_id), self._store.latest_review(turn_id))

    def tool_schema(self, turn: Turn, name: str) -> ToolSchema:
        """A tool's schema as the model saw it in this turn. Raises NotFound if it was not on offer."""
        for tool in turn.tools:
            if tool["function"]["name"] == name:
                return tool
        offered = ", ".join(repr(tool["function"]["name"]) for tool in turn.tools) or "none"
        raise NotFound(f"the model saw no tool {name!r} in turn {turn.id!r}; it saw {offered}")

    def problems(self, turn: Turn, response: Message) -> list[str]:
        """What keeps an assistant message (calls, or text) from being the right answer to this turn; empty when it is sound."""
        found = _row(turn, response)
        return found if isinstance(found, list) else []

    # deciding --------------------------------------------------------------------------------------------------------

    def approve(self, turn_id: str, reviewer: str, response_override: Message | None) -> str:
        """Make the turn an example, durably, and return the example's id.

        response_override: the assistant message that should have been; None = the model's own first decision was right.
        Raises InputError with every problem of the message, Conflict while the turn is under way, NotFound.
        """
        turn = self._finished(turn_id)
        found = _row(turn, _first_decision(turn) if response_override is None else response_override)
        if isinstance(found, list):
            raise InputError("; ".join(found))
        source: Source = "thumb_up" if response_override is None else "correction"
        with self._store.database.transaction():
            example_id = self._ledger.add_approved(
                found, source, turn_id=turn.id, conversation_id=turn.conversation_id, person=turn.person, reviewer=reviewer
            )
            override = None if response_override is None else found.messages[-1]
            self._store.record_review(turn_id, reviewer, "approved", override, example_id)
        return example_id

    def reject(self, turn_id: str, reviewer: str) -> None:
        """Nothing is to be learned from this turn; an example that was approved earlier is taken back."""
        self._finished(turn_id)
        with self._store.database.transaction():
            self._ledger.withdraw(turn_id)
            self._store.record_review(turn_id, reviewer, "rejected")

    def skip(self, turn_id: str, reviewer: str) -> None:
        """Put the turn aside undecided; one that was decided keeps its decision."""
        self._finished(turn_id)
        with self._store.database.transaction():
            latest = self._store.latest_review(turn_id)
            if latest is None or latest.verdict == "skipped":
                self._store.record_review(turn_id, reviewer, "skipped")

    def _finished(self, turn_id: str) -> Turn:
        turn = self._store.turn(turn_id)
        if turn.finished_at is None:
            raise Conflict(f"turn {turn_id!r} is still under way; decide when it has finished")
        return turn


def _item(record: dict[str, Any]) -> QueueItem:
    proposer = record.pop("proposer")
    thumb, status, trouble = record.pop("thumb"), record.pop("status"), record.pop("trouble")
    reason = _reason(thumb, json.loads(record.pop("categories") or "[]"), status, trouble)
    reason += f"; correction proposed by {proposer}" if proposer else ""
    return QueueItem(**record | {"reason": reason, "called": record["called"] or "no tool"})


def _reason(thumb: Thumb | None, categories: list[str], status: str, trouble: str | None) -> str:
    """Why a turn is in the queue, by the same order of importance as the query's."""
    if thumb == "down":
        words = ", ".join(CATEGORIES[name] for name in categories)
        return f"thumb down: {words}" if words else "thumb down"
    if trouble is not None:
        return f"tool call {trouble}"
    if status in ("blocked", "failed"):
        return {"blocked": "blocked by a rail", "failed": "the turn failed"}[status]
    return "thumb up" if thumb == "up" else "not rated"


def _first_decision(turn: Turn) -> Message:
    """The model's own first message of the turn: its calls only, or its words. Raises InputError if it may not be learned."""
    made = next((message for message in turn.messages if message["role"] == "assistant"), None)
    if made is None:
        raise InputError(f"the model said nothing in turn {turn.id!r}; correct it, or reject it")
    if made.get("tool_calls"):
        return {"role": "assistant", "content": "", "tool_calls": made["tool_calls"]}
    if turn.status == "blocked":
        raise InputError(f"a rail blocked the answer of turn {turn.id!r}; correct it, or reject it")
    return {"role": "assistant", "content": made.get("content") or ""}


def _row(turn: Turn, response: Message) -> Row | list[str]:
    """The row to learn: what the model saw, the question, this answer; or what is wrong with it."""
    asked = {"role": "user", "content": turn.question}
    reason = unusable(response)
    if reason is not None:
        return [f"the answer cannot be stored: {reason}"]
    # read as an import would be, since a reviewer may write raw JSON: calls in any known shape, arguments as text or as an object
    answered = rows_from({"messages": [asked, response], "tools": turn.tools})[-1]
    if isinstance(answered, RowError):
        return [str(answered)]
    return Row([*turn.context, asked, answered.messages[-1]], turn.tools)
