"""A turn: the whole way from a person's message to the answer.

Rails, model, calls, tools and the keeping of it all come together here, in order; each part lives in a module of its own. What
happens is told as events. Whatever ends a turn (an answer, a rail, a failure, its person), what there is of it is stored first.
Knows nothing of pages.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from chat_app.events import Blocked, ConfirmationNeeded, Event, Finished, TextDelta, ToolCalled, ToolReturned
from chat_app.follow_up import call_before
from chat_app.model import Reply
from chat_app.progress import Halted, Progress, Services, call_message, result_message
from flywheel.errors import FlywheelError, InputError
from flywheel.store import Conversation, Message, ToolCall, Turn
from guardrails_config.policy import text_problem, without_secrets
from tools.tool import ToolContext

MAX_QUESTION_CHARACTERS = 4_000
CONTEXT_TURNS = 4
CONTEXT_CHARACTERS = 4_000
"""The most that the model sees of the earlier turns, as JSON text."""

_SENTENCE_END = re.compile(r"[.!?…][\"')\]]*(?=\s)|\n")

_log = logging.getLogger(__name__)


def run_turn(services: Services, conversation: Conversation, text: str) -> AsyncGenerator[Event, None]:
    """Answer a message; the events end with Finished, or with ConfirmationNeeded where a call that writes awaits a yes.

    Raises InputError, before anything is stored, for an empty or too long message; StorageError where nothing can be stored.
    Every other failure is told by the turn in Finished, whose `answer` may always be shown in place of the pieces that came.
    """
    question = text.replace("\0", "").encode(errors="replace").decode().strip()
    if not question:
        raise InputError("The message is empty; write what you want to know.")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise InputError(f"The message has {len(question):,} characters; shorten it to {MAX_QUESTION_CHARACTERS:,}.")

    def begin() -> Turn:
        earlier = services.store.turns(conversation.id)
        return services.store.begin_turn(
            conversation,
            without_secrets(question),
            tools=[tool.schema for tool in services.tools.values()],
            model=services.model.serving(conversation.id),
            context=call_before(earlier, question) if services.settings.small_model else context_for(earlier),
        )

    return _kept(partial(Progress.take_up, services, begin), lambda progress: _way(progress, question=question))


def resume_turn(services: Services, turn_id: str, person: str, approved: bool) -> AsyncGenerator[Event, None]:
    """Go on with a turn that awaits a person's yes or no; possible once, also after a restart of the app. Events as in run_turn.

    Raises NotFound where the turn is not theirs or awaits nothing.
    """
    claim = partial(services.store.claim_awaiting, turn_id, person)
    return _kept(partial(Progress.take_up, services, claim), lambda progress: _way(progress, approved=approved))


def context_for(turns: list[Turn]) -> list[Message]:
    """Messages of earlier turns that the model sees before the question: the last answered ones, whole, in order."""
    context: list[Message] = []
    answered = [turn for turn in turns if turn.status == "answered"]
    for turn in answered[::-1][:CONTEXT_TURNS]:
        if len(json.dumps(turn.messages + context, ensure_ascii=False)) > CONTEXT_CHARACTERS:
            break
        context = turn.messages + context
    return context


def tool_context(services: Services, person: str, *, dry_run: bool = False) -> ToolContext:
    """The world in which a person's calls run. dry_run: writing tools only say what they would do."""
    return ToolContext(person=person, home=services.settings.home / "tools", dry_run=dry_run)


async def _kept(
    take_up: Callable[[], Awaitable[Progress]], way: Callable[[Progress], AsyncGenerator[Event, None]]
) -> AsyncGenerator[Event, None]:
    """Go the way and keep what comes of it, however it ends: with an answer, by a failure, or because the person stopped it."""
    progress = await take_up()
    try:
        async with aclosing(way(progress)) as events:
            async for event in events:
                yield event
    except Halted as halted:
        progress.halt(halted)
        yield Blocked(halted.verdict.stage, halted.verdict.reason, str(halted))
    except FlywheelError as error:
        progress.fail(str(error))
    except Exception:
        _log.exception("turn %s failed", progress.turn.id)
        progress.fail("Something failed inside the app; its log says what. Please ask again.")
    finally:
        turn = await progress.save()
    waiting = progress.next_call()
    yield ConfirmationNeeded(turn.id, waiting) if turn.status == "awaiting" and waiting else Finished(turn)


async def _way(progress: Progress, *, question: str | None = None, approved: bool | None = None) -> AsyncGenerator[Event, None]:
    """Rails → model → calls (rails → yes → tool → rails) → model … → rails → answer.

    From the start with `question`; with `approved`, a person's decision, from the call on which the turn rested.
    """
    if question is not None:
        await progress.check("input", {"role": "user", "content": question})
    while True:
        async with aclosing(_settled(progress, approved)) as events:
            async for event in events:
                yield event
        if progress.status == "awaiting":
            return
        if progress.calls and progress.services.settings.small_model:
            break
        last_word = progress.tool_choice == "none"
        async with aclosing(_streamed(progress)) as pieces:
            async for piece in pieces:
                yield TextDelta(piece)
        dropped = [] if last_word else await progress.propose()
        for call in dropped:
            yield ToolReturned(call)
        if not dropped and progress.next_call() is None:
            break
    # The smallest models have nothing sensible to say after a result: then the result speaks for itself.
    answer = progress.reply.content.strip() or plain_answer(progress.calls)
    await progress.check("output", {"role": "assistant", "content": answer})
    if rest := answer[len(progress.shown) :]:
        yield TextDelta(rest)
    progress.finish(answer)


