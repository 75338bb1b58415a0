"""What people said and thought of it: conversations, turns, tool calls, ratings and reviews.

A rating is durable before anyone is thanked, and belongs to one (person, turn): saying it again changes it, withdrawing it
is a write too. Knows nothing of models' training; `ledger.py` is the other half, on the same file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flywheel.database import Database, Row, dump, new_id, now
from flywheel.errors import NotFound
from flywheel.rows import Message as Message
from flywheel.tool_schemas import ToolSchema as ToolSchema

TurnStatus = Literal["running", "awaiting", "answered", "blocked", "stopped", "failed"]
CallStatus = Literal["proposed", "awaiting", "refused", "declined", "done", "failed"]
Thumb = Literal["up", "down"]
ReviewVerdict = Literal["approved", "rejected", "skipped", "withdrawn"]
Cause = Literal["model", "tool", "rail", "other"]
SetAside = Literal["retried", "edited", "undone"]

UNTITLED = "New conversation"
"""The title of a conversation in which nothing was asked."""

CATEGORIES = {
    "wrong_tool": "wrong tool",
    "wrong_arguments": "wrong arguments",
    "unneeded_call": "should not have called a tool",
    "missing_call": "should have called one",
    "bad_answer": "bad answer",
    "other": "other",
}
"""Reasons for a thumb down: stored name → words for people."""


@dataclass(frozen=True)
class Conversation:
    """One thread of one person. deleted_at: when they deleted it."""

    id: str
    person: str
    title: str
    created_at: str
    deleted_at: str | None = None


@dataclass(frozen=True)
class Turn:
    """A question and everything that came of it. set_aside: why its person no longer sees it; their rating stands."""

    id: str
    conversation_id: str
    position: int
    person: str
    question: str
    context: list[Message]
    tools: list[ToolSchema]
    model: str
    status: TurnStatus
    messages: list[Message]
    answer: str
    verdicts: list[dict[str, Any]]
    timings: dict[str, float]
    created_at: str
    finished_at: str | None
    set_aside: SetAside | None = None


@dataclass(frozen=True)
class ToolCall:
    """One call that the model proposed, and what became of it. duration_ms: milliseconds the tool ran."""

    id: str
    turn_id: str
    position: int
    name: str
    arguments: dict[str, Any]
    status: CallStatus
    result: Any
    error: str | None
    duration_ms: float | None


@dataclass(frozen=True)
class Rating:
    """What one person thinks of one turn; thumb None = withdrawn."""

    turn_id: str
    person: str
    thumb: Thumb | None
    categories: list[str]
    opinion: str
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class Review:
    """A reviewer's decision on a turn. response_override: the assistant message that should have been.

    cause: where the fault was; None where nobody was asked. suggested_by: the teacher whose suggestion it began with. seconds:
    from opening the turn to deciding. provisional: whether another reviewer decides on it too before it counts.
    """

    id: int
    turn_id: str
    reviewer: str
    verdict: ReviewVerdict
    response_override: Message | None
    example_id: str | None
    created_at: str
    cause: Cause | None = None
    suggested_by: str | None = None
    seconds: float | None = None
    provisional: bool = False


def review_from(row: Row) -> Review:
    """A Review from its database row."""
    return Review(**_decoded(row, "response_override") | {"provisional": bool(row["provisional"])})


def _decoded(row: Row, *columns: str) -> Row:
    return row | {column: json.loads(row[column]) if row[column] is not None else None for column in columns}


def turn_from(row: Row) -> Turn:
    """A Turn from its database row."""
    return Turn(**_decoded(row, "context", "tools", "messages", "verdicts", "timings"))


def conversation_from(row: Row) -> Conversation:
    """A Conversation from a database row that may have more columns."""
    return Conversation(**{name: row[name] for name in ("id", "person", "title", "created_at", "deleted_at")})


class Store:
    """The people's side of the database. Every method is one transaction; safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # conversations ---------------------------------------------------------------------------------------------------

    def create_conversation(self, person: str) -> Conversation:
        """A new, empty conversation."""
        conversation = Conversation(new_id("conv"), person, UNTITLED, now())
        self.database.insert("conversations", vars(conversation))
        return conversation

    def conversation(self, conversation_id: str, person: str) -> Conversation:
        """Their conversation. Raises NotFound if it does not exist, was deleted, or is another's."""
        sql = "SELECT * FROM conversations WHERE id = ? AND person = ? AND deleted_at IS NULL"
        row = self.database.first(sql, (conversation_id, person))
        if row is None:
            raise NotFound(f"no conversation {conversation_id!r} of yours; start a new one")
        return Conversation(**row)

    def conversations(self, person: str, limit: int = 50) -> list[Conversation]:
        """Their conversations that have turns to show, the one last spoken in first."""
        rows = self.database.query(
            "SELECT c.*, max(t.created_at) AS spoken_at FROM conversations c JOIN turns t ON t.conversation_id = c.id"
            " WHERE c.person = ? AND c.deleted_at IS NULL AND t.set_aside IS NULL"
            " GROUP BY c.id ORDER BY spoken_at DESC, c.created_at DESC LIMIT ?",
            (person, limit),
        )
        return [conversation_from(row) for row in rows]

    # turns -----------------------------------------------------------------------------------------------------------

    def begin_turn(
        self, conversation: Conversation, question: str, *, tools: list[ToolSchema], model: str, context: list[Message]
    ) -> Turn:
        """Record the question before anything is done with it; one without a title gets it from the question."""
        with self.database.transaction():
            last = self.database.first("SELECT max(position) AS last FROM turns WHERE conversation_id = ?", (conversation.id,))
            position = (last["last"] or 0) + 1 if last else 1
            turn_id = new_id("turn")
            self.database.insert(
                "turns",
                {
                    "id": turn_id, "conversation_id": conversation.id, "position": position, "person": conversation.person,
                    "question": question, "context": dump(context), "tools": dump(tools), "model": model, "status": "running",
                    "messages": dump([{"role": "user", "content": question}]), "answer": "", "verdicts": "[]", "timings": "{}",
                    "created_at": now(), "finished_at": None,
                },
            )  # fmt: skip
            titled = self.database.first("SELECT 1 FROM conversations WHERE id = ? AND title <> ?", (conversation.id, UNTITLED))
            if titled is None:
                self.database.update("conversations", conversation.id, {"title": question[:60]})
        return self.turn(turn_id)

    def save_turn(
        self,
        turn_id: str,
        *,
        status: TurnStatus,
        messages: list[Message],
        answer: str,
        verdicts: list[dict[str, Any]],
        timings: dict[str, float],
    ) -> None:
        """Record how far a turn has come; `finished_at` is set unless it is running or awaiting."""
        finished = None if status in ("running", "awaiting") else now()
        self.database.update(
            "turns",
            turn_id,
            {
                "status": status, "messages": dump(messages), "answer": answer, "verdicts": dump(verdicts),
                "timings": dump(timings), "finished_at": finished,
            },
        )  # fmt: skip

    def claim_awaiting(self, turn_id: str, person: str) -> Turn:
        """Take their turn that awaits a confirmation, setting it running; only one caller gets it.

        Raises NotFound if the turn is not theirs or awaits nothing (for instance because it was answered in another window).
        """
        with self.database.transaction():
            row = self.database.first(
                "SELECT 1 FROM turns WHERE id = ? AND person = ? AND status = 'awaiting' AND set_aside IS NULL", (turn_id, person)
            )
            if row is None:
                raise NotFound(f"turn {turn_id!r} awaits no confirmation of yours; it may have been answered already")
            self.database.update("turns", turn_id, {"status": "running"})
        return self.turn(turn_id)

    def turn(self, turn_id: str) -> Turn:
        """One turn. Raises NotFound."""
        row = self.database.first("SELECT * FROM turns WHERE id = ?", (turn_id,))
        if row is None:
            raise NotFound(f"no turn {turn_id!r}")
        return turn_from(row)

    def turns(self, conversation_id: str) -> list[Turn]:
        """A conversation's turns in order, as its person sees it: without those that were set aside."""
        sql = "SELECT * FROM turns WHERE conversation_id = ? AND set_aside IS NULL ORDER BY position"
        return [turn_from(row) for row in self.database.query(sql, (conversation_id,))]

    def interrupt_running(self) -> int:
        """Mark turns that a dead process left running as stopped; returns how many. Called once at start."""
        with self.database.transaction():
            rows = self.database.query("SELECT id FROM turns WHERE status = 'running'")
            self.database.execute("UPDATE turns SET status = 'stopped', finished_at = ? WHERE status = 'running'", (now(),))
        return len(rows)

    # tool calls ------------------------------------------------------------------------------------------------------

    def save_call(self, call: ToolCall) -> None:
        """Insert or change a call; its id decides."""
        row = vars(call) | {"arguments": dump(call.arguments), "result": None if call.result is None else dump(call.result)}
        self.database.upsert("tool_calls", row, ("id",))

    def calls(self, turn_id: str) -> list[ToolCall]:
        """A turn's calls in the order in which they were proposed."""
        rows = self.database.query("SELECT * FROM tool_calls WHERE turn_id = ? ORDER BY position", (turn_id,))
        return [ToolCall(**_decoded(row, "arguments", "result")) for row in rows]

    # ratings ---------------------------------------------------------------------------------------------------------

    def rate(
        self, person: str, turn_id: str, thumb: Thumb | None, categories: list[str] | None = None, opinion: str = ""
    ) -> Rating:
        """Write a rating durably; the same person and turn again replaces it, thumb None withdraws it.

        Raises NotFound if the turn is not theirs. Unknown categories raise ValueError: they come from our own form.
        """
        unknown = set(categories or ()) - CATEGORIES.keys()
        if unknown:
            raise ValueError(f"unknown categories {sorted(unknown)!r}; known are {sorted(CATEGORIES)!r}")
        with self.database.transaction():
            turn = self.turn(turn_id)
            if turn.person != person:
                raise NotFound(f"no turn {turn_id!r} of yours")
            old = self.database.first("SELECT created_at FROM ratings WHERE turn_id = ? AND person = ?", (turn_id, person))
            moment = now()
            created = old["created_at"] if old else moment
            rating = Rating(turn_id, person, thumb, categories or [], opinion[:2000], created, moment)
            self.database.upsert("ratings", vars(rating) | {"categories": dump(rating.categories)}, ("turn_id", "person"))
        return rating

    def ratings(self, conversation_id: str, person: str) -> dict[str, Rating]:
        """Their ratings in a conversation, by turn; withdrawn ones are left out."""
        rows = self.database.query(
            "SELECT r.* FROM ratings r JOIN turns t ON t.id = r.turn_id"
            " WHERE t.conversation_id = ? AND r.person = ? AND r.thumb IS NOT NULL",
            (conversation_id, person),
        )
        return {row["turn_id"]: Rating(**_decoded(row, "categories")) for row in rows}

    def turn_ratings(self, turn_id: str) -> list[Rating]:
        """Everybody's standing ratings of a turn."""
        sql = "SELECT * FROM ratings WHERE turn_id = ? AND thumb IS NOT NULL ORDER BY updated_at"
        rows = self.database.query(sql, (turn_id,))
        return [Rating(**_decoded(row, "categories")) for row in rows]

    # reviews ---------------------------------------------------------------------------------------------------------

    def record_review(
        self,
        turn_id: str,
        reviewer: str,
        verdict: ReviewVerdict,
        response_override: Message | None = None,
        example_id: str | None = None,
        *,
        cause: Cause | None = None,
        suggested_by: str | None = None,
        seconds: float | None = None,
        provisional: bool = False,
    ) -> None:
        """Append a reviewer's decision."""
        self.database.insert(
            "reviews",
            {
                "turn_id": turn_id, "reviewer": reviewer, "verdict": verdict, "example_id": example_id, "created_at": now(),
                "response_override": None if response_override is None else dump(response_override), "cause": cause,
                "suggested_by": suggested_by, "seconds": seconds, "provisional": int(provisional),
            },
        )  # fmt: skip

    def latest_review(self, turn_id: str) -> Review | None:
        """What a reviewer did with the turn last, or None."""
        row = self.database.first("SELECT * FROM reviews WHERE turn_id = ? ORDER BY id DESC LIMIT 1", (turn_id,))
        return None if row is None else review_from(row)

    def reviews(self, turn_id: str) -> list[Review]:
        """All that reviewers did with the turn, in order."""
        return [
            review_from(row) for row in self.database.query("SELECT * FROM reviews WHERE turn_id = ? ORDER BY id", (turn_id,))
        ]
