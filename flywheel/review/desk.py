"""The desk itself: a turn with everything about it, and what a decision on it does.

What is learned from a turn is the model's first decision in it (its calls, or its words), since that is what the metrics score.
Knows the store, the ledger and the other parts of this package.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.errors import Conflict, InputError, NotFound
from flywheel.json_records import unusable
from flywheel.ledger import Ledger, Source
from flywheel.proposals import Proposal, Proposals
from flywheel.review.agreement import Statistics
from flywheel.review.claims import Claim, Claims
from flywheel.review.lots import Lots
from flywheel.review.policy import Policy
from flywheel.review.queue import Filter, Queue, QueueItem
from flywheel.review.reasons import Reason, likely_cause
from flywheel.review.similar import Similar, SimilarTurns
from flywheel.review.verdicts import State, agree, decided, first_reply, standing
from flywheel.rows import Row, RowError, rows_from
from flywheel.store import Cause, Message, Rating, Review, ReviewVerdict, Store, ToolCall, ToolSchema, Turn, review_from

LONGEST_SECONDS = 600.0
"""A correction that took longer was interrupted; it counts as so long."""
KNOWN_DAYS = 30
"""A reviewer is known for so long after their last decision."""
UNDO_HOURS = 24
SIMILAR = 5


@dataclass(frozen=True)
class ReviewItem:
    """Everything about one turn that a reviewer may know.

    review: the decision that stands. others: the decisions between which a third reviewer decides. version: what reviewers had
    done when this was read, to be given back with a decision. cause: where the fault seems to lie.
    proposals: open ones, the newest first.
    """

    turn: Turn
    calls: list[ToolCall]
    ratings: list[Rating]
    review: Review | None
    reasons: dict[Reason, str] = field(default_factory=dict)
    state: State = "open"
    version: int = 0
    cause: Cause = "model"
    others: list[Review] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    claim: Claim | None = None


class ReviewDesk:
    """What a reviewer sees and decides."""

    def __init__(self, store: Store, ledger: Ledger, policy: Policy | None = None) -> None:
        self._store = store
        self._ledger = ledger
        self._policy = policy or Policy()
        self._queue = Queue(store.database, self._policy)
        self._lots = Lots(store.database)
        self.claims = Claims(store.database)

    # reading ---------------------------------------------------------------------------------------------------------

    def queue(self, wanted: Filter | None = None, *, reviewer: str | None = None, limit: int = 100) -> list[QueueItem]:
        """Finished turns that call for a look, the most urgent first unless the filter says otherwise.

        A turn that was decided is left out unless a thumb down or a proposal came after the decision. reviewer: leaves out what
        this one has decided or put aside, and nothing that another has put aside.
        """
        return self._queue.items(reviewer, wanted or Filter(), limit)

    def choices(self) -> tuple[list[str], list[str]]:
        """(tools, models) by which the queue can be filtered."""
        return self._queue.choices()

    def open(self, turn_id: str, reviewer: str) -> ReviewItem:
        """One turn, claimed for this reviewer unless another holds it (see `claim`). Raises NotFound."""
        self._store.turn(turn_id)
        claim = self.claims.take(turn_id, reviewer)
        return self.item(turn_id, reviewer, claim)

    def item(self, turn_id: str, reviewer: str | None = None, claim: Claim | None = None) -> ReviewItem:
        """One turn with its calls, ratings and what reviewers did, as far as this reviewer may know it. Raises NotFound."""
        turn, reviews, calls = self._store.turn(turn_id), self._store.reviews(turn_id), self._store.calls(turn_id)
        state, reasons, since = self._queue.place(turn_id)
        decisions = standing(reviews, since)
        hidden = reviewer is not None and state == "second" and decisions[0].reviewer != reviewer
        return ReviewItem(
            turn, calls, self._store.turn_ratings(turn_id),
            review=decisions[-1] if decisions and not hidden and state != "third" else None,
            reasons=reasons,
            state=state,
            version=reviews[-1].id if reviews else 0,
            cause=likely_cause(reasons, [call.error for call in calls if call.error]),
            others=decisions if state == "third" else [],
            proposals=Proposals(self._store.database).open(turn_id),
            claim=claim,
        )  # fmt: skip

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

    def statistics(self) -> Statistics:
        """How far reviewers agree, and how long a correction takes."""
        return Statistics.read(self._store.database, len(self.reviewers()))

    def waiting(self) -> int:
        """How many turns wait for a decision."""
        return self._queue.waiting()

    def reviewers(self) -> set[str]:
        """The names of those who are known: who decided lately, or is at a turn."""
        since = (datetime.now(UTC) - timedelta(days=KNOWN_DAYS)).isoformat()
        found = self._store.database.query(
            "SELECT reviewer FROM reviews WHERE created_at > ? AND reviewer NOT LIKE 'erased-%'"
            " UNION SELECT reviewer FROM review_claims",
            (since,),
        )
        return {row["reviewer"] for row in found}

    # deciding --------------------------------------------------------------------------------------------------------

    def approve(
        self,
        turn_id: str,
        reviewer: str,
        response_override: Message | None,
        *,
        cause: Cause = "model",
        version: int | None = None,
        suggested_by: str | None = None,
    ) -> str | None:
        """Make the turn an example, durably, and return the example's id; None where it makes none.

        It makes none where the fault was not the model's, and (yet) where another reviewer decides too and has not agreed.
        response_override: the assistant message that should have been; None = the model's own first decision was right.
        version: see ReviewItem. Raises InputError with every problem of the message, NotFound, Conflict while the turn is under
        way, another reviewer holds it, or one decided on it after this version.
        """
        turn = self._finished(turn_id)
        found = _row(turn, _first_decision(turn) if response_override is None else response_override)
        if isinstance(found, list):
            raise InputError("; ".join(found))
        override = None if response_override is None else found.messages[-1]
        return self._decide(turn, reviewer, "approved", override, cause, version, suggested_by, found)

    def reject(self, turn_id: str, reviewer: str, *, cause: Cause | None = None, version: int | None = None) -> None:
        """Nothing is to be learned from this turn; an example that was approved earlier is taken back. Raises as approve does."""
        self._decide(self._finished(turn_id), reviewer, "rejected", None, cause, version)

    def skip(self, turn_id: str, reviewer: str) -> None:
        """Put the turn aside undecided; others still see it, and one that was decided keeps its decision."""
        self._finished(turn_id)
        with self._store.database.transaction():
            if self._queue.place(turn_id)[0] != "done":
                self._store.record_review(turn_id, reviewer, "skipped")
            self.claims.release(turn_id, reviewer)

    def undo(self, reviewer: str) -> str:
        """Take back the reviewer's latest decision on which nobody has decided since; returns the turn, which is open again.

        May be repeated. Raises Conflict if there is none of the last day, or another reviewer is at that turn.
        """
        since = (datetime.now(UTC) - timedelta(hours=UNDO_HOURS)).isoformat()
        with self._store.database.transaction():
            found = self._store.database.first(
                "SELECT * FROM reviews r WHERE reviewer = ? AND verdict != 'withdrawn' AND created_at > ?"
                " AND id = (SELECT max(n.id) FROM reviews n WHERE n.turn_id = r.turn_id) ORDER BY id DESC LIMIT 1",
                (reviewer, since),
            )
            if found is None:
                raise Conflict(f"there is no decision of yours from the last {UNDO_HOURS} hours to take back")
            review = review_from(found)
            self.claims.check(review.turn_id, reviewer)
            if review.verdict != "skipped":
                self._ledger.withdraw(review.turn_id)
            self._store.record_review(review.turn_id, reviewer, "withdrawn")
        return review.turn_id

    def similar(self, turn_id: str, response: Message) -> list[Similar]:
        """Undecided turns that asked the same, at most SIMILAR."""
        self._queue.refresh()
        return SimilarTurns(self._store.database).of(turn_id, response, SIMILAR)

    def _decide(
        self,
        turn: Turn,
        reviewer: str,
        verdict: ReviewVerdict,
        override: Message | None,
        cause: Cause | None,
        version: int | None,
        suggested_by: str | None = None,
        row: Row | None = None,
    ) -> str | None:
        """Record a decision, and make or take back the turn's example by what the decisions now come to."""
        with self._store.database.transaction():
            self.claims.check(turn.id, reviewer)
            reviews = self._store.reviews(turn.id)
            decisions = standing(reviews, self._queue.place(turn.id)[2])
            others = [review for review in decisions if review.reviewer != reviewer]
            _refuse_overwriting(reviews, others, version)
            provisional = decisions[0].provisional if decisions else self._goes_to_two(turn.id, reviewer)
            made = Review(0, turn.id, reviewer, verdict, override, None, "", provisional=provisional)
            example_id = None
            if row is not None and cause == "model" and _counts(made, others, first_reply(turn.messages)):
                source: Source = "thumb_up" if override is None else "correction"
                example_id = self._ledger.add_approved(
                    row, source, turn_id=turn.id, conversation_id=turn.conversation_id, person=turn.person, reviewer=reviewer
                )
            else:
                self._ledger.withdraw(turn.id)
            self._store.record_review(
                turn.id, reviewer, verdict, override, example_id,
                cause=cause, suggested_by=suggested_by, seconds=self._seconds(turn.id, reviewer), provisional=provisional,
            )  # fmt: skip
            self.claims.release(turn.id, reviewer)
        return example_id

    def _goes_to_two(self, turn_id: str, reviewer: str) -> bool:
        """Whether this turn's lot is to be decided by two; with one reviewer known, none is."""
        return self._lots.drawn("second", turn_id, self._policy.second_share) and len(self.reviewers() | {reviewer}) >= 2

    def _seconds(self, turn_id: str, reviewer: str) -> float | None:
        claim = self.claims.last(turn_id, reviewer)
        if claim is None:
            return None
        return min((datetime.now(UTC) - datetime.fromisoformat(claim.since)).total_seconds(), LONGEST_SECONDS)

    def _finished(self, turn_id: str) -> Turn:
        turn = self._store.turn(turn_id)
        if turn.finished_at is None:
            raise Conflict(f"turn {turn_id!r} is still under way; decide when it has finished")
        return turn


