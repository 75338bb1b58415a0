"""The list of a person's conversations in the Chat page's sidebar: search, rename, delete. Handlers only."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from chat_app import guard
from chat_app.ui import toasts
from chat_app.ui.chat_page import ChatPage
from chat_app.ui.words import Words, spoken_by
from flywheel.store import Conversation


class ConversationList:
    """The sidebar's handlers."""

    def __init__(self, page: ChatPage) -> None:
        self.page = page

    def search(self, text: str, conversation_id: str | None, request: gr.Request) -> Any:
        """The conversations with these words."""
        return self.page.found(guard.person(request, "end_user").name, text, conversation_id)

    def ask_title(self, conversation_id: str | None, request: gr.Request) -> tuple[Any, str, Any]:
        """Open the panel for a new title; close the other one."""
        conversation = self._chosen(conversation_id, guard.person(request, "end_user").name, spoken_by(request))
        return gr.Group(visible=True), conversation.title, gr.Group(visible=False)

    def rename(self, conversation_id: str | None, title: str, search: str, request: gr.Request) -> tuple[Any, Any]:
        """Give the conversation its new title."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        conversation = self._chosen(conversation_id, person, words)
        toasts.refused(lambda: self.page.kept.rename(conversation.id, person, title), words)
        toasts.tell(words("renamed"))
        return gr.Group(visible=False), self.page.found(person, search, conversation.id)

    def ask_deletion(self, conversation_id: str | None, request: gr.Request) -> tuple[Any, str, Any]:
        """Ask whether the conversation is to go, and say what stays; close the other panel."""
        words = spoken_by(request)
        conversation = self._chosen(conversation_id, guard.person(request, "end_user").name, words)
        return (
            gr.Group(visible=True),
            f"<p>{html.escape(words('delete_ask', title=conversation.title))}</p>",
            gr.Group(visible=False),
        )

    def keep(self, request: gr.Request) -> Any:
        """Close the question about deletion."""
        guard.person(request, "end_user")
        return gr.Group(visible=False)

    def delete(self, conversation_id: str | None, search: str, request: gr.Request) -> tuple[Any, ...]:
        """Delete the conversation and show a new one."""
        person, words = guard.person(request, "end_user").name, spoken_by(request)
        conversation = self._chosen(conversation_id, person, words)
        self.page.kept.delete(conversation.id, person)
        toasts.tell(words("deleted"))
        return self.page.everything(None, person, words, search)

    def _chosen(self, conversation_id: str | None, person: str, words: Words) -> Conversation:
        """The conversation that is open. Raises a refusal where there is none."""
        conversation = self.page.own(conversation_id, person)
        if conversation is None:
            raise toasts.refusal(words("choose"), words("did_not_work"))
        return conversation
