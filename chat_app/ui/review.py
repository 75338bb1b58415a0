"""The Review page: the queue, one turn as it was, and a form in which its tool call is corrected. Builds and wires only.

The draft of a correction is server-side state; what is approved is checked against the schema that the model saw, and run.
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from chat_app.services import Services
from chat_app.turn import tool_context
from chat_app.ui import forms, frame, messages, times, toasts
from chat_app.ui.export_menu import export_menu
from chat_app.ui.review_draft import CALLS, MAX_CALLS, RIGHT, TEXT, Draft, first_reply, response_of
from flywheel.errors import FlywheelError, InputError
from flywheel.people import LOCAL as PERSON
from flywheel.proposals import Proposal
from flywheel.review import ReviewItem
from flywheel.store import CATEGORIES, Message
from flywheel.teacher import suggest

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Queued: the page hears that a State has changed, and builds the form anew, from queued events only."""
SHAPE: dict[str, Any] = PRIVATE | {"concurrency_id": "shape", "concurrency_limit": 1}
"""What changes the form's shape, one after the other."""
MODES = [("The model was right", RIGHT), ("These tool calls", CALLS), ("No tool: these words", TEXT)]


class ReviewPage:
    """Handlers of the Review page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services

    # reading ---------------------------------------------------------------------------------------------------------

    def queue(self, decided: bool, chosen: str | None = None) -> Any:
        """The queue as choices: why a turn is there, what was asked, what was called, when."""
        items = self.services.desk.queue(include_decided=decided)
        choices = [
            (f"{item.reason} · {item.question[:90]} → {item.called} · {times.clock(item.created_at)}", item.turn_id)
            for item in items
        ]
        known = chosen if any(item.turn_id == chosen for item in items) else None
        return gr.Radio(choices=choices, value=known, label=f"Queue: {len(items)} turn{'' if len(items) == 1 else 's'}")

    def next_turn(self, after: str | None = None) -> str | None:
        """The first turn of the queue that is not the one just seen."""
        return next((item.turn_id for item in self.services.desk.queue() if item.turn_id != after), None)

    def open(self, turn_id: str | None, decided: bool = False) -> tuple[Any, ...]:
        """Show a turn, in the order of `shown`."""
        rows = self.queue(decided, turn_id)
        if turn_id is None:
            empty = '<p class="muted">The queue is empty. Rated answers appear here.</p>'
            return None, None, None, rows, empty, [], "", "", gr.Column(visible=False), RIGHT
        item = self.services.desk.item(turn_id)
        shown = [*context_of(item), *messages.shown_turn(item.turn, item.calls)]
        proposed = self.services.proposals.open(turn_id)
        draft = Draft.of_reply(item.turn, proposed[0].response) if proposed else Draft.of(item.turn)
        schemas = json.dumps(item.turn.tools, indent=1, ensure_ascii=False)
        liked = {rating.thumb for rating in item.ratings} == {"up"}
        mode = RIGHT if liked else CALLS if draft.calls else TEXT
        if proposed:
            mode = CALLS if proposed[0].response.get("tool_calls") else TEXT
        return (
            turn_id,
            draft,
            None,
            rows,
            about(item) + proposal_text(proposed),
            shown,
            schemas,
            "",
            gr.Column(visible=True),
            mode,
        )

    # deciding --------------------------------------------------------------------------------------------------------

    async def run_calls(self, turn_id: str, response: Message) -> list[tuple[str, Any, str | None]]:
        """Run the corrected calls (writing ones without writing): (name, result, error) for each."""
        turn = self.services.store.turn(turn_id)
        outcomes: list[tuple[str, Any, str | None]] = []
        for call in response.get("tool_calls", ()):
            function = call["function"]
            tool = self.services.tools.get(function["name"])
            if tool is None:
                outcomes.append((function["name"], None, "this tool is not there any more, so the call cannot be run"))
                continue
            context = tool_context(self.services, turn.person, dry_run=tool.writes)
            result = await tool.run(function["arguments"], context)
            outcomes.append((function["name"], result.content, result.error))
        return outcomes

    def checked(self, turn_id: str, response: Message) -> Message:
        """The response, if it fits the schema that the model saw. Raises InputError with every problem."""
        problems = self.services.desk.problems(self.services.store.turn(turn_id), response)
        if problems:
            raise InputError("; ".join(problems))
        return response

    async def attempt(self, turn_id: str | None, mode: str, draft: Draft, values: list[Any]) -> tuple[str, str]:
        """Try: (what came of it, the digest of what was tried)."""
        if turn_id is None:
            raise toasts.refusal("Open a turn first.")
        try:
            turn = self.services.store.turn(turn_id)
            response = self.checked(turn_id, response_of(mode, turn, draft, values) or first_reply(turn))
        except FlywheelError as error:
            return f'<p class="problem" role="alert">{html.escape(str(error))}</p>', ""
        outcomes = await self.run_calls(turn_id, response)
        return outcome_text(outcomes), json.dumps(response, sort_keys=True)

    async def approve(
        self, turn_id: str | None, mode: str, draft: Draft, tried: str | None, decided: bool, values: list[Any]
    ) -> tuple[Any, ...]:
        """Store the correction as an example, then open the next turn.

        A call that returns an error is stored only when the reviewer, having seen the error, says so again.
        """
        if turn_id is None:
            raise toasts.refusal("Open a turn first.")
        turn = self.services.store.turn(turn_id)
        try:
            override = response_of(mode, turn, draft, values)
            response = self.checked(turn_id, override or first_reply(turn))
            digest = json.dumps(response, sort_keys=True)
            if tried != digest:
                outcomes = await self.run_calls(turn_id, response)
                if any(error for _, _, error in outcomes):
                    again = '<p class="problem" role="alert">Press Approve again if the call is right all the same.</p>'
                    return self.stay(outcome_text(outcomes) + again, digest)
            example_id = self.services.desk.approve(turn_id, PERSON, None if override == first_reply(turn) else override)
        except FlywheelError as error:
            return self.stay(f'<p class="problem" role="alert">{html.escape(str(error))}</p>', tried)
        side = self.services.ledger.example(example_id).side
        toasts.tell(f"Stored. It will {'train the next model' if side == 'train' else 'examine the next model, not train it'}.")
        return self.open(self.next_turn(after=turn_id), decided)

    @staticmethod
    def stay(outcome: str, tried: str | None) -> tuple[Any, ...]:
        """Change nothing of the page but what came of an attempt."""
        untouched = gr.skip()
        return untouched, untouched, tried, untouched, untouched, untouched, untouched, outcome, untouched, untouched

    async def suggest(self, turn_id: str | None) -> tuple[Any, str, str]:
        """What the teacher would have said, as a draft to check: (draft, mode, note)."""
        if turn_id is None:
            raise toasts.refusal("Open a turn first.")
        turn = self.services.store.turn(turn_id)
        try:
            reply = await asyncio.to_thread(suggest, self.services.settings.flywheel, turn)
        except FlywheelError as error:
            raise toasts.refusal(str(error)) from error
        note = f'<p class="muted">Suggested by {html.escape(str(self.services.settings.flywheel.teacher_model))}: check it.</p>'
        return Draft.of_reply(turn, reply), CALLS if reply.get("tool_calls") else TEXT, note

    def reject(self, turn_id: str | None, decided: bool) -> tuple[Any, ...]:
        """Nothing is to be learned from this turn."""
        if turn_id is not None:
            toasts.refused(lambda: self.services.desk.reject(turn_id, PERSON))
        return self.open(self.next_turn(after=turn_id), decided)

    def skip(self, turn_id: str | None, decided: bool) -> tuple[Any, ...]:
        """Leave it to somebody else."""
        if turn_id is not None:
            toasts.refused(lambda: self.services.desk.skip(turn_id, PERSON))
        return self.open(self.next_turn(after=turn_id), decided)


def context_of(item: ReviewItem) -> list[messages.Shown]:
    """The earlier messages that the model saw, without the tools' part."""
    texts = [message for message in item.turn.context if message.get("content") and message["role"] in ("user", "assistant")]
    show = {"user": messages.question, "assistant": messages.answer}
    return [show[message["role"]](str(message["content"])) for message in texts]


