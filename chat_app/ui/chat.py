"""The Chat page: ask, watch the calls, confirm what writes, rate the answer. Builds and wires only.

Handlers take the conversation's id and read everything else from the store: what the browser sends is a hint, not evidence.
"""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import gradio as gr

from chat_app.events import Blocked, ConfirmationNeeded, Event, Finished, TextDelta, ToolCalled, ToolReturned
from chat_app.services import Services
from chat_app.turn import resume_turn, run_turn
from chat_app.ui import frame, messages, times, toasts
from flywheel.errors import FlywheelError, NotFound
from flywheel.people import LOCAL as PERSON
from flywheel.store import CATEGORIES, Conversation, Thumb, ToolCall, Turn

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = PRIVATE | {"queue": False}
MODEL_EVENTS: dict[str, Any] = PRIVATE | {"concurrency_limit": 16, "concurrency_id": "model"}
UPDATES_PER_SECOND = 8
SHOWN_TURNS = 40
SHOWN_EXAMPLES = 4
SHOW_END = "() => { const log = document.querySelector('#chatbot [role=log]'); setTimeout(() => log.scrollTo(0, 1e9), 200); }"
"""Who asks wants to see the answer, wherever they had scrolled to."""


class ChatPage:
    """Handlers of the Chat page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services

    # reading ---------------------------------------------------------------------------------------------------------

    def own(self, conversation_id: str | None) -> Conversation | None:
        """The person's conversation; None for a new one or another's."""
        try:
            return self.services.store.conversation(conversation_id, PERSON) if conversation_id else None
        except NotFound:
            return None

    def turns(self, conversation_id: str | None) -> list[tuple[Turn, list[ToolCall]]]:
        """The shown turns with their calls."""
        if self.own(conversation_id) is None or conversation_id is None:
            return []
        turns = self.services.store.turns(conversation_id)[-SHOWN_TURNS:]
        return [(turn, self.services.store.calls(turn.id)) for turn in turns]

    def chatbot(self, conversation_id: str | None) -> Any:
        """The conversation with its thumbs, as the Chatbot's new value."""
        turns = self.turns(conversation_id)
        shown: list[Any] = [message for turn, calls in turns for message in messages.shown_turn(turn, calls)]
        ratings = self.services.store.ratings(conversation_id, PERSON) if conversation_id and turns else {}
        return gr.Chatbot(value=shown, feedback_value=messages.thumbs([turn for turn, _ in turns], ratings))

    def confirmation(self, conversation_id: str | None) -> tuple[Any, str]:
        """The panel that asks before a write: whether it is visible, and what it says."""
        turns = self.turns(conversation_id)
        if not turns or turns[-1][0].status != "awaiting":
            return gr.Group(visible=False), ""
        call = next((call for call in turns[-1][1] if call.status == "awaiting"), None)
        if call is None:
            return gr.Group(visible=False), ""
        rows = "".join(
            f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in call.arguments.items()
        )
        tool = self.services.tools.get(call.name)
        title = html.escape(tool.title if tool else call.name)
        return gr.Group(visible=True), f'<div class="ask"><b>{title}?</b><table>{rows}</table></div>'

    def model_line(self) -> str:
        """The served model's name and age, and whether it can answer yet."""
        served = self.services.registry.served()
        name = html.escape(served.model)
        return f'<span class="muted">Answered by <b id="served">{name}</b> · live {times.age(served.since)}</span>'

    def notice(self) -> Any:
        """Which of the person's corrections are live."""
        live = self.services.ledger.live_corrections(PERSON)
        if not live:
            return gr.HTML("", visible=False)
        items = "".join(
            f"<li>Your correction from {times.day(item.rated_at)} is live: “{html.escape(item.question[:120])}”</li>"
            for item in live[:3]
        )
        more = f"<li>and {len(live) - 3} more</li>" if len(live) > 3 else ""
        return gr.HTML(f'<div class="notice" role="status"><ul>{items}{more}</ul></div>', visible=True)

    def conversations(self, current: str | None) -> Any:
        """The list of the person's conversations."""
        choices = [(item.title, item.id) for item in self.services.store.conversations(PERSON)]
        return gr.Radio(choices=choices, value=current if current in [value for _, value in choices] else None)

    def page(self, conversation_id: str | None) -> tuple[Any, ...]:
        """Everything that depends on the conversation, in the order of `outputs`."""
        panel, text = self.confirmation(conversation_id)
        return (
            conversation_id,
            self.chatbot(conversation_id),
            panel,
            text,
            self.model_line(),
            self.notice(),
            self.conversations(conversation_id),
            gr.Group(visible=False),
        )

    def load(self) -> tuple[Any, ...]:
        """Open the page where the person left off, and take questions from now on."""
        newest = self.services.store.conversations(PERSON, limit=1)
        return *self.page(newest[0].id if newest else None), gr.Textbox(interactive=True)

    # asking ----------------------------------------------------------------------------------------------------------

    async def ask(self, text: str, conversation_id: str | None) -> AsyncIterator[tuple[Any, ...]]:
        """One turn: (text box, conversation, chatbot)."""
        text = (text or "").strip()
        if not text:
            yield gr.skip(), gr.skip(), gr.skip()
            return
        store = self.services.store
        conversation = await asyncio.to_thread(self.own, conversation_id)
        if conversation is None:
            conversation = await asyncio.to_thread(store.create_conversation, PERSON)
        before = [
            m for turn, calls in await asyncio.to_thread(self.turns, conversation.id) for m in messages.shown_turn(turn, calls)
        ]
        yield gr.Textbox(value="", submit_btn=False, stop_btn=True), conversation.id, [*before, messages.question(text)]
        try:
            async with aclosing(run_turn(self.services, conversation, text)) as events:
                async for shown in self.live(events, [*before, messages.question(text)]):
                    yield gr.skip(), gr.skip(), shown
        except FlywheelError as error:
            toasts.warn(str(error))
            yield text, conversation.id, before

    async def decide(self, conversation_id: str | None, approved: bool) -> AsyncIterator[Any]:
        """Go on with the turn that waits for a yes or no."""
        turns = await asyncio.to_thread(self.turns, conversation_id)
        if not turns or turns[-1][0].status != "awaiting":
            toasts.tell("Nothing waits for an answer any more.")
            return
        turn, calls = turns[-1]
        before = [m for old, old_calls in turns[:-1] for m in messages.shown_turn(old, old_calls)]
        shown = [messages.question(turn.question)]
        try:
            async with aclosing(resume_turn(self.services, turn.id, PERSON, approved)) as events:
                async for update in self.live(events, before + shown, calls):
                    yield update
        except FlywheelError as error:
            toasts.warn(str(error))

    async def live(
        self, events: AsyncIterator[Event], before: list[messages.Shown], calls: list[ToolCall] | None = None
    ) -> AsyncIterator[list[messages.Shown]]:
        """What to show after each event, at most `UPDATES_PER_SECOND` while text streams."""
        cards = {call.id: call for call in calls or ()}
        text, last = "", 0.0
        async for event in events:
            match event:
                case ToolCalled(call) | ToolReturned(call) | ConfirmationNeeded(call=call):
                    cards[call.id] = call
                case TextDelta(piece):
                    text += piece
                    if time.monotonic() - last < 1 / UPDATES_PER_SECOND:
                        continue
                    last = time.monotonic()
                case Blocked(text=text):
                    pass
                case Finished(turn):
                    yield before[:-1] + messages.shown_turn(turn, list(cards.values()))
                    continue
            replies = [messages.card(call) for call in cards.values()] + ([messages.answer(text)] if text else [])
            yield before + replies

    # rating ----------------------------------------------------------------------------------------------------------

    def rate(self, conversation_id: str | None, event: gr.LikeData) -> tuple[Any, ...]:
        """A thumb: written before anyone is thanked; a thumb down opens the panel that asks why."""
        index = event.index if isinstance(event.index, int) else event.index[0]
        turn = messages.turn_at(self.turns(conversation_id), index)
        if turn is None:
            raise toasts.refusal("This answer cannot be rated; reload the page.")
        thumb: Thumb | None = "up" if event.liked is True else "down" if event.liked is False else None
        self.services.store.rate(PERSON, turn.id, thumb)
        if thumb == "down":
            return gr.Group(visible=True), turn.id, [], ""
        toasts.tell("Thank you, noted." if thumb else "Your rating is withdrawn.")
        return gr.Group(visible=False), None, [], ""

    def explain(self, turn_id: str | None, categories: list[str], opinion: str) -> Any:
        """Add reasons and a comment to the thumb down."""
        if turn_id is None:
            raise toasts.refusal("Choose an answer with thumb down first.")
        self.services.store.rate(PERSON, turn_id, "down", categories, opinion or "")
        toasts.tell("Thank you. A reviewer will see it; you will read here when the correction is live.", seconds=6)
        return gr.Group(visible=False)

    def withdraw(self, turn_id: str | None, conversation_id: str | None) -> tuple[Any, Any]:
        """Take the thumb down back."""
        if turn_id is not None:
            self.services.store.rate(PERSON, turn_id, None)
            toasts.tell("Your rating is withdrawn.")
        return gr.Group(visible=False), self.chatbot(conversation_id)


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = ChatPage(services)
    blocks = gr.Blocks(title="Chat · Flywheel Chat", analytics_enabled=False, fill_height=True)
    with blocks:
        frame.header("Chat")
        conversation = gr.State(None, time_to_live=8 * 3600)
        rated_turn = gr.State(None, time_to_live=8 * 3600)
        with gr.Sidebar(open=False, width=280):
            new = gr.Button("New conversation", variant="secondary", size="sm", elem_id="new")
            history = gr.Radio(choices=[], label="Conversations", elem_id="conversations")
        notice = gr.HTML(visible=False)
        chatbot = gr.Chatbot(
            elem_id="chatbot",
            show_label=False,
            height="max(380px, calc(100dvh - 290px))",
            layout="bubble",
            buttons=["copy"],
            allow_tags=False,
            feedback_options=("Like", "Dislike"),
            placeholder="**Ask me something I have a tool for.**\n\nRate the answers: corrections become the next model.",
            examples=[{"text": tool.examples[0]} for tool in list(services.tools.values())[:SHOWN_EXAMPLES]],
        )
        with gr.Group(visible=False, elem_id="confirm") as confirm:
            confirm_text = gr.HTML()
            with gr.Row():
                yes = gr.Button("Yes, do it", variant="primary", size="sm", elem_id="confirm-yes")
                no = gr.Button("No", size="sm", elem_id="confirm-no")
        with gr.Group(visible=False, elem_id="why") as why:
            reasons = gr.CheckboxGroup([(words, name) for name, words in CATEGORIES.items()], label="What was wrong?")
            opinion = gr.Textbox(
                label="Comment", lines=2, max_lines=4, max_length=2000, placeholder="What would have been right? (optional)"
            )
            with gr.Row():
                send = gr.Button("Send", variant="primary", size="sm", elem_id="why-send")
                undo = gr.Button("Withdraw my rating", size="sm", elem_id="why-withdraw")
        box = gr.Textbox(
            elem_id="box",
            show_label=False,
            label="Message",
            placeholder="Ask a question …",
            submit_btn=True,
            max_length=4000,
            max_lines=6,
            interactive=False,  # until the page has loaded: a question asked before that would be wiped from view
        )
        model_line = gr.HTML(padding=False)
        tools_panel(services)

        outputs = [conversation, chatbot, confirm, confirm_text, model_line, notice, history, why]
        box.submit(None, None, None, js=SHOW_END)
        asked = box.submit(page.ask, [box, conversation], [box, conversation, chatbot], **MODEL_EVENTS)
        chosen = chatbot.example_select(example_text, None, box, **QUICK)
        picked = chosen.then(page.ask, [box, conversation], [box, conversation, chatbot], **MODEL_EVENTS)
        decisions = [
            yes.click(lambda: gr.Group(visible=False), None, confirm, **QUICK).then(
                agree(page, True), conversation, chatbot, **MODEL_EVENTS
            ),
            no.click(lambda: gr.Group(visible=False), None, confirm, **QUICK).then(
                agree(page, False), conversation, chatbot, **MODEL_EVENTS
            ),
        ]
        for event in (asked, picked, *decisions):
            settle(event, page, conversation, outputs, box)
        stopped = box.stop(None, None, None, cancels=[asked, picked, *decisions], **QUICK)
        settle(stopped, page, conversation, outputs, box)
        chatbot.like(page.rate, conversation, [why, rated_turn, reasons, opinion], **PRIVATE)
        send.click(page.explain, [rated_turn, reasons, opinion], why, **PRIVATE)
        undo.click(page.withdraw, [rated_turn, conversation], [why, chatbot], **PRIVATE)
        new.click(lambda: page.page(None), None, outputs, **QUICK)
        chatbot.clear(lambda: page.page(None), None, outputs, **QUICK)
        history.input(page.page, history, outputs, **QUICK)
        blocks.load(page.load, None, [*outputs, box], **QUICK)
        gr.Timer(10).tick(lambda: (page.model_line(), page.notice()), None, [model_line, notice], **QUICK)
    return blocks


def example_text(event: gr.SelectData) -> str:
    """The question of the example that was clicked."""
    return str(event.value["text"])


def agree(page: ChatPage, approved: bool) -> Any:
    """The handler of Yes or No."""

    async def handler(conversation_id: str | None) -> AsyncIterator[Any]:
        async for shown in page.decide(conversation_id, approved):
            yield shown

    return handler


def settle(event: Any, page: ChatPage, conversation: gr.State, outputs: list[Any], box: gr.Textbox) -> None:
    """After a turn, however it ended: show what the store holds, with thumbs, and take the next question."""
    event.then(page.page, conversation, outputs, **QUICK)
    event.then(lambda: gr.Textbox(submit_btn=True, stop_btn=False), None, box, **QUICK)


def tools_panel(services: Services) -> None:
    """What the chat can do, one line each."""
    lines = [f"- **{tool.title}** — {tool.schema['function']['description']}" for tool in services.tools.values()]
    with gr.Accordion("What I can do", open=False):
        gr.Markdown("\n".join(lines))
