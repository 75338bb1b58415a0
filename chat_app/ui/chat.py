"""The Chat page: ask, watch the calls, confirm what writes, rate the answer. Builds and wires; the handlers are next door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from chat_app.services import Services
from chat_app.ui import frame
from chat_app.ui.asking import Asking
from chat_app.ui.chat_page import SHOWN_EXAMPLES, ChatPage
from chat_app.ui.conversations import ConversationList
from chat_app.ui.words import ENGLISH, STATIC, SWITCH

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = PRIVATE | {"queue": False}
AT_ONCE = 256
"""Turns that may be under way: as many as the page has threads. They wait for the model, not for each other's end."""
MODEL_EVENTS: dict[str, Any] = PRIVATE | {"concurrency_limit": AT_ONCE, "concurrency_id": "model"}
STATE_SECONDS = 8 * 3600
SHOW_END = "() => { const log = document.querySelector('#chatbot [role=log]'); setTimeout(() => log.scrollTo(0, 1e9), 200); }"
"""Who asks wants to see the answer, wherever they had scrolled to."""
TO_THE_BOX = "() => document.querySelector('#box textarea').focus()"
AWAY_ON_PHONES = "() => { if (innerWidth < 768) document.querySelector('.sidebar.open .toggle-button')?.click(); }"
"""There the sidebar covers what was chosen in it."""
PRESSED = """element.addEventListener("click", (event) => {
  const line = event.target.closest("button");
  if (line) trigger("click", { question: line.querySelector("q").textContent });
});"""
"""A press on a line of the list of tools asks its question."""


@dataclass
class Sidebar:
    """Its parts that handlers read or change."""

    new: gr.Button
    search: gr.Textbox
    history: gr.Radio
    rename: gr.Button
    delete: gr.Button
    renaming: gr.Group
    title: gr.Textbox
    save: gr.Button
    deleting: gr.Group
    question: gr.HTML
    yes: gr.Button
    no: gr.Button


@dataclass
class Talk:
    """The parts of the page's middle that handlers read or change."""

    notice: gr.HTML
    chatbot: gr.Chatbot
    waiting: gr.HTML
    again: gr.Row
    retry: gr.Button
    edit: gr.Button
    undo: gr.Button
    confirm: gr.Group
    confirm_text: gr.HTML
    yes: gr.Button
    no: gr.Button
    box: gr.Textbox
    model_line: gr.HTML
    tools: gr.HTML


@dataclass
class Why:
    """The panel that asks what was wrong."""

    panel: gr.Group
    reasons: gr.CheckboxGroup
    opinion: gr.Textbox
    send: gr.Button
    withdraw: gr.Button


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = ChatPage(services)
    blocks = gr.Blocks(title="Chat · Flywheel Chat", analytics_enabled=False, fill_height=True)
    with blocks:
        frame.header("chat")
        conversation, rated, edited = (gr.State(None, time_to_live=STATE_SECONDS) for _ in range(3))
        remembered = gr.BrowserState(None, storage_key="conversation", secret="only an id, which is checked")
        sidebar = _sidebar()
        talk, why = _talk(services)
        outputs = [conversation, remembered, talk.chatbot, talk.confirm, talk.confirm_text, talk.model_line, talk.notice]
        outputs += [sidebar.history, why.panel, talk.again, sidebar.renaming, sidebar.deleting]
        _wire_asking(Asking(page), talk, conversation, edited, sidebar.search, [*outputs, talk.box, edited, talk.waiting])
        _wire_rating(page, talk, why, conversation, rated)
        _wire_sidebar(page, sidebar, talk, conversation, outputs)
        blocks.load(page.load, remembered, [*outputs, talk.box, why.reasons, talk.tools], **QUICK)
        frame.labels(blocks, "end_user")
        gr.Timer(10).tick(page.look, None, [talk.model_line, talk.notice], **QUICK)
    return blocks


def _sidebar() -> Sidebar:
    """The conversations."""
    with gr.Sidebar(open=False, width=300):
        new = gr.Button(STATIC("new"), variant="secondary", size="sm", elem_id="new")
        search = gr.Textbox(label=STATIC("search"), placeholder=STATIC("search_hint"), max_length=200, elem_id="search")
        history = gr.Radio(choices=[], label=STATIC("conversations"), elem_id="conversations")
        with gr.Row():
            rename = gr.Button(STATIC("rename"), size="sm", min_width=80, elem_id="rename")
            delete = gr.Button(STATIC("delete"), size="sm", min_width=80, elem_id="delete")
        with gr.Group(visible=False, elem_id="renaming") as renaming:
            title = gr.Textbox(label=STATIC("title"), max_length=60)
            save = gr.Button(STATIC("save"), variant="primary", size="sm")
        with gr.Group(visible=False, elem_id="deleting") as deleting:
            question = gr.HTML()
            with gr.Row():
                yes = gr.Button(STATIC("delete_yes"), variant="stop", size="sm", min_width=80)
                no = gr.Button(STATIC("delete_no"), size="sm", min_width=80)
        gr.HTML(SWITCH, padding=False)
    return Sidebar(new, search, history, rename, delete, renaming, title, save, deleting, question, yes, no)


