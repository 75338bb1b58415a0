"""The Wheel page: train the next model, watch it happen, decide, and look back. Builds and wires only.

The run lives in the background of the process, never in a handler: the page looks at its record once a second.
"""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from chat_app import guard
from chat_app.services import Services
from chat_app.ui import frame, wheel_turning, wheel_view
from chat_app.ui.export_menu import export_menu
from chat_app.ui.toasts import refusal, refused, tell
from flywheel import lineage_picture
from flywheel.errors import NotFound
from flywheel.events import Events
from flywheel.history import RECIPES, RecipeName, Run
from flywheel.imports import import_everyday, import_file
from flywheel.ledger import ImportReport
from flywheel.pii import masked_words

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = PRIVATE | {"queue": False}
SLOW: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
LOSS_COLORS = {"training": "#0d9488", "validation": "#f97316"}
EMPTY_LOSSES = pd.DataFrame({"step": [0, 0], "loss": [float("nan")] * 2, "split": ["training", "validation"]})
SHOWN_PROBLEMS = 20
GLANCE_SECONDS = 10


class WheelPage:
    """Handlers of the Wheel page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def run(self, run_id: str | None) -> Run | None:
        """The chosen run, or the newest."""
        if run_id:
            try:
                return self.services.records.run(run_id)
            except NotFound:
                pass
        newest = self.services.records.runs(limit=1)
        return newest[0] if newest else None

    def progress(self, run_id: str | None) -> tuple[Any, ...]:
        """What changes while a run is going on, in the order of `moving`."""
        run = self.run(run_id)
        active = self.services.records.active()
        waiting = run is not None and run.outcome == "waiting"
        return (
            wheel_view.headline(run),
            wheel_view.stages(run),
            wheel_view.losses(self.services.records.losses(run.id)) if run else None,
            wheel_view.scores(run),
            wheel_view.verdict(run),
            gr.Column(visible=waiting),
            gr.Button(interactive=active is None),
            gr.Button(visible=active is not None),
            self.served_line(),
            gr.Timer(active=active is not None),
        )

    def still(self, run_id: str | None) -> tuple[Any, ...]:
        """What changes only when a run begins or ends, in the order of `resting`."""
        run = self.run(run_id)
        runs = self.services.records.runs()
        registry = self.services.registry
        served = registry.served().model
        examples = self.services.ledger.dataset_examples(run.id) if run else []
        return (
            wheel_view.stock(self.services.ledger.counts()),
            wheel_view.dataset(self.services.ledger.dataset(run.id) if run else None),
            wheel_view.examples(examples),
            wheel_view.runs(runs),
            wheel_view.models(registry.models(), served),
            wheel_view.promotions(registry.promotions()),
            gr.Dropdown(choices=[run.id for run in runs], value=run.id if run else None),
            wheel_turning.cost(run),
            wheel_turning.curve(runs),
            lineage_picture.picture(self.services.store.database, run.id) if run else "",
        )

    def whole(self, run_id: str | None = None) -> tuple[Any, ...]:
        """Everything."""
        return (*self.progress(run_id), *self.still(run_id))

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """Open the page."""
        guard.person(request, "developer")
        return self.whole()

    def choose(self, run_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Look at another run."""
        guard.person(request, "developer")
        return self.whole(run_id)

    def served_line(self) -> str:
        """Which model serves, and which one is on trial."""
        registry = self.services.registry
        canary = registry.canaries.latest()
        return wheel_view.serving(registry.served(), canary, registry.canaries.seen(canary) if canary else None)

    def tick(self, run_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """One look at the run; the tables are rebuilt only when it has ended."""
        guard.person(request, "developer")
        moving = self.progress(run_id)
        ended = self.services.records.active() is None
        return (*moving, *(self.still(run_id) if ended else [gr.skip()] * 10))

    # what goes on by itself ------------------------------------------------------------------------------------------

    def meanwhile(self, shown: int, request: gr.Request) -> tuple[Any, ...]:
        """What happened since this person last looked, what comes next, and whether a run has begun by itself."""
        unseen = Events(self.services.store.database).unseen(guard.person(request, "developer").name)
        wheel, running = self.services.wheel, self.services.records.active() is not None
        next_run = wheel_turning.schedule(wheel.outlook().words(), wheel.problems())
        newest = unseen[0].id if unseen else shown
        return wheel_turning.notices(unseen), gr.Button(visible=bool(unseen)), next_run, newest, gr.Timer(active=running)

    def seen(self, shown: int, request: gr.Request) -> tuple[Any, ...]:
        """The person has read what stands there."""
        Events(self.services.store.database).seen(guard.person(request, "developer").name, shown)
        return self.meanwhile(shown, request)

    # actions ---------------------------------------------------------------------------------------------------------

    def train(self, recipe: RecipeName, request: gr.Request) -> tuple[Any, ...]:
        """Start a run."""
        person = guard.person(request, "developer").name
        if recipe not in RECIPES:
            raise refusal(f"There is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}.")
        run = refused(lambda: self.services.wheel.start(person, recipe))
        tell(f"{run.id} has begun.")
        return self.whole(run.id)

    def cancel(self, run_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Stop the run that is going on."""
        person = guard.person(request, "developer").name
        active = self.services.records.active()
        if active is not None:
            refused(lambda: self.services.wheel.cancel(active.id, person))
        return self.whole(run_id)

    def promote(self, run_id: str | None, reason: str, request: gr.Request) -> tuple[Any, ...]:
        """A developer promotes a candidate that the gate did not pass."""
        person = guard.person(request, "developer").name
        run = self.run(run_id)
        if run is None or run.candidate is None:
            raise refusal("This run has no candidate.")
        candidate = run.candidate
        if not (reason or "").strip():
            raise refusal("Say why: promoting against the gate needs a reason.")
        refused(lambda: self.services.wheel.promote(candidate, person=person, reason=reason.strip()))
        tell(f"{candidate} serves now.")
        return self.whole(run_id)

    def reject(self, run_id: str | None, reason: str, request: gr.Request) -> tuple[Any, ...]:
        """A developer sets a candidate aside."""
        person = guard.person(request, "developer").name
        run = self.run(run_id)
        if run is None or run.candidate is None:
            raise refusal("This run has no candidate.")
        candidate = run.candidate
        refused(
            lambda: self.services.registry.reject(candidate, person=person, reason=(reason or "").strip() or "no reason given")
        )
        return self.whole(run_id)

    def roll_back(self, run_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Let the model serve that served before."""
        person = guard.person(request, "developer").name
        model = refused(lambda: self.services.registry.roll_back(person=person, reason="rolled back on the Wheel page"))
        tell(f"{model} serves again.")
        return self.whole(run_id)

    async def import_upload(self, path: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Take in a file that the person chose."""
        person = guard.person(request, "developer").name
        if not path:
            return gr.skip(), gr.skip()
        file = Path(path)
        try:
            report = await asyncio.to_thread(refused, lambda: import_file(self.services.ledger, file, person=person))
        finally:
            file.unlink(missing_ok=True)  # the copy that Gradio made; what people said is kept in the state folder only
        return report_text(report), wheel_view.stock(self.services.ledger.counts())

    async def import_starter(self, request: gr.Request) -> tuple[Any, ...]:
        """Take in the questions that come with the chat."""
        person = guard.person(request, "developer").name
        report = await asyncio.to_thread(refused, lambda: import_everyday(self.services.ledger, person=person))
        return report_text(report), wheel_view.stock(self.services.ledger.counts())


def report_text(report: ImportReport) -> str:
    """What became of a file."""
    known = f", {report.known} known before" if report.known else ""
    count = f"{report.accepted} example{'' if report.accepted == 1 else 's'}"
    head = f"<p><b>{html.escape(report.filename)}</b>: {count} imported{known}.</p>"
    if report.masked:
        head += f"<p>Masked before training: {masked_words(report.masked)}.</p>"
    if not report.problems:
        return head
    shown = "".join(
        f"<li>line {item['line']}: {html.escape(str(item['reason']))}</li>" for item in report.problems[:SHOWN_PROBLEMS]
    )
    more = f"<li>and {len(report.problems) - SHOWN_PROBLEMS} more</li>" if len(report.problems) > SHOWN_PROBLEMS else ""
    return f"{head}<p>Rows that were left out: {len(report.problems)}</p><ul class=problems>{shown}{more}</ul>"


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = WheelPage(services)
    blocks = gr.Blocks(title="Wheel · Flywheel Chat", analytics_enabled=False)
    with blocks:
        frame.header("wheel")
        with gr.Row(elem_id="meanwhile"):
            notices = gr.HTML(padding=False, elem_id="notices")
            seen = gr.Button("Seen", size="sm", visible=False, elem_id="seen", scale=0, min_width=80)
        served = gr.HTML(padding=False)
        with gr.Row(equal_height=True):
            train = gr.Button("Train the next model", variant="primary", size="lg", elem_id="train", scale=2)
            cancel = gr.Button("Cancel the run", variant="stop", size="lg", visible=False, elem_id="cancel", scale=1)
            back = gr.Button("Roll back", size="lg", elem_id="rollback", scale=1)
        recipe = gr.Radio(
            [(words, name) for name, words in wheel_view.RECIPE_WORDS.items()], value="sft", label="Learn from", elem_id="recipe"
        )
        next_run = gr.HTML(padding=False, elem_id="next-run")
        stock = gr.HTML(padding=False)
        headline = gr.HTML(padding=False, elem_id="headline")
        stages = gr.HTML(padding=False, elem_id="stages")
        loss, scores, verdict, decision, reason, promote, reject = _outcome()
        cost = gr.HTML(padding=False, elem_id="cost")
        _import(page, stock)
        chosen, dataset, examples, lineage = _trained_on()
        curve, runs, models, moves = _history()
        export_menu()
        timer, glance, newest = gr.Timer(1, active=False), gr.Timer(GLANCE_SECONDS), gr.State(0)

        moving = [headline, stages, loss, scores, verdict, decision, train, cancel, served, timer]
        resting = [stock, dataset, examples, runs, models, moves, chosen, cost, curve, lineage]
        everything, aside = [*moving, *resting], [notices, seen, next_run, newest, timer]
        blocks.load(page.load, None, everything, **QUICK)
        timer.tick(page.tick, chosen, everything, **QUICK)
        for look in (blocks.load, glance.tick):
            look(page.meanwhile, newest, aside, **QUICK)
        seen.click(page.seen, newest, aside, **QUICK)
        train.click(page.train, recipe, everything, **PRIVATE)
        cancel.click(page.cancel, chosen, everything, **PRIVATE)
        back.click(page.roll_back, chosen, everything, **PRIVATE)
        promote.click(page.promote, [chosen, reason], everything, **PRIVATE)
        reject.click(page.reject, [chosen, reason], everything, **PRIVATE)
        chosen.input(page.choose, chosen, everything, **QUICK)
    return blocks


def _outcome() -> tuple[Any, ...]:
    """Loss, scores, verdict, and what a developer may decide where the gate did not pass."""
    with gr.Row():
        with gr.Column(min_width=320):
            loss = _plot(EMPTY_LOSSES, LOSS_COLORS, "Loss", elem_id="loss")
        with gr.Column(min_width=320):
            scores = gr.HTML(padding=False, elem_id="scores")
            verdict = gr.HTML(padding=False, elem_id="verdict")
            with gr.Column(visible=False) as decision:
                reason = gr.Textbox(label="Reason", elem_id="reason", max_length=500)
                with gr.Row():
                    promote = gr.Button("Promote anyway", variant="primary", size="md", elem_id="promote", min_width=120)
                    reject = gr.Button("Reject", size="md", elem_id="reject", min_width=120)
    return loss, scores, verdict, decision, reason, promote, reject


def _plot(empty: pd.DataFrame, colors: dict[str, str], title: str, **options: Any) -> gr.LinePlot:
    """A line for each colour; the frame's columns are x, y and what the colours mean."""
    x, y, color = empty.columns
    return gr.LinePlot(empty, x=x, y=y, color=color, color_map=colors, title=title, height=240, x_title=x, y_title=y, **options)


def _import(page: WheelPage, stock: gr.HTML) -> None:
    with gr.Accordion("Import examples", open=False, elem_id="import"):
        gr.Markdown("A file in xLAM shape (`query`, `tools`, `answers`) or OpenAI messages, one JSON object a line.")
        with gr.Row():
            upload = gr.File(label="File", file_types=[".json", ".jsonl"], elem_id="import-file", height=120)
            starter = gr.Button("Import the everyday questions that come with the chat", elem_id="import-starter")
        report = gr.HTML(padding=False, elem_id="import-report")
        upload.upload(page.import_upload, upload, [report, stock], **SLOW)
        starter.click(page.import_starter, None, [report, stock], **SLOW)


def _trained_on() -> tuple[Any, ...]:
    """The chosen run's dataset, and where it and its model come from."""
    with gr.Accordion("What it was trained on", open=False, elem_id="trained-on"):
        chosen = gr.Dropdown(label="Run", choices=[], elem_id="run")
        lineage = gr.HTML(padding=False, elem_id="lineage")
        dataset = gr.HTML(padding=False, elem_id="dataset")
        examples = gr.HTML(padding=False, elem_id="examples")
    return chosen, dataset, examples, lineage


def _history() -> tuple[Any, ...]:
    with gr.Accordion("History", open=False, elem_id="history"):
        empty, colors = wheel_turning.EMPTY_CURVE, wheel_turning.CURVE_COLORS
        curve = _plot(empty, colors, "What the live model gets right after each run", y_lim=[0, 1], elem_id="curve")
        runs = gr.HTML(padding=False, elem_id="runs")
        models = gr.HTML(padding=False, elem_id="models")
        moves = gr.HTML(padding=False, elem_id="moves")
    return curve, runs, models, moves
