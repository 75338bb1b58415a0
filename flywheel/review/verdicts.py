"""What several reviewers' decisions on one turn come to. Pure: reviews in, a state out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from flywheel.store import Message, Review

State = Literal["quiet", "open", "second", "third", "done"]
"""quiet: nothing calls for a look. open: nobody has decided. second, third: that reviewer is still to decide."""
WAITING: tuple[State, ...] = ("open", "second", "third")

Calls = list[tuple[str, Any]]


class Decided(NamedTuple):
    """What a decision says of the answer. kind: "right" as it was, "corrected" or "rejected". calls: (name, arguments)."""

    kind: Literal["right", "corrected", "rejected"]
    calls: Calls


def calls_of(message: Message | None) -> Calls:
    """(name, arguments) of an assistant message's calls."""
    made = (message or {}).get("tool_calls") or ()
    return [(call["function"]["name"], call["function"]["arguments"]) for call in made]


def first_reply(messages: Sequence[Message]) -> Message | None:
    """The model's first message of a turn, or None."""
    return next((message for message in messages if message["role"] == "assistant"), None)


def decided(review: Review, said: Message | None) -> Decided:
    """What a review says, given what the model had said."""
    if review.verdict == "rejected":
        return Decided("rejected", [])
    if review.response_override is None or _same(review.response_override, said):
        return Decided("right", calls_of(said))
    return Decided("corrected", calls_of(review.response_override))


def _same(one: Message, other: Message | None) -> bool:
    if calls_of(one) or calls_of(other):
        return calls_of(one) == calls_of(other)
    return bool(one.get("content") == (other or {}).get("content"))


def agree(one: Decided, other: Decided) -> bool:
    """The same verdict and the same calls; two texts that call nothing agree, however they are worded."""
    return one.kind == other.kind and one.calls == other.calls


def standing(reviews: Sequence[Review], since: str) -> list[Review]:
    """Each reviewer's latest decision, in order, if it was made from that moment on and not taken back or put aside.

    One that had been overruled does not come back by itself when the later one is taken back.
    """
    latest = {review.reviewer: review for review in reviews}
    counts = [review for review in latest.values() if review.verdict in ("approved", "rejected") and review.created_at >= since]
    if reviews and max(reviews, key=lambda review: review.id).verdict == "withdrawn":
        counts = [review for review in counts if review.provisional]
    return sorted(counts, key=lambda review: review.id)


def state(decisions: Sequence[Review], said: Message | None) -> State:
    """Who is to decide next, given the standing decisions."""
    if not decisions:
        return "open"
    if not decisions[0].provisional or len(decisions) > 2:
        return "done"
    if len(decisions) == 1:
        return "second"
    return "done" if agree(decided(decisions[0], said), decided(decisions[1], said)) else "third"
