"""The queue of turns: filled by itself from what happens in the store, listed by urgency or age, filtered.

The store's triggers note every turn about which something changed; whoever looks at the queue first brings those up to date.
Knows where facts are stored; what follows from them, `reasons` and `verdicts` know.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from flywheel.database import Database, dump, now
from flywheel.review.confidence import Confidences, Unsure
from flywheel.review.lots import Lots
from flywheel.review.policy import Policy
from flywheel.review.reasons import QUIET, RANKS, Facts, Reason, reasons_for
from flywheel.review.verdicts import WAITING, State, first_reply, standing, state
from flywheel.rows import question_key
from flywheel.store import Review, ReviewVerdict, review_from

BATCH = 500
SHOWN_QUESTION = 300
THEIRS = "turn_id IN (SELECT value FROM json_each(?))"
TURNS = (
    "SELECT id, person, question, model, status, messages, tools, verdicts, created_at, finished_at FROM turns"
    " WHERE finished_at IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
)
Sort = Literal["urgent", "newest", "oldest"]
ORDERS: dict[Sort, str] = {
    "urgent": "q.rank, q.moment DESC",
    "newest": "q.moment DESC",
    "oldest": "q.moment",
}


@dataclass(frozen=True)
class Filter:
    """What to list. reason, tool, model: only these ("" = all). text: words that the question holds, in any case."""

    reason: str = ""
    tool: str = ""
    model: str = ""
    text: str = ""
    sort: Sort = "urgent"
    decided: bool = False


@dataclass(frozen=True)
class QueueItem:
    """A turn to look at. reasons: why it is there, reason → words. called: names of the tools, or "no tool".

    verdict: the latest one, if any. claimed_by: who else is at it, until claimed_until (UTC).
    """

    turn_id: str
    reasons: dict[Reason, str]
    state: State
    person: str
    question: str
    called: str
    model: str
    created_at: str
    verdict: ReviewVerdict | None
    claimed_by: str | None
    claimed_until: str | None

    @property
    def reason(self) -> str:
        """All reasons in words, the most urgent first."""
        return "; ".join(self.reasons.values()) or "nothing calls for a look"


class Queue:
    """Keeps and lists the queue."""

    def __init__(self, database: Database, policy: Policy) -> None:
        self._database = database
        self._policy = policy
        self._lots = Lots(database)
        self._confidences = Confidences(database)

    # listing ---------------------------------------------------------------------------------------------------------

    def items(self, reviewer: str | None, wanted: Filter, limit: int) -> list[QueueItem]:
        """What waits for this reviewer (None: for anybody), at most `limit`; what they decided or put aside is left out."""
        self.refresh()
        where, values = self._conditions(reviewer, wanted)
        # the columns that are wide or lie in other tables are read for the turns shown only
        sql = f"""
            SELECT q.turn_id, q.reasons, q.state, q.person, q.question, q.called, q.model, q.asked_at AS created_at,
                (SELECT v.verdict FROM reviews v WHERE v.turn_id = q.turn_id ORDER BY v.id DESC LIMIT 1) AS verdict,
                c.reviewer AS claimed_by, c.until AS claimed_until
            FROM review_queue q LEFT JOIN review_claims c
                ON c.turn_id = q.turn_id AND c.until > :now AND c.reviewer != :me
            WHERE {" AND ".join(where)} ORDER BY {ORDERS[wanted.sort]} LIMIT :limit"""
        rows = self._database.query(sql, values | {"now": now(), "me": reviewer or "", "limit": limit})
        return [_item(row, blind_to=reviewer) for row in rows]

    def _conditions(self, reviewer: str | None, wanted: Filter) -> tuple[list[str], dict[str, Any]]:
        where, values = ["q.state != 'quiet'"] if wanted.decided else ["q.waiting = 1", _unseen(reviewer)], {}
        if wanted.reason:
            where.append("instr(q.reasons, :reason)")
            values["reason"] = f'"{wanted.reason}":'
        if wanted.tool:
            where.append("instr(', ' || q.called, :tool)")
            values["tool"] = f", {wanted.tool}, "
        if wanted.model:
            where.append("q.model = :model")
            values["model"] = wanted.model
        if wanted.text.strip():
            where.append("q.question LIKE :text ESCAPE '\\'")
            words = wanted.text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values["text"] = f"%{words}%"
        return where, values

    def choices(self) -> tuple[list[str], list[str]]:
        """(tools, models) that the turns waiting in the queue know."""
        self.refresh()
        called = self._database.query("SELECT DISTINCT called FROM review_queue WHERE waiting = 1")
        models = self._database.query("SELECT DISTINCT model FROM review_queue WHERE waiting = 1 ORDER BY model")
        tools = {name for row in called for name in row["called"].split(", ") if name}
        return sorted(tools), [row["model"] for row in models]

    def place(self, turn_id: str) -> tuple[State, dict[Reason, str], str]:
        """(state, reasons, moment from which decisions count) of a finished turn."""
        self.refresh()
        row = self._database.first("SELECT state, reasons, since FROM review_queue WHERE turn_id = ?", (turn_id,))
        return (row["state"], json.loads(row["reasons"]), row["since"]) if row else ("quiet", {}, "")

    def waiting(self) -> int:
        """How many turns wait for somebody."""
        self.refresh()
        found = self._database.first("SELECT count(*) AS n FROM review_queue WHERE waiting = 1")
        return found["n"] if found else 0

    # filling ---------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the turns up to date about which something changed."""
        while stale := [row["turn_id"] for row in self._database.query("SELECT turn_id FROM review_stale LIMIT ?", (BATCH,))]:
            with self._database.transaction():
                ids = dump(stale)
                self._database.execute(f"DELETE FROM review_queue WHERE {THEIRS}", (ids,))
                self._database.insert_many("review_queue", self._rows(ids))
                self._database.execute(f"DELETE FROM review_stale WHERE {THEIRS}", (ids,))

    def _rows(self, ids: str) -> list[dict[str, Any]]:
        about = {name: self._by_turn(name, ids) for name in ("ratings", "tool_calls", "proposals", "reviews", "confidences")}
        looks = self._by_turn("second_looks", ids)
        turns = self._database.query(TURNS, (ids,))
        unsure = {
            model: self._confidences.unsure(model, self._policy.unsure_share) for model in {turn["model"] for turn in turns}
        }
        return [
            self._row(turn, {name: found[turn["id"]] for name, found in about.items()}, looks[turn["id"]], unsure[turn["model"]])
            for turn in turns
        ]

    def _by_turn(self, table: str, ids: str) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self._database.query(f"SELECT * FROM {table} WHERE {THEIRS} ORDER BY rowid", (ids,)):
            found[row["turn_id"]].append(row)
        return found

    def _row(
        self, turn: dict[str, Any], about: dict[str, list[dict[str, Any]]], looks: list[dict[str, Any]], unsure: Unsure | None
    ) -> dict[str, Any]:
        ratings = [rating for rating in about["ratings"] if rating["thumb"]]
        calls = sorted(about["tool_calls"], key=lambda call: call["position"])
        complaints = [rating["updated_at"] for rating in ratings if rating["thumb"] == "down"]
        since = max([*complaints, *(proposal["created_at"] for proposal in about["proposals"])], default="")
        stands = _state([review_from(row) for row in about["reviews"]], since, turn["messages"])
        sure = about["confidences"][0] if about["confidences"] else None
        facts = Facts(
            turn["status"],
            json.loads(turn["verdicts"]),
            turn["tools"],
            calls,
            ratings,
            bool(about["proposals"]),
            unsure.words(sure["mean_logprob"], sure["margin"]) if sure and unsure else None,
            next((look["model"] for look in looks if look["differs"]), None),
            not ratings and self._lots.drawn("sample", turn["id"], self._policy.silent_share),
            stands == "third",
        )
        reasons = reasons_for(facts)
        if stands == "open" and not reasons:
            stands = "quiet"
        first = next(iter(reasons), None)
        rated = max((rating["updated_at"] for rating in ratings), default="")
        return {
            "turn_id": turn["id"], "waiting": int(stands in WAITING), "state": stands, "rank": RANKS[first] if first else QUIET,
            "moment": rated if first in ("thumb_down", "thumb_up") else turn["finished_at"], "since": since,
            "reasons": dump(reasons), "called": "".join(f"{call['name']}, " for call in calls), "person": turn["person"],
            "model": turn["model"], "asked_at": turn["created_at"], "question": turn["question"][:SHOWN_QUESTION],
            "question_key": question_key(turn["question"]), "offered": hashlib.sha256(turn["tools"].encode()).hexdigest(),
        }  # fmt: skip


def _unseen(reviewer: str | None) -> str:
    """Turns on which this reviewer has done nothing that still stands; None: which nobody has put aside."""
    mine, hides = ("v.reviewer = :me", "!= 'withdrawn'") if reviewer else ("1", "= 'skipped'")
    latest = "SELECT max(w.id) FROM reviews w WHERE w.turn_id = q.turn_id AND w.reviewer = v.reviewer"
    return (
        f"NOT EXISTS (SELECT 1 FROM reviews v WHERE v.turn_id = q.turn_id AND {mine} AND v.created_at >= q.since"
        f" AND v.verdict {hides} AND v.id = ({latest}))"
    )


def _state(reviews: Iterable[Review], since: str, messages: str) -> State:
    decisions = standing(list(reviews), since)
    return state(decisions, first_reply(json.loads(messages))) if decisions else "open"


def _item(row: dict[str, Any], blind_to: str | None) -> QueueItem:
    row["reasons"] = json.loads(row["reasons"])
    row["called"] = row["called"].removesuffix(", ") or "no tool"
    if row["state"] == "second" and blind_to is not None:
        row["verdict"] = None  # the first decision must not sway the second
    return QueueItem(**row)
