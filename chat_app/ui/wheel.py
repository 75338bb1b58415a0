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

from chat_app.services import Services
from chat_app.ui import frame, times, wheel_view
from chat_app.ui.export_menu import export_menu
from chat_app.ui.toasts import refusal, refused, tell
from flywheel.errors import NotFound
from flywheel.history import Run
from flywheel.imports import import_everyday, import_file
from flywheel.ledger import ImportReport
from flywheel.people import LOCAL as PERSON

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
QUICK: dict[str, Any] = PRIVATE | {"queue": False}
SLOW: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
LOSS_COLORS = {"training": "#0d9488", "validation": "#f97316"}
EMPTY_LOSSES = pd.DataFrame({"step": [0, 0], "loss": [float("nan")] * 2, "split": ["training", "validation"]})
SHOWN_PROBLEMS = 20


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
        )

    def whole(self, run_id: str | None = None) -> tuple[Any, ...]:
        """Everything."""
        return (*self.progress(run_id), *self.still(run_id))

    def served_line(self) -> str:
        """Which model serves, and for how long."""
        served = self.services.registry.served()
        name = html.escape(served.model)
        return f'<p>Serving: <b id="served">{name}</b> <span class="muted">· live {times.age(served.since)}</span></p>'

    def tick(self, run_id: str | None) -> tuple[Any, ...]:
        """One look at the run; the tables are rebuilt only when it has ended."""
        moving = self.progress(run_id)
        ended = self.services.records.active() is None
        return (*moving, *(self.still(run_id) if ended else [gr.skip()] * 7))

    # actions ---------------------------------------------------------------------------------------------------------

    def train(self) -> tuple[Any, ...]:
        """Start a run."""
        run = refused(lambda: self.services.wheel.start(PERSON))
        tell(f"{run.id} has begun.")
        return self.whole(run.id)

    def cancel(self, run_id: str | None) -> tuple[Any, ...]:
        """Stop the run that is going on."""
        active = self.services.records.active()
        if active is not None:
            refused(lambda: self.services.wheel.cancel(active.id, PERSON))
        return self.whole(run_id)

    def promote(self, run_id: str | None, reason: str) -> tuple[Any, ...]:
        """A developer promotes a candidate that the gate did not pass."""
        run = self.run(run_id)
        if run is None or run.candidate is None:
            raise refusal("This run has no candidate.")
        candidate = run.candidate
        if not (reason or "").strip():
            raise refusal("Say why: promoting against the gate needs a reason.")
        refused(lambda: self.services.wheel.promote(candidate, person=PERSON, reason=reason.strip()))
        tell(f"{candidate} serves now.")
        return self.whole(run_id)

    def reject(self, run_id: str | None, reason: str) -> tuple[Any, ...]:
        """A developer sets a candidate aside."""
        run = self.run(run_id)
        if run is None or run.candidate is None:
            raise refusal("This run has no candidate.")
        candidate = run.candidate
        refused(
            lambda: self.services.registry.reject(candidate, person=PERSON, reason=(reason or "").strip() or "no reason given")
        )
        return self.whole(run_id)

    def roll_back(self, run_id: str | None) -> tuple[Any, ...]:
        """Let the model serve that served before."""
        model = refused(lambda: self.services.registry.roll_back(person=PERSON, reason="rolled back on the Wheel page"))
        tell(f"{model} serves again.")
        return self.whole(run_id)

    async def import_upload(self, path: str | None) -> tuple[Any, ...]:
        """Take in a file that the person chose."""
        if not path:
            return gr.skip(), gr.skip()
        file = Path(path)
        try:
            report = await asyncio.to_thread(refused, lambda: import_file(self.services.ledger, file, person=PERSON))
        finally:
            file.unlink(missing_ok=True)  # the copy that Gradio made; what people said is kept in the state folder only
        return report_text(report), wheel_view.stock(self.services.ledger.counts())

    async def import_starter(self) -> tuple[Any, ...]:
        """Take in the questions that come with the chat."""
        report = await asyncio.to_thread(refused, lambda: import_everyday(self.services.ledger, person=PERSON))
        return report_text(report), wheel_view.stock(self.services.ledger.counts())