def _refuse_overwriting(reviews: Collection[Review], others: Collection[Review], version: int | None) -> None:
    """Raises Conflict if another decided after this version, unless the two are to decide without knowing of each other."""
    if version is None:
        return
    since = [review for review in others if review.id > version]
    if since and not (since[-1].provisional and len(others) < 3):
        words = since[-1].verdict + ("" if since[-1].response_override is None else ", with a correction")
        raise Conflict(
            f"{since[-1].reviewer} has decided on this turn meanwhile ({words}); look at it, and decide again if you must"
        )


def _counts(made: Review, others: list[Review], said: Message | None) -> bool:
    """Whether a decision is the last word: it stands alone, is the third, or agrees with the other one."""
    if not made.provisional or len(others) >= 2:
        return True
    return len(others) == 1 and agree(decided(others[0], said), decided(made, said))


def _first_decision(turn: Turn) -> Message:
    """The model's own first message of the turn: its calls only, or its words. Raises InputError if it may not be learned."""
    made = first_reply(turn.messages)
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
    # read as an import would be: calls in any known shape, arguments as text or as an object
    answered: Any = rows_from({"messages": [asked, response], "tools": turn.tools})[-1]
    if isinstance(answered, RowError):
        return [str(answered)]
    return Row([*turn.context, asked, answered.messages[-1]], turn.tools)
