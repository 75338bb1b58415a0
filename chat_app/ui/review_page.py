"""Handlers of the Review page: what is opened, compared, tried and decided. Each asks the guard who is asking.

What is typed stays in the page until another turn is opened, whatever becomes of a decision. Knows no component; `review` wires.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from chat_app import guard
from chat_app.services import Services
from chat_app.turn import tool_context
from chat_app.ui import messages, review_difference, review_view, toasts
from chat_app.ui.forms import safe
from chat_app.ui.review_draft import CALLS, RIGHT, TEXT, Draft, first_reply
from flywheel.errors import Conflict, FlywheelError, InputError
from flywheel.review import Filter
from flywheel.review.queue import ORDERS, Sort
from flywheel.store import Cause, Message, Turn
from flywheel.teacher import suggest

CAUSES: dict[Cause, str] = {"model": "the model, or nowhere", "tool": "a tool", "rail": "a rail", "other": "elsewhere"}
EMPTY = '<p class="muted">The queue is empty. Answers that people rated, or in which something went wrong, appear here.</p>'
UNTOUCHED = gr.skip()


@dataclass(frozen=True)
class Opened:
    """The turn that the page shows. version: see ReviewItem. suggestion: what `suggested_by` would have said."""

    turn_id: str
    version: int
    suggestion: Message | None = None
    suggested_by: str | None = None


@dataclass(frozen=True)
class Corrected:
    """The last correction, which similar turns may take over."""

    turn_id: str
    response: Message


class Shown(NamedTuple):
    """New values of the page's parts, in the order in which `review` wires them; what is not named stays as it is."""

    opened: Any = UNTOUCHED
    tried: Any = UNTOUCHED
    corrected: Any = UNTOUCHED
    queue: Any = UNTOUCHED
    about: Any = UNTOUCHED
    chatbot: Any = UNTOUCHED
    form: Any = UNTOUCHED
    difference: Any = UNTOUCHED
    outcome: Any = UNTOUCHED
    said: Any = UNTOUCHED
    work: Any = UNTOUCHED
    mode: Any = UNTOUCHED
    cause: Any = UNTOUCHED
    proposal: Any = UNTOUCHED
    similar: Any = UNTOUCHED
    similar_turns: Any = UNTOUCHED
    similar_note: Any = UNTOUCHED