def report_text(report: ImportReport) -> str:
    """What became of a file."""
    known = f", {report.known} known before" if report.known else ""
    count = f"{report.accepted} example{'' if report.accepted == 1 else 's'}"
    head = f"<p><b>{html.escape(report.filename)}</b>: {count} imported{known}.</p>"
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
        frame.header("Wheel")
        served = gr.HTML(padding=False)
        with gr.Row(equal_height=True):
            train = gr.Button("Train the next model", variant="primary", size="lg", elem_id="train", scale=2)
            cancel = gr.Button("Cancel the run", variant="stop", size="lg", visible=False, elem_id="cancel", scale=1)
            back = gr.Button("Roll back", size="lg", elem_id="rollback", scale=1)
        stock = gr.HTML(padding=False)
        headline = gr.HTML(padding=False, elem_id="headline")
        stages = gr.HTML(padding=False, elem_id="stages")
        with gr.Row():
            with gr.Column(min_width=320):
                loss = gr.LinePlot(
                    EMPTY_LOSSES,
                    x="step",
                    y="loss",
                    color="split",
                    color_map=LOSS_COLORS,
                    title="Loss",
                    height=240,
                    x_title="step",
                    y_title="loss",
                    elem_id="loss",
                )
            with gr.Column(min_width=320):
                scores = gr.HTML(padding=False, elem_id="scores")
                verdict = gr.HTML(padding=False, elem_id="verdict")
                with gr.Column(visible=False) as decision:
                    reason = gr.Textbox(label="Reason", elem_id="reason", max_length=500)
                    with gr.Row():
                        promote = gr.Button("Promote anyway", variant="primary", size="md", elem_id="promote", min_width=120)
                        reject = gr.Button("Reject", size="md", elem_id="reject", min_width=120)
        with gr.Accordion("Import examples", open=False, elem_id="import"):
            gr.Markdown("A file in xLAM shape (`query`, `tools`, `answers`) or OpenAI messages, one JSON object a line.")
            with gr.Row():
                upload = gr.File(label="File", file_types=[".json", ".jsonl"], elem_id="import-file", height=120)
                starter = gr.Button("Import the everyday questions that come with the chat", elem_id="import-starter")
            report = gr.HTML(padding=False, elem_id="import-report")
        with gr.Accordion("What it was trained on", open=False, elem_id="trained-on"):
            chosen = gr.Dropdown(label="Run", choices=[], elem_id="run")
            dataset = gr.HTML(padding=False, elem_id="dataset")
            examples = gr.HTML(padding=False, elem_id="examples")
        with gr.Accordion("History", open=False, elem_id="history"):
            runs = gr.HTML(padding=False, elem_id="runs")
            models = gr.HTML(padding=False, elem_id="models")
            moves = gr.HTML(padding=False, elem_id="moves")
        export_menu()
        timer = gr.Timer(1, active=False)

        moving = [headline, stages, loss, scores, verdict, decision, train, cancel, served, timer]
        resting = [stock, dataset, examples, runs, models, moves, chosen]
        everything = [*moving, *resting]
        blocks.load(page.whole, None, everything, **QUICK)
        timer.tick(page.tick, chosen, everything, **QUICK)
        train.click(page.train, None, everything, **PRIVATE)
        cancel.click(page.cancel, chosen, everything, **PRIVATE)
        back.click(page.roll_back, chosen, everything, **PRIVATE)
        promote.click(page.promote, [chosen, reason], everything, **PRIVATE)
        reject.click(page.reject, [chosen, reason], everything, **PRIVATE)
        chosen.input(page.whole, chosen, everything, **QUICK)
        upload.upload(page.import_upload, upload, [report, stock], **SLOW)
        starter.click(page.import_starter, None, [report, stock], **SLOW)
    return blocks
