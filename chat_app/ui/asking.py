"""What a person sets going on the Chat page: a question, a second try, a change of it, a yes or no. Streams what happens.

Each handler yields the box, the conversation, the Chatbot, the panel that asked for a yes, and the line that says what is waited
for. Knows the page's reading side (`chat_page.py`); the turn itself is `chat_app.turn`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from chat_app import guard
from chat_app.events import Blocked, ConfirmationNeeded, Event, Finished, TextDelta, ToolCalled, ToolReturned
from chat_app.turn import resume_turn, run_turn
from chat_app.ui import messages, toasts
from chat_app.ui.chat_page import ChatPage
from chat_app.ui.waiting import Waiting, ticking
from chat_app.ui.words import Words, spoken_by
from flywheel.errors import FlywheelError
from flywheel.store import SetAside, ToolCall, Turn

UPDATES_PER_SECOND = 8
TICK_SECONDS = 1.0

Update = tuple[Any, Any, Any, Any, Any]
"""New values of the box, the conversation, the Chatbot, the confirmation and the waiting line."""
SAME = gr.skip()


class Asking:
    """The handlers that run turns."""

    def __init__(self, page: ChatPage) -> None:
        self.page = page
        self.services = page.services
        self._line: list[Waiting] = []

    async def ask(
        self, text: str, conversation_id: str | None, edited: str | None, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """A question; in place of the last one where that is being changed."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        if not (text or "").strip():
            return
        try:
            if edited is not None:
                await asyncio.to_thread(self.page.kept.set_aside, edited, person, "edited")
        except FlywheelError as error:
            toasts.warn(words.sentence(str(error)), words("did_not_work"))
            return
        async with aclosing(self._answered(text.strip(), conversation_id, person, words)) as updates:
            async for update in updates:
                yield update

    async def ask_example(
        self, conversation_id: str | None, event: gr.SelectData, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """The question of the example that was pressed in the empty conversation."""
        guard.person(request, "end_user")
        async with aclosing(self.ask(str(event.value["text"]), conversation_id, None, request)) as updates:
            async for update in updates:
                yield update

    async def ask_tool(
        self, conversation_id: str | None, event: gr.EventData, request: gr.Request
    ) -> AsyncGenerator[Update, None]:
        """The question of the tool that was pressed in the list of tools."""
        guard.person(request, "end_user")
        async with aclosing(self.ask(str(event._data["question"]), conversation_id, None, request)) as updates:
            async for update in updates:
                yield update

    async def retry(self, conversation_id: str | None, request: gr.Request) -> AsyncGenerator[Update, None]:
        """The last question again; its earlier answer is kept for the flywheel, with its rating."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        turn = await asyncio.to_thread(self._put_aside, conversation_id, person, words, "retried")
        if turn is None:
            return
        async with aclosing(self._answered(turn.question, conversation_id, person, words)) as updates:
            async for update in updates:
                yield update

    def change(self, conversation_id: str | None, edited: str | None, request: gr.Request) -> tuple[Any, str | None, str]:
        """Put the last question into the box to be changed, or leave it; (box, the turn that is changed, the line about it)."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        turns = self.page.turns(conversation_id, person)
        if edited is not None or not turns:
            return gr.Textbox(value=""), None, ""
        return gr.Textbox(value=turns[-1][0].question), turns[-1][0].id, words("editing")

    def undo(self, conversation_id: str | None, search: str, request: gr.Request) -> tuple[Any, ...]:
        """Take the last turn off the conversation; its question goes back into the box."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        turn = self._put_aside(conversation_id, person, words, "undone")
        shown = self.page.everything(conversation_id, person, words, search)
        if turn is None:
            return *shown, SAME, None, ""
        writing = [tool for tool in self.services.tools.values() if tool.writes]
        done = {call.name for call in self.services.store.calls(turn.id) if call.status == "done"}
        what = ", ".join(words.title(tool) for tool in writing if tool.name in done)
        return *shown, turn.question, None, words("stays_done", what=what) if what else words("taken_back")

    async def agree(self, conversation_id: str | None, request: gr.Request) -> AsyncGenerator[Update, None]:
        """Yes: go on with the turn that waits for it."""
        async with aclosing(self._decided(conversation_id, True, request)) as updates:
            async for update in updates:
                yield update

    async def decline(self, conversation_id: str | None, request: gr.Request) -> AsyncGenerator[Update, None]:
        """No: go on without the call."""
        async with aclosing(self._decided(conversation_id, False, request)) as updates:
            async for update in updates:
                yield update

    # inside ----------------------------------------------------------------------------------------------------------

    def _put_aside(self, conversation_id: str | None, person: str, words: Words, how: SetAside) -> Turn | None:
        """The last turn, no longer part of the conversation; None, with a word about it, where there is none to take."""
        turns = self.page.turns(conversation_id, person)
        if not turns:
            toasts.tell(words("nothing_last"))
            return None
        try:
            return self.page.kept.set_aside(turns[-1][0].id, person, how)[0]
        except FlywheelError as error:
            toasts.warn(words.sentence(str(error)), words("did_not_work"))
            return None

    async def _answered(self, text: str, conversation_id: str | None, person: str, words: Words) -> AsyncGenerator[Update, None]:
        """One turn."""
        conversation = await asyncio.to_thread(self.page.own, conversation_id, person)
        if conversation is None:
            conversation = await asyncio.to_thread(self.services.store.create_conversation, person)
        turns = await asyncio.to_thread(self.page.turns, conversation.id, person)
        before = self.page.shown(turns, words)
        shown = [*before, messages.question(text)]
        hidden = gr.Group(visible=False)
        yield gr.Textbox(value="", submit_btn=False, stop_btn=True), conversation.id, shown, hidden, ""
        try:
            async with aclosing(self._live(run_turn(self.services, conversation, text), shown, [], words)) as updates:
                async for update in updates:
                    yield update
        except FlywheelError as error:
            toasts.warn(words.sentence(str(error)), words("did_not_work"))
            yield text, conversation.id, before, SAME, ""

    async def _decided(self, conversation_id: str | None, approved: bool, request: gr.Request) -> AsyncGenerator[Update, None]:
        """Go on with the turn that waits for a yes or no."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        turns = await asyncio.to_thread(self.page.turns, conversation_id, person)
        if not turns or turns[-1][0].status != "awaiting":
            toasts.tell(words("nothing_waits"))
            return
        (turn, calls), before = turns[-1], self.page.shown(turns[:-1], words)
        yield gr.Textbox(submit_btn=False, stop_btn=True), SAME, SAME, gr.Group(visible=False), ""
        events = resume_turn(self.services, turn.id, person, approved)
        try:
            async with aclosing(self._live(events, [*before, messages.question(turn.question)], calls, words)) as updates:
                async for update in updates:
                    yield update
        except FlywheelError as error:
            toasts.warn(words.sentence(str(error)), words("did_not_work"))

    async def _live(
        self, events: AsyncIterator[Event], before: list[messages.Shown], calls: list[ToolCall], words: Words
    ) -> AsyncGenerator[Update, None]:
        """What to show after each event, at most `UPDATES_PER_SECOND` while text streams, and every second of silence."""
        shown, last = Replies(before, calls, words), 0.0
        with Waiting(self._line, words) as waiting:
            async with aclosing(ticking(events, TICK_SECONDS)) as ticks:
                async for event in ticks:
                    if event is None:
                        yield SAME, SAME, SAME, SAME, waiting.shown()
                        continue
                    waiting.note(event)
                    shown.take(event)
                    if isinstance(event, TextDelta) and time.monotonic() - last < 1 / UPDATES_PER_SECOND:
                        continue
                    last = time.monotonic()
                    yield SAME, SAME, shown.messages(), SAME, ""


class Replies:
    """The turn that is under way, as messages after those before it."""

    def __init__(self, before: list[messages.Shown], calls: list[ToolCall], words: Words) -> None:
        self._before, self._words = before, words
        self._calls = {call.id: call for call in calls}
        self._text = ""
        self._finished: Turn | None = None

    def take(self, event: Event) -> None:
        """Add what happened."""
        match event:
            case ToolCalled(call) | ToolReturned(call) | ConfirmationNeeded(call=call):
                self._calls[call.id] = call
            case TextDelta(piece):
                self._text += piece
            case Blocked(text=text):
                self._text = self._words.sentence(text)
            case Finished(turn):
                self._finished = turn

    def messages(self) -> list[messages.Shown]:
        """All that is to be shown now."""
        if self._finished is not None:
            return self._before[:-1] + messages.shown_turn(self._finished, list(self._calls.values()), self._words)
        cards = [messages.card(call, self._words) for call in self._calls.values()]
        return self._before + cards + ([messages.answer(self._text)] if self._text else [])
