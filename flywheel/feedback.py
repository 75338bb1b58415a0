"""Feedback as it leaves: a turn with everything that people said of it, chosen by who, when and what, and read page by page.

Knows the store. Knows no shape of files and no service; `feedback_shapes` is the one, `intake` the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from flywheel.errors import InputError, NotFound
from flywheel.store import Message, Rating, Review, ReviewVerdict, Store, Thumb, Turn, turn_from

PAGE = 50
"""Turns held in memory at a time."""

SAID = (
    "(EXISTS (SELECT 1 FROM ratings r WHERE r.turn_id = t.id AND r.thumb IS NOT NULL)"
    " OR EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = t.id))"
)
CONDITIONS = {
    "since": "t.created_at >= :since",
    "until": "t.created_at < :until",
    "thumb": "EXISTS (SELECT 1 FROM ratings r WHERE r.turn_id = t.id AND +r.thumb = :thumb)",
    "verdict": "(SELECT v.verdict FROM reviews v WHERE v.turn_id = t.id ORDER BY v.id DESC LIMIT 1) = :verdict",
    "tool": "EXISTS (SELECT 1 FROM tool_calls c WHERE c.turn_id = t.id AND c.name = :tool)",
    "model": "t.model = :model",
    "person": "t.person = :person",
}


@dataclass(frozen=True)
class Selection:
    """Which turns; None = whichever.

    since, until: ISO moments (from the one on, before the other) at which the turn began; a bare date is its midnight UTC.
    verdict: of the newest review. tool: one that the model called. person: who asked.
    """

    since: str | None = None
    until: str | None = None
    thumb: Thumb | None = None
    verdict: ReviewVerdict | None = None
    tool: str | None = None
    model: str | None = None
    person: str | None = None

    def conditions(self) -> dict[str, str]:
        """What is asked for, with moments as the store writes them. Raises InputError for one that is none."""
        given = {name: value for name, value in asdict(self).items() if value}
        return given | {name: _moment(given[name]) for name in ("since", "until") if name in given}


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no date; write 2026-11-30 or 2026-11-30T14:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


@dataclass(frozen=True)
class Feedback:
    """A finished turn, the standing ratings of it, and the review that counts."""

    turn: Turn
    ratings: list[Rating]
    review: Review | None

    @property
    def correction(self) -> Message | None:
        """The assistant message that a reviewer put in the place of the model's; None where the answer stands or is undecided."""
        return self.review.response_override if self.review and self.review.verdict == "approved" else None

    @property
    def said(self) -> Message:
        """What the model decided first in this turn: its calls, or its words."""
        made = next((message for message in self.turn.messages if message["role"] == "assistant"), None)
        return made or {"role": "assistant", "content": self.turn.answer}

    @property
    def own(self) -> Rating | None:
        """The rating by the person who asked."""
        return next((rating for rating in self.ratings if rating.person == self.turn.person), None)


class FeedbackReader:
    """Reads feedback from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, turn_id: str) -> Feedback | None:
        """What was said of one turn; None where it is gone or under way."""
        try:
            turn = self._store.turn(turn_id)
        except NotFound:
            return None
        return self._whole(turn) if turn.finished_at else None

    def select(self, selection: Selection) -> Iterator[Feedback]:
        """Rated or reviewed turns, the oldest first, however many there are: never more than a page of them is in memory."""
        conditions = selection.conditions()
        where = " AND ".join(["t.finished_at IS NOT NULL", SAID, *(CONDITIONS[name] for name in conditions)])
        after = "(t.created_at, t.id) > (:moment, :id)"
        sql = f"SELECT t.* FROM turns t WHERE {after} AND {where} ORDER BY t.created_at, t.id LIMIT :page"
        last = {"moment": "", "id": ""}
        while rows := self._store.database.query(sql, {**conditions, **last, "page": PAGE}):
            for row in rows:
                yield self._whole(turn_from(row))
            last = {"moment": rows[-1]["created_at"], "id": rows[-1]["id"]}

    def _whole(self, turn: Turn) -> Feedback:
        return Feedback(turn, self._store.turn_ratings(turn.id), self._store.latest_review(turn.id))
