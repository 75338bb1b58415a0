"""What the command line prints: runs, models, scores and imports as text for people and as objects for programs.

Knows the records' shapes. Knows nothing of commands and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flywheel.canary import Canary
from flywheel.canary_evidence import Seen
from flywheel.gate_scores import Accuracy, Scores
from flywheel.history import STAGES, Run, RunRecords
from flywheel.ledger import ImportReport
from flywheel.pii import masked_words
from flywheel.promote import Model, Served

SHOWN_PROBLEMS = 20
LOOK_SECONDS = 0.5


def run_object(run: Run) -> dict[str, Any]:
    """A run for programs: its record, and `seconds` from request to end (None while it is under way)."""
    seconds = None
    if run.finished_at:
        seconds = (datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.created_at)).total_seconds()
    return asdict(run) | {"seconds": seconds}


def run_page(run: Run) -> str:
    """One run on a page."""
    lines = [f"{run.id}  {_state(run)}  asked for by {run.requested_by}, {run.created_at[:16]}"]
    for stage in STAGES:
        entry = run.stages.get(stage)
        lines.append(f"  {stage:<9} {_stage(entry) if entry else '-'}")
    overlap = run.stages.get("curate", {}).get("detail", {}).get("overlap")
    lines += [f"  overlap   {overlap} questions both train and examine"] if overlap is not None else []
    for label, scores in (run.scores or {}).items():
        lines.append(f"  {label:<9} {_accuracy(Scores.from_dict(scores).overall)}")
    if len(run.candidates) > 1:
        lines += [f"  {method.upper():<9} {_candidate(facts)}" for method, facts in run.candidates.items()]
        lines += [f"  compared  {reason}" for reason in {facts.get("reason") for facts in run.candidates.values()} if reason]
    lines += [f"  {run.verdict['verdict']}: {reason}" for reason in run.verdict["reasons"]] if run.verdict else []
    lines += [f"  candidate {run.candidate}"] if run.candidate else []
    lines += [f"  error     {run.error}"] if run.error else []
    return "\n".join(lines)


def run_list(runs: list[Run]) -> str:
    """Runs, a line each."""
    lines = [f"{run.id}  {run.created_at[:16]}  {_state(run)}" for run in runs]
    return "\n".join(lines) or "No runs yet; `flywheel run --wait` makes one."


def model_list(models: list[Model], served: Served, canary: Canary | None = None, seen: Seen | None = None) -> str:
    """Models, a line each, one for a candidate on trial; marked: the one that serves, and rows erased since."""
    lines = []
    for m in models:
        mark = f"  {m.reason}" if m.reason else ""
        mark += f"  {m.erased_rows} of its rows erased since: train anew with `flywheel run`" if m.erased_rows else ""
        lines.append(f"{'*' if m.id == served.model else ' '} {m.id}  {m.status}  {m.created_at[:16]}{mark}")
    if canary and seen and canary.status == "running":
        lines.append(
            f"On trial: {canary.model} answers {canary.share:.0%} of the conversations, {seen.conversations.candidate} of "
            f"{canary.conversations} so far; thumbs down in {seen.thumbs_down.candidate}, errors in {seen.errors.candidate}"
        )
    return "\n".join(lines)


def score_table(model: str, scores: Scores, problems: int) -> str:
    """A model's scores, overall and by tool."""
    lines = [f"{model}: {_accuracy(scores.overall)}"]
    lines += [f"  {tool:<30} {_accuracy(accuracy)}" for tool, accuracy in scores.tools.items()]
    return "\n".join(lines + ([f"{problems} rows could not be used"] if problems else []))


def import_report(report: ImportReport) -> str:
    """What became of a file."""
    lines = [f"{report.filename}: {report.accepted} examples taken in, {report.known} known already"]
    if report.masked:
        lines.append(f"  masked: {masked_words(report.masked)}")
    lines += [f"  line {problem['line']}: {problem['reason']}" for problem in report.problems[:SHOWN_PROBLEMS]]
    more = len(report.problems) - SHOWN_PROBLEMS
    return "\n".join(lines + ([f"  ... and {more} more problems (--json lists all)"] if more > 0 else []))


class Follower:
    """Tells how a run gets on, a line whenever there is something to tell."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = ""

    def follow(self, records: RunRecords, run_id: str) -> Run:
        """Wait for the end of a run and return its record."""
        while (run := records.run(run_id)).active:
            self._tell(run)
            time.sleep(LOOK_SECONDS)
        return run

    def _tell(self, run: Run) -> None:
        stage = next((stage for stage in STAGES if run.stages.get(stage, {}).get("status") == "running"), None)
        if stage is None:
            return
        percent, eta = run.progress.get("percent", 0), run.progress.get("eta_seconds")
        tens = f"{percent // 10 * 10:.0f}"
        if f"{stage} {tens}" != self._told:
            self._told = f"{stage} {tens}"
            left = f", about {eta:.0f} s left" if eta else ""
            self._say(f"{stage} {tens} %{left}" if percent else stage)


def _candidate(facts: dict[str, Any]) -> str:
    return f"{facts['model']}{': ' + _accuracy(Scores.from_dict(facts['scores']).overall) if facts.get('scores') else ''}"


def _state(run: Run) -> str:
    return f"{run.status}, {run.outcome}" if run.outcome else run.status


def _stage(entry: dict[str, Any]) -> str:
    if "finished_at" not in entry:
        return str(entry["status"])
    took = datetime.fromisoformat(entry["finished_at"]) - datetime.fromisoformat(entry["started_at"])
    return f"{entry['status']} in {took.total_seconds():.1f} s"


def _accuracy(accuracy: Accuracy) -> str:
    name, whole = accuracy.function_name_accuracy, accuracy.function_name_and_args_accuracy
    return f"function_name_accuracy {name:.3f}, function_name_and_args_accuracy {whole:.3f} on {accuracy.count} rows"