class ReviewPage:
    """The handlers, over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.desk = services.desk

    # reading ---------------------------------------------------------------------------------------------------------

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """The first turn of the queue, and by what the queue can be filtered."""
        name = guard.person(request, "reviewer").name
        tools, models = self.desk.choices()
        numbers = self.desk.statistics().text()
        filters = [gr.Dropdown(choices=[("any tool", ""), *tools]), gr.Dropdown(choices=[("any model", ""), *models])]
        return *self._open(name, self._next(name, Filter()), Filter()), Filter(), *filters, numbers

    def pick(self, turn_id: str | None, chosen_by: Filter, request: gr.Request) -> Shown:
        """Open the turn that was chosen in the queue."""
        return self._open(guard.person(request, "reviewer").name, turn_id, chosen_by)

    def narrow(
        self,
        opened: Opened | None,
        reason: str | None,
        tool: str | None,
        model: str | None,
        text: str | None,
        sort: Sort,
        decided: bool,
        request: gr.Request,
    ) -> tuple[Filter, Any]:
        """(the filter, the queue under it)."""
        name = guard.person(request, "reviewer").name
        chosen_by = Filter(reason or "", tool or "", model or "", text or "", sort if sort in ORDERS else "urgent", decided)
        return chosen_by, self._queue(name, chosen_by, opened.turn_id if opened else None)

    def schemas(self, opened: Opened | None, request: gr.Request) -> str:
        """The tools that the model saw, as JSON."""
        guard.person(request, "reviewer")
        return json.dumps(self.services.store.turn(opened.turn_id).tools, indent=1, ensure_ascii=False) if opened else ""

    def numbers(self, request: gr.Request) -> str:
        """Agreement, and seconds per correction."""
        guard.person(request, "reviewer")
        return self.desk.statistics().text()

    def _queue(self, name: str, chosen_by: Filter, chosen: str | None) -> Any:
        items = self.desk.queue(chosen_by, reviewer=name)
        known = chosen if any(item.turn_id == chosen for item in items) else None
        label = f"Queue: {len(items)} turn{'' if len(items) == 1 else 's'}"
        return gr.Radio(choices=[(review_view.line(item), item.turn_id) for item in items], value=known, label=label)

    def _next(self, name: str, chosen_by: Filter, after: str | None = None) -> str | None:
        """The first turn that waits for this reviewer, is not held by another and is not the one just seen."""
        items = self.desk.queue(replace(chosen_by, decided=False), reviewer=name, limit=20)
        return next((item.turn_id for item in items if item.turn_id != after and not item.claimed_by), None)

    def _open(self, name: str, turn_id: str | None, chosen_by: Filter, start: Message | None = None) -> Shown:
        """Show a turn; start: what to begin the draft with, instead of what the model said."""
        if turn_id is None:
            queue = self._queue(name, chosen_by, None)
            return Shown(None, None, queue=queue, about=EMPTY, chatbot=[], form="", outcome="", work=gr.Column(visible=False))
        item = self.desk.open(turn_id, name)
        self.services.audit.record_reading(name, turn_id)
        said = first_reply(item.turn)
        draft = Draft.of_reply(item.turn, start or said)
        liked = {rating.thumb for rating in item.ratings} == {"up"} and start is None
        mode = RIGHT if liked else CALLS if (start or said).get("tool_calls") or not draft.text else TEXT
        proposed = item.proposals[0].person if item.proposals else None
        return Shown(
            opened=Opened(turn_id, item.version),
            tried=None,
            queue=self._queue(name, chosen_by, turn_id),
            about=review_view.about(item, name),
            chatbot=[*review_view.context_of(item), *messages.shown_turn(item.turn, item.calls)],
            form=draft.html(mode),
            difference=review_difference.as_html(review_difference.differences(said, start)) if start else "",
            outcome="",
            said="",
            work=gr.Column(visible=True),
            mode=mode,
            cause=item.cause,
            proposal=gr.Button(f"Use the correction that {proposed} proposed", visible=proposed is not None),
        )

    # drafting --------------------------------------------------------------------------------------------------------

    def compare(self, opened: Opened | None, mode: str, sent: str, request: gr.Request) -> str:
        """The difference between the draft and what the model said; shows too that the reviewer is still at it."""
        name = guard.person(request, "reviewer").name
        if opened is None:
            return ""
        self.desk.claims.take(opened.turn_id, name)
        turn = self.services.store.turn(opened.turn_id)
        try:
            draft = Draft.from_page(turn, sent, lenient=True).response(mode)
        except InputError:
            return ""
        said = first_reply(turn)
        return review_difference.as_html(review_difference.differences(said, draft or said))

    def reshape(self, opened: Opened | None, mode: str, sent: str, request: gr.Request) -> tuple[Any, Any]:
        """The form with other tools or another number of calls; what was typed under the same names is kept."""
        guard.person(request, "reviewer")
        if opened is None:
            return UNTOUCHED, UNTOUCHED
        turn = self.services.store.turn(opened.turn_id)
        try:
            form = Draft.from_page(turn, sent, lenient=True).html(mode)
        except FlywheelError as error:
            return UNTOUCHED, review_view.problem(str(error))
        return form, self.compare(opened, mode, sent, request)

    async def suggest(self, opened: Opened | None, request: gr.Request) -> Shown:
        """What the teacher would have said, as a draft to check."""
        guard.person(request, "reviewer")
        if opened is None:
            return Shown()
        settings = self.services.settings.flywheel
        turn = self.services.store.turn(opened.turn_id)
        try:
            reply = await asyncio.to_thread(suggest, settings, turn)
        except FlywheelError as error:
            return Shown(outcome=review_view.problem(str(error)))
        return self._suggested(opened, turn, reply, str(settings.teacher_model))

    def use_proposal(self, opened: Opened | None, request: gr.Request) -> Shown:
        """The latest proposal of somebody else, as a draft to check."""
        guard.person(request, "reviewer")
        item = self.desk.item(opened.turn_id) if opened else None
        if opened is None or item is None or not item.proposals:
            return Shown()
        latest = item.proposals[0]
        return self._suggested(opened, item.turn, latest.response, latest.person)

    @staticmethod
    def _suggested(opened: Opened, turn: Turn, reply: Message, by: str) -> Shown:
        mode = CALLS if reply.get("tool_calls") else TEXT
        note = f'<p class="muted">Suggested by {safe(by)}: check it.</p>'
        difference = review_difference.as_html(review_difference.differences(first_reply(turn), reply))
        opened = replace(opened, suggestion=reply, suggested_by=by)
        return Shown(opened, form=Draft.of_reply(turn, reply).html(mode), mode=mode, difference=difference, outcome=note)

    # deciding --------------------------------------------------------------------------------------------------------

    async def run_calls(self, turn: Turn, response: Message) -> list[tuple[str, Any, str | None]]:
        """Run the corrected calls (writing ones without writing): (name, result, error) for each."""
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

    def _response(self, turn: Turn, mode: str, sent: str) -> tuple[Message | None, Message]:
        """(the correction, None where the model's own stands; the whole answer). Raises InputError with every problem."""
        said = first_reply(turn)
        override = None if mode == RIGHT else Draft.from_page(turn, sent).response(mode)
        if override == said:
            override = None
        problems = self.desk.problems(turn, override or said)
        if problems:
            raise InputError("; ".join(problems))
        return override, override or said

    async def attempt(self, opened: Opened | None, mode: str, sent: str, request: gr.Request) -> tuple[Any, Any, Any]:
        """Try: (what came of it, the digest of what was tried, the difference)."""
        name = guard.person(request, "reviewer").name
        if opened is None:
            return UNTOUCHED, UNTOUCHED, UNTOUCHED
        self.desk.claims.take(opened.turn_id, name)
        try:
            turn = self.services.store.turn(opened.turn_id)
            _, response = self._response(turn, mode, sent)
        except FlywheelError as error:
            return review_view.problem(str(error)), "", UNTOUCHED
        difference = review_difference.as_html(review_difference.differences(first_reply(turn), response))
        return review_view.outcomes(await self.run_calls(turn, response)), json.dumps(response, sort_keys=True), difference

    async def approve(
        self, opened: Opened | None, mode: str, sent: str, cause: Cause, tried: str | None, chosen_by: Filter, request: gr.Request
    ) -> Shown:
        """Store the decision, then open the next turn.

        A call that returns an error is stored only when the reviewer, having seen the error, says so again.
        """
        name = guard.person(request, "reviewer").name
        if opened is None:
            return Shown()
        cause = cause if cause in CAUSES else "model"
        try:
            turn = self.services.store.turn(opened.turn_id)
            override, response = self._response(turn, mode, sent)
            digest = json.dumps(response, sort_keys=True)
            if tried != digest and cause == "model":
                outcomes = await self.run_calls(turn, response)
                if any(error for _, _, error in outcomes):
                    again = review_view.problem("Press Approve again if the call is right all the same.")
                    return Shown(tried=digest, outcome=review_view.outcomes(outcomes) + again)
            suggested = _suggested_by(opened, response)
            example_id = self.desk.approve(turn.id, name, override, cause=cause, version=opened.version, suggested_by=suggested)
        except FlywheelError as error:
            return self._refused(opened, name, error)
        alike = self._offer(turn.id, override) if override is not None and cause == "model" else _no_offer()
        shown = self._open(name, self._next(name, chosen_by, turn.id), chosen_by)
        return shown._replace(said=self._stored(turn.id, cause, example_id), **alike)

    def _refused(self, opened: Opened, name: str, error: FlywheelError) -> Shown:
        """Say why a decision was refused and change nothing that was typed; after a conflict, show the other's decision."""
        outcome = review_view.problem(str(error))
        if not isinstance(error, Conflict):
            return Shown(outcome=outcome)
        item = self.desk.item(opened.turn_id, name, self.desk.claims.holder(opened.turn_id))
        return Shown(replace(opened, version=item.version), about=review_view.about(item, name), outcome=outcome)

    def _stored(self, turn_id: str, cause: Cause, example_id: str | None) -> str:
        if example_id is not None:
            side = self.services.ledger.example(example_id).side
            return f"Stored. It will {'train the next model' if side == 'train' else 'examine the next model, not train it'}."
        if cause != "model":
            return "Stored. The fault was not the model's, so nothing is learned from it."
        state = self.desk.item(turn_id).state
        return (
            f"Stored. {'Two reviewers disagree; a third' if state == 'third' else 'Another reviewer'} decides on this turn too."
        )

    def reject(self, opened: Opened | None, cause: Cause, chosen_by: Filter, request: gr.Request) -> Shown:
        """Nothing is to be learned from this turn."""
        name = guard.person(request, "reviewer").name
        if opened is None:
            return Shown()
        try:
            self.desk.reject(opened.turn_id, name, cause=cause if cause in CAUSES else None, version=opened.version)
        except FlywheelError as error:
            return self._refused(opened, name, error)
        shown = self._open(name, self._next(name, chosen_by, opened.turn_id), chosen_by)
        return shown._replace(said="Stored. Nothing is learned from it.")

    def skip(self, opened: Opened | None, chosen_by: Filter, request: gr.Request) -> Shown:
        """Leave it to somebody else."""
        name = guard.person(request, "reviewer").name
        if opened is not None:
            toasts.refused(lambda: self.desk.skip(opened.turn_id, name))
        return self._open(name, self._next(name, chosen_by, opened.turn_id if opened else None), chosen_by)

    def undo(self, chosen_by: Filter, request: gr.Request) -> Shown:
        """Take back the last decision, and show its turn with what was written."""
        name = guard.person(request, "reviewer").name
        try:
            turn_id = self.desk.undo(name)
        except FlywheelError as error:
            return Shown(said=str(error)[:1].upper() + str(error)[1:] + ".")
        written = self.services.store.reviews(turn_id)[-2].response_override
        shown = self._open(name, turn_id, chosen_by, written)
        return shown._replace(said="Taken back. The turn is open again.", **_no_offer())

    # similar turns ---------------------------------------------------------------------------------------------------

    def _offer(self, turn_id: str, response: Message) -> dict[str, Any]:
        """The offer to apply a correction to similar turns."""
        found = self.desk.similar(turn_id, response)
        if not found:
            return _no_offer()
        ready = [(one.question[:90], one.turn_id) for one in found if one.applies]
        rest = [f"“{safe(one.question[:90])}”" for one in found if not one.applies]
        note = f'<p class="muted">Like it, but to be opened one by one: {", ".join(rest)}</p>' if rest else ""
        turns = gr.CheckboxGroup(choices=ready, value=[turn_id for _, turn_id in ready], visible=bool(ready))
        return {"corrected": Corrected(turn_id, response), "similar": gr.Column(visible=True), "similar_turns": turns,
                "similar_note": note}  # fmt: skip

    def apply(
        self, corrected: Corrected | None, chosen: list[str], opened: Opened | None, chosen_by: Filter, request: gr.Request
    ) -> Shown:
        """Approve the last correction for the chosen similar turns too, each by a review of its own."""
        name = guard.person(request, "reviewer").name
        if corrected is None:
            return Shown()
        done, refused = [], []
        for one in self.desk.similar(corrected.turn_id, corrected.response):
            if one.turn_id in chosen and one.applies:
                try:
                    self.desk.approve(one.turn_id, name, corrected.response)
                    done.append(one.turn_id)
                except FlywheelError as error:
                    refused.append(f"“{one.question[:60]}”: {error}")
        said = " ".join([f"Stored for {len(done)} more turn{'' if len(done) == 1 else 's'}.", *refused])
        if opened is not None and opened.turn_id not in done:
            return Shown(queue=self._queue(name, chosen_by, opened.turn_id), said=said)._replace(**_no_offer())
        return self._open(name, self._next(name, chosen_by), chosen_by)._replace(said=said, **_no_offer())


def _no_offer() -> dict[str, Any]:
    return {"corrected": None, "similar": gr.Column(visible=False)}


def _suggested_by(opened: Opened, response: Message) -> str | None:
    """Whose suggestion a decision began with; a changed one says so, since it is the reviewer's own correction."""
    if opened.suggested_by is None or opened.suggestion == response:
        return opened.suggested_by
    return f"{opened.suggested_by}, changed"