async def _settled(progress: Progress, approved: bool | None) -> AsyncGenerator[Event, None]:
    """Rule on the open calls and run them, in order, up to one that awaits its person."""
    while call := progress.next_call():
        call = await _ruled(progress, call, approved)
        if call.status == "awaiting":
            progress.status = "awaiting"
            return
        if call.status == "proposed":
            yield ToolCalled(call)
            call = await _run(progress, call)
        progress.settle(call)
        yield ToolReturned(call)


async def _ruled(progress: Progress, call: ToolCall, approved: bool | None) -> ToolCall:
    """The call after the rails and the person: proposed (it may run), refused, failed, awaiting or declined."""
    if call.status == "awaiting":
        status = "proposed" if approved else "declined"
        return await progress.keep(call, status=status, result=None, error=None if approved else "the person declined")
    if call.status == "refused":
        return call
    verdict = await progress.check("tool_call", call_message(call))
    if verdict.outcome == "blocked":
        return await progress.keep(call, status="refused", error=verdict.reason)
    tool = progress.services.tools[call.name]
    if not tool.writes:
        return call
    # Nobody should be asked to agree to what cannot be done; and what would be done is shown with the question.
    with progress.timed("tools"):
        trial = await tool.run(call.arguments, tool_context(progress.services, progress.turn.person, dry_run=True))
    if trial.error is not None:
        return await progress.keep(call, status="failed", error=trial.error, duration_ms=trial.duration_ms)
    return await progress.keep(call, status="awaiting", result=trial.content)


async def _run(progress: Progress, call: ToolCall) -> ToolCall:
    """The call after it ran: done or failed; a result that speaks to the model as if it were a person is withheld from it."""
    tool = progress.services.tools.get(call.name)
    if tool is None:  # it was there when the person was asked, before a restart
        return await progress.keep(call, status="failed", error=f"the tool {call.name!r} is no longer there")
    try:
        with progress.timed("tools"):
            result = await tool.run(call.arguments, tool_context(progress.services, progress.turn.person))
    except asyncio.CancelledError:
        error = "stopped while it ran; look whether it was done" if tool.writes else "stopped while it ran"
        await asyncio.shield(progress.keep(call, status="failed", error=error))
        raise
    status = "done" if result.error is None else "failed"
    call = await progress.keep(call, status=status, result=result.content, error=result.error, duration_ms=result.duration_ms)
    verdict = await progress.check("tool_result", call_message(call), result_message(call))
    if verdict.outcome == "blocked":
        return await progress.keep(call, result=None, error=f"the result was withheld by a safety check ({verdict.reason})")
    return call


async def _streamed(progress: Progress) -> AsyncGenerator[str, None]:
    """The model's next reply; its text comes in whole sentences, each released once all before and with it holds nothing to hide.

    The output rails judge the whole answer later; where only they can tell (a content-safety NIM), nothing is released here.
    """
    text, progress.shown = "", ""
    messages, choice = progress.turn.context + progress.messages, progress.tool_choice
    with progress.timed("model"):
        stream = progress.services.model.stream(messages, progress.turn.tools, tool_choice=choice, model=progress.turn.model)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    progress.hear(piece)
                    return
                text = (text + piece).lstrip()
                ends = [match.end() for match in _SENTENCE_END.finditer(text, len(progress.shown))]
                if not ends or progress.services.rails.judge_whole_answers or text_problem(text[: ends[-1]], "output"):
                    continue
                fresh, progress.shown = text[len(progress.shown) : ends[-1]], text[: ends[-1]]
                yield fresh


def plain_answer(calls: list[ToolCall]) -> str:
    """What became of the calls, in the words of their results, for a model that has none."""
    if not calls:
        return "I have no answer to that. Please ask in other words."
    told = [_told(call.name, call.result) for call in calls if call.status == "done" and call.error is None]
    if calls[-1].status == "declined":
        told.append("All right, I did not do that.")
    return " ".join(told) or f"Sorry, that did not work: {calls[-1].error}"


def _told(name: str, result: Any) -> str:
    """A tool's own sentence about its result, or the result read out."""
    if isinstance(result, dict) and isinstance(result.get("summary"), str):
        return str(result["summary"])
    return f"Here is what {name.replace('_', ' ')} gave: {_in_words(result)[:600].rstrip('.')}."


def _in_words(value: Any) -> str:
    """JSON as a person would read it out."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_in_words(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(_in_words(part) for part in value) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
