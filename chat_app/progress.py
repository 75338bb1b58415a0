"""What has come of a turn so far, and its keeping: messages, calls, verdicts, timings, status.

All that a turn needs in order to go on lies in its messages and calls, so that it can rest for days, over a restart of the app,
until a person has agreed to a call. Knows what a turn is; does not know its way (see `turn.py`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from chat_app.model import ChatModel, ProposedCall, Reply
from chat_app.rails import Rails, RailVerdict, Stage
from flywheel.errors import FlywheelError
from flywheel.review.confidence import Confidence, Confidences
from flywheel.store import Message, Store, ToolCall, Turn, TurnStatus
from tools.tool import Tool

MAX_CALLS = 5
"""Calls that one turn may propose; after that the model must answer in words."""
MAX_REFUSALS = 2
"""Refused calls after which the model must answer in words: it was told the reason once and did not mend it."""

REPEATED = "the same call was made before in this turn; its result stands above"
TOO_MANY = f"only {MAX_CALLS} calls are made for one question"
WITHHELD = "[withheld by a safety check]"


class TurnSettings(Protocol):
    """The settings that a turn needs."""

    @property
    def home(self) -> Path: ...
    @property
    def small_model(self) -> bool: ...


class Services(Protocol):
    """The parts of the app that a turn works with."""

    @property
    def settings(self) -> TurnSettings: ...
    @property
    def store(self) -> Store: ...
    @property
    def rails(self) -> Rails: ...
    @property
    def model(self) -> ChatModel: ...
    @property
    def tools(self) -> dict[str, Tool]: ...


class Halted(FlywheelError):
    """A rail stopped the turn, or could not work, which stops it too."""

    def __init__(self, verdict: RailVerdict) -> None:
        super().__init__(_refusal(verdict))
        self.verdict = verdict


def _refusal(verdict: RailVerdict) -> str:
    """What the person reads."""
    if verdict.outcome == "unavailable":
        return "The safety checks do not work right now, so I cannot answer. Please ask again in a moment."
    if verdict.reason.startswith("secret"):
        if verdict.stage == "input":
            return "Your message holds what looks like an access key, so it went no further and the key was not stored."
        return "I cannot show this answer: it holds what looks like an access key."
    if verdict.stage == "input":
        return f"I cannot help with this message ({verdict.reason}). Please ask in other words."
    return f"I cannot show this answer ({verdict.reason})."


@dataclass
class Progress:
    """One turn under way. reply: the model's last one. shown: what the person has seen of the one that is coming in."""

    services: Services
    turn: Turn
    calls: list[ToolCall]
    status: TurnStatus = "running"
    answer: str = ""
    shown: str = ""
    reply: Reply = field(init=False, default=Reply("", [], "", {}))
    first_confidence: Confidence | None = field(init=False, default=None)
    messages: list[Message] = field(init=False)
    verdicts: list[dict[str, Any]] = field(init=False)
    timings: dict[str, float] = field(init=False)
    _started: float = field(init=False, default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.messages, self.verdicts, self.timings = self.turn.messages, self.turn.verdicts, self.turn.timings

    @classmethod
    async def take_up(cls, services: Services, find: Callable[[], Turn]) -> Progress:
        """Take up the turn that `find` makes or claims. Cancelled meanwhile, the turn is still found, and kept as stopped."""

        def taken() -> Progress:
            turn = find()
            return cls(services, turn, services.store.calls(turn.id))

        taking = asyncio.ensure_future(asyncio.to_thread(taken))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await (await taking).save()
            raise

    async def save(self) -> Turn:
        """Store the turn as it stands; one that is still running was stopped by its person and keeps what they saw."""
        if self.status == "running":
            self.status, self.answer = "stopped", self.shown
            if self.shown:
                self.messages.append({"role": "assistant", "content": self.shown})
        self.timings["total"] = self.timings.get("total", 0.0) + (time.perf_counter() - self._started) * 1000
        return await asyncio.shield(asyncio.to_thread(self._save))  # the second cancellation of two must not lose it

    def hear(self, reply: Reply) -> None:
        """Take the model's reply; how sure it was of the first one is kept, since that is the one to be learned from."""
        self.reply = reply
        self.first_confidence = self.first_confidence or reply.confidence

    def _save(self) -> Turn:
        if self.first_confidence is not None:
            Confidences(self.services.store.database).record(self.turn.id, self.turn.model, self.first_confidence)
        self.services.store.save_turn(
            self.turn.id,
            status=self.status,
            messages=self.messages,
            answer=self.answer,
            verdicts=self.verdicts,
            timings=self.timings,
        )
        return self.services.store.turn(self.turn.id)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time inside to a stage's milliseconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[stage] = self.timings.get(stage, 0.0) + (time.perf_counter() - start) * 1000

    async def check(self, stage: Stage, *messages: Message) -> RailVerdict:
        """Ask a stage's rails about the last of the messages, and note the verdict.

        Raises Halted where the rails could not work, and for a message or an answer that they block; a blocked call or result is
        for the caller to deal with.
        """
        person = {"role": "user", "content": self.turn.question}
        allowed = {schema["function"]["name"]: schema["function"]["parameters"] for schema in self.turn.tools}
        with self.timed("rails"):
            verdict = await self.services.rails.check(stage, [person, *messages] if stage != "input" else list(messages), allowed)
        self.verdicts.append(asdict(verdict))
        if verdict.outcome == "unavailable" or (verdict.outcome == "blocked" and stage in ("input", "output")):
            raise Halted(verdict)
        return verdict

    # calls -----------------------------------------------------------------------------------------------------------

    @property
    def tool_choice(self) -> Literal["auto", "none"]:
        """Whether the model may call again, or must now answer in words."""
        refused = sum(call.status == "refused" for call in self.calls)
        over = any(call.status == "declined" or call.error in (REPEATED, TOO_MANY) for call in self.calls)
        return "none" if over or refused >= MAX_REFUSALS or len(self.calls) >= MAX_CALLS else "auto"

    async def propose(self) -> list[ToolCall]:
        """Take the reply's calls down, those to be settled as a message; returns those that are refused out of hand.

        A repeated call makes no message: its result is there already, and a model that was trained on one call for one question
        answers better when it sees just that.
        """
        new: list[ToolCall] = []
        dropped: list[ToolCall] = []
        for proposed in self.reply.calls[: MAX_CALLS + 1]:
            call = self._record(proposed)
            if objection := self._objection(call):
                dropped.append(await self.keep(call, status="refused", error=objection))
            else:
                new.append(await self.keep(call))
        if new:
            calls = [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in new]
            self.messages.append({"role": "assistant", "content": self.shown, "tool_calls": calls})
            self.shown = ""
        return dropped

    def _record(self, proposed: ProposedCall) -> ToolCall:
        call = ToolCall(
            id=f"call-{secrets.token_hex(6)}", turn_id=self.turn.id, position=len(self.calls), name=proposed.name,
            arguments=proposed.arguments or {}, status="proposed", result=None, error=None, duration_ms=None,
        )  # fmt: skip
        if proposed.arguments is None:
            return replace(call, status="refused", error=f"the arguments are no JSON object: {proposed.raw[:200]!r}")
        return call

    def _objection(self, call: ToolCall) -> str | None:
        if any((call.name, call.arguments) == (earlier.name, earlier.arguments) for earlier in self.calls):
            return REPEATED
        return TOO_MANY if len(self.calls) >= MAX_CALLS else None

    def next_call(self) -> ToolCall | None:
        """The first call of the model's last message that has no result yet."""
        settled = {message.get("tool_call_id") for message in self.messages}
        last = next((message for message in reversed(self.messages) if message["role"] == "assistant"), {})
        waiting = {call["id"] for call in last.get("tool_calls", ())} - settled
        return next((call for call in self.calls if call.id in waiting), None)

    async def keep(self, call: ToolCall, **changes: Any) -> ToolCall:
        """Store a call with these changes, at its place; returns it."""
        call = replace(call, **changes)
        await asyncio.to_thread(self.services.store.save_call, call)
        self.calls = sorted((*(other for other in self.calls if other.id != call.id), call), key=lambda one: one.position)
        return call

    def settle(self, call: ToolCall) -> None:
        """Let the model read what became of a call."""
        self.messages.append(result_message(call))

    # the answer ------------------------------------------------------------------------------------------------------

    def finish(self, text: str) -> None:
        """The answer has passed."""
        self.messages.append({"role": "assistant", "content": text})
        self.status, self.answer = "answered", text

    def halt(self, halted: Halted) -> None:
        """A rail stopped the turn. An answer that it held back is not stored either."""
        if halted.verdict.stage == "output":
            self.messages.append({"role": "assistant", "content": WITHHELD})
        self.status = "blocked" if halted.verdict.outcome == "blocked" else "failed"
        self.answer = str(halted)

    def fail(self, sentence: str) -> None:
        """Something broke; what the person has seen stays, with the sentence below."""
        if self.shown:
            self.messages.append({"role": "assistant", "content": self.shown})
        self.status, self.answer = "failed", "\n\n".join(filter(None, (self.shown, sentence)))


def call_message(call: ToolCall) -> Message:
    """The model's message that proposes this one call."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}


def result_message(call: ToolCall) -> Message:
    """The message that tells the model what became of a call: its result, or {"error": why there is none}, as compact JSON."""
    value = call.result if call.error is None else {"error": call.error}
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": content}
