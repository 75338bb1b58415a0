"""What a turn yields while it happens; `turn.py` makes these and `ui/` translates them. Knows nothing of either."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.store import ToolCall, Turn


@dataclass(frozen=True)
class Blocked:
    """A rail stopped the turn, or could not work.

    stage: input | tool_call | tool_result | output. text: what the person reads.
    """

    stage: str
    reason: str
    text: str


@dataclass(frozen=True)
class ToolCalled:
    """The model proposed this call and it passed the rails; it runs now."""

    call: ToolCall


@dataclass(frozen=True)
class ConfirmationNeeded:
    """This call writes something: the turn rests, durably, until the person says yes or no (`resume_turn`)."""

    turn_id: str
    call: ToolCall


@dataclass(frozen=True)
class ToolReturned:
    """What became of a call: done, failed, refused by a rail, or declined by the person."""

    call: ToolCall


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The turn has ended, whatever way, and is stored."""

    turn: Turn


Event = Blocked | ToolCalled | ConfirmationNeeded | ToolReturned | TextDelta | Finished