def about(item: ReviewItem) -> str:
    """Who rated the turn and why, which model answered, and what was decided before."""
    lines = [f"Answered by <code>{html.escape(item.turn.model)}</code>, {times.clock(item.turn.created_at)}."]
    for rating in item.ratings:
        reasons = ", ".join(CATEGORIES.get(name, name) for name in rating.categories)
        words = f"Thumb {rating.thumb}" + (f": {html.escape(reasons)}" if reasons else "")
        lines.append(f"<b>{words}</b>" + (f" — “{html.escape(rating.opinion)}”" if rating.opinion else ""))
    if item.review is not None:
        lines.append(
            f"Already {item.review.verdict} by {html.escape(item.review.reviewer)}, {times.clock(item.review.created_at)}."
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def proposal_text(proposed: list[Proposal]) -> str:
    """Who proposed the correction that the form starts from, and what they said of it."""
    if not proposed:
        return ""
    opinion = f" “{html.escape(proposed[0].opinion)}”" if proposed[0].opinion else ""
    return f'<p class="muted">Proposed by {html.escape(proposed[0].person)}: check it.{opinion}</p>'


def outcome_text(outcomes: list[tuple[str, Any, str | None]]) -> str:
    """What the tried calls returned."""
    if not outcomes:
        return '<p class="tried">No tool is called; there is nothing to run.</p>'
    parts = []
    for name, content, error in outcomes:
        text = error if error is not None else json.dumps(content, indent=1, ensure_ascii=False)
        state = "failed" if error is not None else "ok"
        head = f"<b>{html.escape(name)}</b> {'returned an error' if error is not None else 'returned'}"
        parts.append(f'<div class="tried {state}">{head}<pre>{html.escape(str(text))}</pre></div>')
    return "".join(parts)


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = ReviewPage(services)
    blocks = gr.Blocks(title="Review · Flywheel Chat", analytics_enabled=False)
    with blocks:
        frame.header("Review")
        export_menu()
        turn_id = gr.State(None, time_to_live=8 * 3600)
        draft = gr.State(None, time_to_live=8 * 3600)
        tried = gr.State(None, time_to_live=8 * 3600)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                decided = gr.Checkbox(label="Show decided turns too", value=False, elem_id="decided")
                queue = gr.Radio(choices=[], label="Queue", elem_id="queue")
            with gr.Column(scale=3, min_width=340):
                about_turn = gr.HTML(padding=False, elem_id="about")
                with gr.Column(visible=False) as work:
                    chatbot = gr.Chatbot(
                        elem_id="turn", show_label=False, height=280, allow_tags=False, feedback_options=None, buttons=[]
                    )
                    with gr.Accordion("The tools that the model saw", open=False):
                        schemas = gr.Code(language="json", interactive=False, max_lines=24, show_label=False)
                    mode = gr.Radio(MODES, label="What would have been right?", elem_id="mode")
                    form = gr.Column()
                    outcome = gr.HTML(padding=False, elem_id="outcome")
                    teacher = gr.Button(
                        "Suggest a correction",
                        size="sm",
                        visible=services.settings.flywheel.teacher_model is not None,
                        elem_id="suggest",
                    )
                    shown = [turn_id, draft, tried, queue, about_turn, chatbot, schemas, outcome, work, mode]
                    with form:
                        correction_form(page, shown, decided)
                    with gr.Row():
                        reject = gr.Button("Reject: nothing to learn", size="sm", elem_id="reject")
                        skip = gr.Button("Skip", size="sm", elem_id="skip")
        blocks.load(lambda: page.open(page.next_turn()), None, shown, **PRIVATE)
        queue.input(page.open, [queue, decided], shown, **PRIVATE)
        decided.input(page.queue, [decided, turn_id], queue, **PRIVATE)
        teacher.click(page.suggest, turn_id, [draft, mode, outcome], **PRIVATE)
        reject.click(page.reject, [turn_id, decided], shown, **PRIVATE)
        skip.click(page.skip, [turn_id, decided], shown, **PRIVATE)
    return blocks


def correction_form(page: ReviewPage, shown: list[Any], decided: gr.Checkbox) -> None:
    """The form of the present draft, built anew when its shape changes, with Try and Approve.

    Its handlers keep the draft that the form was built from, so that the fields' values are never read by another's shape.
    """
    turn_id, draft, tried, outcome, mode = shown[0], shown[1], shown[2], shown[7], shown[9]

    mode.input(lambda plan: plan and plan.changed(plan.calls), draft, draft, **PRIVATE)

    @gr.render(inputs=[turn_id, mode, draft], triggers=[draft.change])  # type: ignore[untyped-decorator]
    def form(current: str | None, chosen: str, plan: Draft | None) -> None:
        if current is None or plan is None:
            return
        fields: list[Any] = []
        if chosen == CALLS:
            fields = call_fields(plan, draft)
        elif chosen == TEXT:
            key = f"{plan.key}-text"
            fields = [gr.Textbox(plan.text, label="The answer", lines=3, elem_id="answer-text", key=key, interactive=True)]
        with gr.Row():
            attempt = gr.Button("Try", elem_id="try")
            approve = gr.Button("Approve", variant="primary", elem_id="approve")

        async def on_try(*values: Any) -> tuple[str, str]:
            return await page.attempt(current, chosen, plan, list(values))

        async def on_approve(tried_now: str | None, decided_now: bool, *values: Any) -> tuple[Any, ...]:
            return await page.approve(current, chosen, plan, tried_now, decided_now, list(values))

        attempt.click(on_try, fields, [outcome, tried], **PRIVATE)
        approve.click(on_approve, [tried, decided, *fields], shown, **PRIVATE)


def call_fields(plan: Draft, draft: gr.State) -> list[Any]:
    """Components of all calls of the draft: for each the tool, then its parameters; changes of shape go back into the draft."""
    fields: list[Any] = []
    choices: list[tuple[gr.Dropdown, gr.Button]] = []
    names = [tool["function"]["name"] for tool in plan.tools]
    for number, call in enumerate(plan.calls):
        with gr.Group(elem_id=f"call-{number}"):
            label = f"Tool {number + 1}" if number else "Tool"
            key = f"{plan.key}-{number}"
            tool = gr.Dropdown(names, value=call["name"], label=label, elem_id=f"tool-{number}", key=key, interactive=True)
            schema = plan.schema(call["name"])
            needed, values = forms.required(schema), call["arguments"]
            own = [
                forms.field(name, part, name in needed, values.get(name), f"field-{number}-{name}", f"{key}-{name}")
                for name, part in forms.properties(schema).items()
            ]
            remove = gr.Button("Remove this call", size="sm", visible=len(plan.calls) > 1)
        fields += [tool, *own]
        choices.append((tool, remove))
    for number, (tool, remove) in enumerate(choices):
        tool.input(change_tool(plan, number), [draft, tool, *fields], draft, **SHAPE)
        remove.click(drop_call(plan, number), [draft, *fields], draft, **SHAPE)
    with gr.Accordion("As JSON", open=False):
        raw = gr.Code(
            json.dumps(plan.calls, indent=1, ensure_ascii=False),
            language="json",
            elem_id="raw",
            key=f"{plan.key}-raw",
            max_lines=16,
            interactive=True,
        )
        use = gr.Button("Use this JSON", size="sm", elem_id="use-raw")
    if len(plan.calls) < MAX_CALLS:
        add = gr.Button("Add another call", size="sm", elem_id="add-call")
        add.click(add_call(plan), [draft, *fields], draft, **SHAPE)
    use.click(use_json(plan), [draft, raw], draft, **SHAPE)
    return fields


def change_tool(plan: Draft, number: int) -> Any:
    """The handler that gives call `number` another tool; what was typed under the same names is kept."""

    def change(name: str, *values: Any) -> Draft:
        return plan.filled(list(values), lenient=True).with_tool(number, name)

    return once(plan, change)


def drop_call(plan: Draft, number: int) -> Any:
    """The handler that removes call `number`."""

    def drop(*values: Any) -> Draft:
        return plan.filled(list(values), lenient=True).without(number)

    return once(plan, drop)


def add_call(plan: Draft) -> Any:
    """The handler that adds a call, keeping what was typed so far."""

    def add(*values: Any) -> Draft:
        return plan.filled(list(values), lenient=True).with_call()

    return once(plan, add)


def use_json(plan: Draft) -> Any:
    """The handler that takes the calls from JSON."""

    def use(text: str) -> Draft:
        return toasts.refused(lambda: plan.with_json(text))

    return once(plan, use)


def once(plan: Draft, change: Callable[..., Draft]) -> Any:
    """A handler that changes the draft of which the form was made, unless another has taken its place: a choice in a dropdown
    comes twice, and what was typed after the first would be lost with the second."""

    def handler(now: Draft | None, *values: Any) -> Draft | None:
        return change(*values) if now is not None and now.key == plan.key else now

    return handler
