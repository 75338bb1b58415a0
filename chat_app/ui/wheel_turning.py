"""What the Wheel page shows beside the run: what happened meanwhile, what comes next, cost, learning curve, lineage.

Pure: records in, markup and tables out; every text is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import pandas as pd

from chat_app.ui import times
from flywheel.cost import Cost, accuracy, cost_of
from flywheel.events import Event
from flywheel.history import Run

CURVE_COLORS = {"function name": "#0d9488", "name and arguments": "#f97316"}
CURVE_METRICS = {"function_name_accuracy": "function name", "function_name_and_args_accuracy": "name and arguments"}
EMPTY_CURVE = pd.DataFrame({"run": [0, 0], "accuracy": [float("nan")] * 2, "metric": [*CURVE_COLORS]})
"""Never an empty frame: it would freeze the plot's colours."""
MOVES = {"promote": "was put live", "rollback": "serves again after a roll-back"}


def notices(found: Sequence[Event]) -> str:
    """What happened since they last looked, newest first; "" where nothing did."""
    if not found:
        return ""
    items = "".join(f"<li>{_notice(event)} <small class=muted>{times.clock(event.created_at)}</small></li>" for event in found)
    return f'<div class="notice" role="status"><b>Since you last looked</b><ul>{items}</ul></div>'


def _notice(event: Event) -> str:
    model, run = (f"<code>{html.escape(name or '')}</code>" for name in (event.model, event.run_id))
    if event.kind == "rejected":
        return f"{model} was set aside: {html.escape(event.error or 'no reason was given')}"
    if event.kind != "ended":
        return f"{model} {MOVES.get(event.kind, html.escape(event.kind))}."
    if event.status == "succeeded":
        waits = " It waits for your decision." if event.outcome == "waiting" else ""
        return f"{run} ended: the gate says {html.escape(event.verdict or 'nothing')}.{waits}"
    return f"{run} {html.escape(event.status or 'ended')}: {html.escape(event.error or 'no reason was given')}"


def schedule(words: str, problems: Sequence[str]) -> str:
    """When the next run begins by itself; faults of the policy stand out."""
    faults = "".join(f'<p class="problem" role="alert">{html.escape(problem)}</p>' for problem in problems)
    return faults or f"<p>{html.escape(words)}</p>"


def cost(run: Run | None) -> str:
    """What the run took, and what each point gained took of it."""
    if run is None or not run.stages:
        return '<p class="muted">What a run takes stands here after it.</p>'
    took = cost_of(run)
    parts = [_part(took, took.seconds, times.duration), _part(took, took.tokens, lambda n: f"{n:,.0f} tokens"),
             _part(took, took.cpu_seconds, lambda n: f"{n:,.0f} CPU-seconds"),
             _part(took, took.gpu_seconds, lambda n: f"{n:,.0f} GPU-seconds") or ("GPU-seconds", ": not told")]  # fmt: skip
    said = [f"<b>{whole}</b>{each}" for whole, each in filter(None, parts)]
    gained = "" if took.points is None else f" Gained: <b>{took.points:+.1f} points</b> of whole calls on the held-out questions."
    return f"<p>{', '.join(said)}.{gained}</p>"


def _part(took: Cost, amount: float | None, words: Callable[[float], str]) -> tuple[str, str] | None:
    if amount is None:
        return None
    each = took.per_point(amount) if amount else None
    return words(amount), f" ({words(each)} a point)" if each is not None else ""


def curve(runs: Sequence[Run]) -> pd.DataFrame | None:
    """Columns run, accuracy, metric: after each run the model that was live, on that run's held-out questions; 0 = before any."""
    ended = [run for run in sorted(runs, key=lambda run: run.created_at) if run.status == "succeeded" and run.scores]
    if not ended:
        return None
    served = [(ended[0], "current"), *((run, "candidate" if run.outcome == "promoted" else "current") for run in ended)]
    rows = [
        (number, value, words)
        for number, (run, who) in enumerate(served)
        for metric, words in CURVE_METRICS.items()
        if (value := accuracy(run, who, metric)) is not None
    ]
    frame = pd.DataFrame(rows, columns=["run", "accuracy", "metric"])
    return frame.astype({"run": "int64", "accuracy": "float64", "metric": "str"}) if rows else None
