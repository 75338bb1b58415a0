"""What the Chat page shows of the store, and what becomes of a rating. Knows its handlers; builds nothing.

Handlers take the conversation's id and read everything else from the store: what the browser sends is a hint, not evidence.
"""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from chat_app import guard
from chat_app.services import Services
from chat_app.ui import messages, toasts
from chat_app.ui.words import Words, spoken_by
from flywheel.conversations import Conversations
from flywheel.errors import NotFound
from flywheel.store import Conversation, Thumb, ToolCall, Turn

SHOWN_TURNS = 40
SHOWN_EXAMPLES = 4


class ChatPage:
    """The reading and rating handlers of the Chat page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.kept = Conversations(services.store)

    # reading ---------------------------------------------------------------------------------------------------------

    def own(self, conversation_id: str | None, person: str) -> Conversation | None:
        """The person's conversation; None for a new one, a deleted one or another's."""
        try:
            return self.services.store.conversation(conversation_id, person) if conversation_id else None
        except NotFound:
            return None

    def turns(self, conversation_id: str | None, person: str) -> list[tuple[Turn, list[ToolCall]]]:
        """The shown turns with their calls."""
        if self.own(conversation_id, person) is None or conversation_id is None:
            return []
        turns = self.services.store.turns(conversation_id)[-SHOWN_TURNS:]
        return [(turn, self.services.store.calls(turn.id)) for turn in turns]

    def shown(self, turns: list[tuple[Turn, list[ToolCall]]], words: Words) -> list[messages.Shown]:
        """Turns as the Chatbot's messages."""
        return [message for turn, calls in turns for message in messages.shown_turn(turn, calls, words)]

    def chatbot(self, turns: list[tuple[Turn, list[ToolCall]]], person: str, words: Words) -> Any:
        """The conversation with its thumbs, as the Chatbot's new value."""
        ratings = self.services.store.ratings(turns[0][0].conversation_id, person) if turns else {}
        shown: list[Any] = self.shown(turns, words)
        return gr.Chatbot(value=shown, feedback_value=messages.thumbs([turn for turn, _ in turns], ratings))

    def confirmation(self, turns: list[tuple[Turn, list[ToolCall]]], words: Words) -> tuple[Any, str]:
        """The panel that asks before a write: whether it is visible, and what it says."""
        waits = bool(turns) and turns[-1][0].status == "awaiting"
        call = next((call for call in turns[-1][1] if call.status == "awaiting"), None) if waits else None
        if call is None:
            return gr.Group(visible=False), ""
        rows = "".join(
            f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{html.escape(messages.readable(value, words))}</td></tr>"
            for name, value in call.arguments.items()
        )
        tool = self.services.tools.get(call.name)
        title = html.escape(words.title(tool) if tool else call.name)
        return gr.Group(visible=True), f'<div class="ask"><b>{title}?</b><table>{rows}</table></div>'

    def model_line(self, words: Words) -> str:
        """The served model's name and age."""
        served = self.services.registry.served()
        name = f'<b id="served">{html.escape(served.model)}</b>'
        return f'<span class="muted">{words("answered_by", model=name, age=words.age(served.since))}</span>'

    def notice(self, person: str, words: Words) -> Any:
        """Which of the person's corrections are live."""
        live = self.services.ledger.live_corrections(person)
        if not live:
            return gr.HTML("", visible=False)
        lines = [words("live", day=words.day(item.rated_at), question=item.question[:120]) for item in live[:3]]
        if len(live) > 3:
            lines.append(words("live_more", count=len(live) - 3))
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        return gr.HTML(f'<div class="notice" role="status"><ul>{items}</ul></div>', visible=True)

    def found(self, person: str, search: str, current: str | None) -> Any:
        """The list of the person's conversations with these words in them."""
        choices = [(item.title, item.id) for item in self.kept.find(person, search or "")]
        return gr.Radio(choices=choices, value=current if current in [value for _, value in choices] else None)

    def everything(self, conversation_id: str | None, person: str, words: Words, search: str = "") -> tuple[Any, ...]:
        """All that depends on the conversation: see `chat.build` for the order."""
        turns = self.turns(conversation_id, person)
        own = conversation_id if self.own(conversation_id, person) else None
        panel, text = self.confirmation(turns, words)
        return (
            own,
            own,
            self.chatbot(turns, person, words),
            panel,
            text,
            self.model_line(words),
            self.notice(person, words),
            self.found(person, search, own),
            gr.Group(visible=False),
            gr.Row(visible=bool(turns)),
            gr.Group(visible=False),
            gr.Group(visible=False),
        )

    # handlers --------------------------------------------------------------------------------------------------------

    def load(self, remembered: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Open the page where the person left off, in their language, and take questions from now on."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        newest = self.services.store.conversations(person, limit=1)
        opened = self.own(remembered, person) or (newest[0] if newest else None)
        shown = self.everything(opened.id if opened else None, person, words)
        return *shown, gr.Textbox(interactive=True), gr.CheckboxGroup(words.reasons()), self.tool_list(words)

    def tool_list(self, words: Words) -> str:
        """What the chat can do, one line each with an example to press, as HTML."""
        lines = "".join(
            f'<li><button type="button">{html.escape(words.title(tool))}'
            f' <q lang="en">{html.escape(tool.examples[0])}</q></button></li>'
            for tool in self.services.tools.values()
        )
        return f"<p>{words('tools_hint')}</p><ul>{lines}</ul>"

    def open(self, conversation_id: str | None, search: str, request: gr.Request) -> tuple[Any, ...]:
        """Show a conversation."""
        return self.everything(conversation_id, guard.person(request, "end_user").name, spoken_by(request), search)

    def begin(self, request: gr.Request) -> tuple[Any, ...]:
        """Show a new conversation."""
        return self.everything(None, guard.person(request, "end_user").name, spoken_by(request))

    def settled(self, conversation_id: str | None, search: str, request: gr.Request) -> tuple[Any, ...]:
        """After a turn, however it ended: what the store holds, with thumbs; and the box takes the next question."""
        shown = self.everything(conversation_id, guard.person(request, "end_user").name, spoken_by(request), search)
        return *shown, gr.Textbox(submit_btn=True, stop_btn=False), None, ""

    def look(self, request: gr.Request) -> tuple[Any, ...]:
        """What may have changed without the person: the model, and which corrections are live."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        return self.model_line(words), self.notice(person, words)

    # rating ----------------------------------------------------------------------------------------------------------

    def rate(self, conversation_id: str | None, event: gr.LikeData, request: gr.Request) -> tuple[Any, ...]:
        """A thumb: written before anyone is thanked; a thumb down opens the panel that asks why."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        index = event.index if isinstance(event.index, int) else event.index[0]
        turn = messages.turn_at(self.turns(conversation_id, person), index)
        if turn is None:
            raise toasts.refusal(words("not_rated"), words("did_not_work"))
        thumb: Thumb | None = "up" if event.liked is True else "down" if event.liked is False else None
        self.services.store.rate(person, turn.id, thumb)
        if thumb == "down":
            return gr.Group(visible=True), turn.id, [], ""
        toasts.tell(words("rated") if thumb else words("withdrawn"))
        return gr.Group(visible=False), None, [], ""

    def explain(self, turn_id: str | None, categories: list[str], opinion: str, request: gr.Request) -> Any:
        """Add reasons and a comment to the thumb down."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        if turn_id is None:
            raise toasts.refusal(words("choose_answer"), words("did_not_work"))
        self.services.store.rate(person, turn_id, "down", categories, opinion or "")
        toasts.tell(words("explained"), seconds=6)
        return gr.Group(visible=False)

    def withdraw(self, turn_id: str | None, conversation_id: str | None, request: gr.Request) -> tuple[Any, Any]:
        """Take the thumb down back."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        if turn_id is not None:
            self.services.store.rate(person, turn_id, None)
            toasts.tell(words("withdrawn"))
        return gr.Group(visible=False), self.chatbot(self.turns(conversation_id, person), person, words)
