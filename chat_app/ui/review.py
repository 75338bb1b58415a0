"""The Review page: the queue, one turn as it was, and a form in which its tool call is corrected. Builds and wires only.

Events are not queued: they answer within one request, and a keyboard waits for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from chat_app.services import Services
from chat_app.ui import frame, review_view
from chat_app.ui.export_menu import export_menu
from chat_app.ui.review_draft import CALLS, RIGHT, TEXT
from chat_app.ui.review_page import CAUSES, ReviewPage, Shown
from flywheel.review.reasons import LABELS

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = PRIVATE | {"queue": False}
MODES = [("The model was right", RIGHT), ("These tool calls", CALLS), ("No tool: these words", TEXT)]
SORTS = [("most urgent first", "urgent"), ("newest first", "newest"), ("oldest first", "oldest")]
KEYS = Path(__file__).with_name("review_keys.js").read_text(encoding="utf-8")
CSS = Path(__file__).with_name("review.css").read_text(encoding="utf-8")
WITH_FORM = "(...values) => { values[%d] = window.reviewForm(); return values; }"
"""Sends what the form holds in place of the value at that position."""
TOGGLE_KEYS = "() => { const keys = document.querySelector('#keys'); keys.hidden = !keys.hidden; }"
STATUS = '<div role="status" aria-live="polite">${value}</div>'


class QueueSide(NamedTuple):
    """The left side. filters: in the order of `ReviewPage.narrow`."""

    filters: list[Any]
    queue: gr.Radio
    numbers: gr.HTML


class TurnSide(NamedTuple):
    """One turn and the form of its correction."""

    about: gr.HTML
    work: gr.Column
    chatbot: gr.Chatbot
    tools: gr.Accordion
    schemas: gr.Code
    mode: gr.Radio
    form: gr.HTML
    difference: gr.HTML
    outcome: gr.HTML
    cause: gr.Radio
    attempt: gr.Button
    approve: gr.Button
    reject: gr.Button
    skip: gr.Button
    proposal: gr.Button
    suggest: gr.Button


class SimilarOffer(NamedTuple):
    """The offer to apply the last correction to similar turns."""

    column: gr.Column
    turns: gr.CheckboxGroup
    note: gr.HTML
    apply: gr.Button


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = ReviewPage(services)
    blocks = gr.Blocks(title="Review · Flywheel Chat", analytics_enabled=False)
    with blocks:
        frame.header("review")
        gr.HTML(f"<style>{CSS}</style>", padding=False)
        opened, tried, corrected, chosen_by = (gr.State(None, time_to_live=8 * 3600) for _ in range(4))
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                left = queue_side()
            with gr.Column(scale=3, min_width=340):
                said = gr.HTML(padding=False, elem_id="said", html_template=STATUS)
                similar = similar_offer()
                right = turn_side(services)
                with gr.Row():
                    undo = gr.Button("Undo my last decision [u]", size="sm", elem_id="undo", min_width=150)
                    keys = gr.Button("Keys [?]", size="sm", elem_id="help", min_width=90)
                gr.HTML(review_view.help_text(), padding=False)
                export_menu()
        values = Shown(
            opened, tried, corrected, left.queue, right.about, right.chatbot, right.form, right.difference, right.outcome, said,
            right.work, right.mode, right.cause, right.proposal, similar.column, similar.turns, similar.note,
        )  # fmt: skip
        shown = list(values)
        blocks.load(page.load, None, [*shown, chosen_by, left.filters[1], left.filters[2], left.numbers], **PRIVATE)
        blocks.load(None, None, None, js=KEYS)
        wire_reading(page, left, right, opened, chosen_by, shown)
        wire_decisions(page, right, values, chosen_by)
        undo.click(page.undo, chosen_by, shown, **QUICK).then(page.numbers, None, left.numbers, **QUICK)
        similar.apply.click(page.apply, [corrected, similar.turns, opened, chosen_by], shown, **QUICK)
        keys.click(None, None, None, js=TOGGLE_KEYS)
    return blocks


def queue_side() -> QueueSide:
    """Filter, queue and numbers."""
    with gr.Accordion("Filter and sort", open=False):
        with gr.Row():
            reasons = [("any reason", ""), *((words, reason) for reason, words in LABELS.items())]
            reason = gr.Dropdown(reasons, value="", label="Reason", elem_id="by-reason", min_width=140)
            sort = gr.Dropdown(SORTS, value="urgent", label="Order", elem_id="by-order", min_width=140)
        with gr.Row():
            tool = gr.Dropdown([("any tool", "")], value="", label="Tool", elem_id="by-tool", min_width=140)
            model = gr.Dropdown([("any model", "")], value="", label="Model", elem_id="by-model", min_width=140)
        text = gr.Textbox(label="Words in the question", elem_id="by-text")
    decided = gr.Checkbox(label="Show decided turns too", value=False, elem_id="decided")
    queue = gr.Radio(choices=[], label="Queue", elem_id="queue")
    numbers = gr.HTML(padding=False, elem_id="numbers", elem_classes="muted")
    return QueueSide([reason, tool, model, text, sort, decided], queue, numbers)


def similar_offer() -> SimilarOffer:
    """Hidden until a correction fits other turns."""
    with gr.Column(visible=False, elem_id="similar") as column:
        label = "The same was asked here: apply the correction to these too"
        turns = gr.CheckboxGroup(choices=[], label=label, elem_id="similar-turns")
        note = gr.HTML(padding=False)
        apply = gr.Button("Apply to the chosen turns [s]", size="sm", elem_id="apply-similar")
    return SimilarOffer(column, turns, note, apply)


def turn_side(services: Services) -> TurnSide:
    """The turn, the form below it, and the buttons."""
    about = gr.HTML(padding=False, elem_id="about")
    with gr.Column(visible=False) as work:
        chatbot = gr.Chatbot(elem_id="turn", show_label=False, height=260, allow_tags=False, feedback_options=None, buttons=[])
        with gr.Accordion("The tools that the model saw", open=False) as tools:
            schemas = gr.Code(language="json", interactive=False, max_lines=24, show_label=False)
        mode = gr.Radio(MODES, value=CALLS, label="What would have been right?", elem_id="mode")
        form, difference, outcome = (gr.HTML(padding=False, elem_id=name) for name in ("form", "difference", "outcome"))
        cause = gr.Radio(
            [(words, name) for name, words in CAUSES.items()], value="model", label="Where was the fault?", elem_id="cause",
            info="Only what the model decides is learned: any other cause is recorded, and approving makes no example.",
        )  # fmt: skip
        with gr.Row():
            attempt = gr.Button("Try [t]", elem_id="try", min_width=90)
            approve = gr.Button("Approve [a]", variant="primary", elem_id="approve", min_width=110)
            reject = gr.Button("Reject [r]", elem_id="reject", min_width=100)
            skip = gr.Button("Next [n]", elem_id="skip", min_width=90)
        with gr.Row():
            proposal = gr.Button(visible=False, size="sm", elem_id="use-proposal")
            has_teacher = services.settings.flywheel.teacher_model is not None
            suggest = gr.Button("Suggest a correction", size="sm", visible=has_teacher, elem_id="suggest")
    return TurnSide(
        about, work, chatbot, tools, schemas, mode, form, difference, outcome, cause, attempt, approve, reject, skip, proposal,
        suggest,
    )  # fmt: skip


def wire_reading(
    page: ReviewPage, left: QueueSide, right: TurnSide, opened: gr.State, chosen_by: gr.State, shown: list[Any]
) -> None:
    """What changes nothing in the store but who is at a turn."""
    for part in left.filters:
        change = part.submit if isinstance(part, gr.Textbox) else part.input
        change(page.narrow, [opened, *left.filters], [chosen_by, left.queue], **QUICK)
    left.queue.input(page.pick, [left.queue, chosen_by], shown, **QUICK)
    right.tools.expand(page.schemas, opened, right.schemas, **QUICK)
    right.mode.change(None, right.mode, None, js="(mode) => window.reviewMode(mode)")
    drafted, sent = [opened, right.mode, right.form], WITH_FORM % 2
    compare = gr.Button("Compare", visible="hidden", elem_id="compare")
    compare.click(page.compare, drafted, right.difference, js=sent, **QUICK)
    reshape = gr.Button("Reshape", visible="hidden", elem_id="reshape")
    reshape.click(page.reshape, drafted, [right.form, right.difference], js=sent, **QUICK)


def wire_decisions(page: ReviewPage, right: TurnSide, values: Any, chosen_by: gr.State) -> None:
    """Suggestions, tries and decisions."""
    shown, opened, tried = list(values), values.opened, values.tried
    drafted, sent = [opened, right.mode, right.form], WITH_FORM % 2
    right.attempt.click(page.attempt, drafted, [right.outcome, tried, right.difference], js=sent, **QUICK)
    approved = [opened, right.mode, right.form, right.cause, tried, chosen_by]
    right.approve.click(page.approve, approved, shown, js=sent, **QUICK)
    right.reject.click(page.reject, [opened, right.cause, chosen_by], shown, **QUICK)
    right.skip.click(page.skip, [opened, chosen_by], shown, **QUICK)
    right.proposal.click(page.use_proposal, opened, shown, **QUICK)
    right.suggest.click(page.suggest, opened, shown, **QUICK)