def _talk(services: Services) -> tuple[Talk, Why]:
    """The conversation and all around it, from top to bottom."""
    notice = gr.HTML(visible=False)
    chatbot = gr.Chatbot(
        elem_id="chatbot",
        show_label=False,
        height="max(380px, calc(100dvh - 310px))",
        layout="bubble",
        buttons=["copy"],
        allow_tags=False,
        feedback_options=("Like", "Dislike"),
        placeholder=str(STATIC("placeholder")),
        examples=[{"text": tool.examples[0]} for tool in list(services.tools.values())[:SHOWN_EXAMPLES]],
    )
    waiting = gr.HTML(elem_id="waiting", padding=False, html_template='<p class="muted">${value}</p>')
    with gr.Group(visible=False, elem_id="confirm") as confirm:
        confirm_text = gr.HTML()
        with gr.Row():
            yes = gr.Button(STATIC("confirm_yes"), variant="primary", size="sm", elem_id="confirm-yes")
            no = gr.Button(STATIC("confirm_no"), size="sm", elem_id="confirm-no")
    why = _why()
    with gr.Row(visible=False, elem_id="again") as again:
        retry = gr.Button(STATIC("retry"), size="sm", min_width=80, elem_id="retry")
        edit = gr.Button(STATIC("edit"), size="sm", min_width=80, elem_id="edit")
        undo = gr.Button(STATIC("undo"), size="sm", min_width=80, elem_id="undo")
    box = gr.Textbox(
        elem_id="box",
        show_label=False,
        label=STATIC("message"),
        placeholder=STATIC("message_hint"),
        submit_btn=True,
        max_length=4000,
        max_lines=6,
        interactive=False,  # until the page has loaded: a question asked before that would be wiped from view
    )
    model_line = gr.HTML(padding=False)
    with gr.Accordion(STATIC("tools"), open=False, elem_id="tools"):
        tools = gr.HTML(padding=False, js_on_load=PRESSED)
    talk = Talk(notice, chatbot, waiting, again, retry, edit, undo, confirm, confirm_text, yes, no, box, model_line, tools)
    return talk, why


def _why() -> Why:
    """The panel below a thumb down."""
    with gr.Group(visible=False, elem_id="why") as panel:
        reasons = gr.CheckboxGroup(ENGLISH.reasons(), label=STATIC("why"))
        opinion = gr.Textbox(
            label=STATIC("comment"), lines=2, max_lines=4, max_length=2000, placeholder=STATIC("comment_hint"), elem_id="comment"
        )
        with gr.Row():
            send = gr.Button(STATIC("send"), variant="primary", size="sm", elem_id="why-send")
            withdraw = gr.Button(STATIC("withdraw"), size="sm", elem_id="why-withdraw")
    return Why(panel, reasons, opinion, send, withdraw)


def _wire_asking(asking: Asking, talk: Talk, conversation: Any, edited: Any, search: Any, settled: list[Any]) -> None:
    """Whatever runs a turn, and what ends one."""
    streamed = [talk.box, conversation, talk.chatbot, talk.confirm, talk.waiting]
    talk.box.submit(None, None, None, js=SHOW_END)
    asked: list[Any] = [
        talk.box.submit(asking.ask, [talk.box, conversation, edited], streamed, **MODEL_EVENTS),
        talk.chatbot.example_select(asking.ask_example, conversation, streamed, **MODEL_EVENTS),
        talk.tools.click(asking.ask_tool, conversation, streamed, **MODEL_EVENTS),
        talk.retry.click(asking.retry, conversation, streamed, **MODEL_EVENTS),
        talk.yes.click(asking.agree, conversation, streamed, **MODEL_EVENTS),
        talk.no.click(asking.decline, conversation, streamed, **MODEL_EVENTS),
    ]
    for event in (*asked, talk.box.stop(None, None, None, cancels=asked, **QUICK)):
        event.then(asking.page.settled, [conversation, search], settled, **QUICK)
    talk.edit.click(asking.change, [conversation, edited], [talk.box, edited, talk.waiting], **QUICK).then(
        None, None, None, js=TO_THE_BOX
    )
    talk.undo.click(asking.undo, [conversation, search], settled, **PRIVATE).then(None, None, None, js=TO_THE_BOX)


def _wire_rating(page: ChatPage, talk: Talk, why: Why, conversation: Any, rated: Any) -> None:
    """Thumbs and reasons."""
    talk.chatbot.like(page.rate, conversation, [why.panel, rated, why.reasons, why.opinion], **PRIVATE)
    why.send.click(page.explain, [rated, why.reasons, why.opinion], why.panel, **PRIVATE)
    why.withdraw.click(page.withdraw, [rated, conversation], [why.panel, talk.chatbot], **PRIVATE)


def _wire_sidebar(page: ChatPage, sidebar: Sidebar, talk: Talk, conversation: Any, outputs: list[Any]) -> None:
    """The conversations."""
    handlers, search = ConversationList(page), sidebar.search
    for begin in (sidebar.new.click, talk.chatbot.clear):
        begin(page.begin, None, outputs, **QUICK)
    sidebar.new.click(None, None, None, js=AWAY_ON_PHONES)
    sidebar.history.input(page.open, [sidebar.history, search], outputs, **QUICK)
    sidebar.history.input(None, None, None, js=AWAY_ON_PHONES)
    search.input(handlers.search, [search, conversation], sidebar.history, trigger_mode="always_last", **QUICK)
    sidebar.rename.click(handlers.ask_title, conversation, [sidebar.renaming, sidebar.title, sidebar.deleting], **QUICK)
    for save in (sidebar.save.click, sidebar.title.submit):
        save(handlers.rename, [conversation, sidebar.title, search], [sidebar.renaming, sidebar.history], **PRIVATE)
    sidebar.delete.click(handlers.ask_deletion, conversation, [sidebar.deleting, sidebar.question, sidebar.renaming], **QUICK)
    sidebar.yes.click(handlers.delete, [conversation, search], outputs, **PRIVATE)
    sidebar.no.click(handlers.keep, None, sidebar.deleting, **QUICK)
