"""A turn of the wheel through the `flywheel` command, in a state folder of its own, and the tables about it.

Knows the command line and what it prints. Does not import the flywheel: it is measured as a person would use it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.machine import note, ratio, table
from tests.benchmarks.memory import Use, Watch

METRICS = ("function_name_accuracy", "function_name_and_args_accuracy")
SERVICES = ("NEMO_URL", "NDS_URL", "NIM_URL", "BASE_MODEL", "CUSTOMIZATION_CONFIG", "CONTENT_SAFETY_URL")
STOP_SECONDS = 30


class Turned(NamedTuple):
    """A run that has ended: what the command printed, its wall seconds from start to end, and the most memory it took."""

    run: dict[str, Any]
    seconds: float
    peak: Use


class CommandFailed(SystemExit):
    """A command ended badly; the text is what it said. Ends the benchmark with that."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a child that uses this state folder and the local platform."""
    return {name: value for name, value in os.environ.items() if name not in SERVICES} | {"FLYWHEEL_HOME": str(home), **more}


@contextmanager
def started(command: list[str], env: dict[str, str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A child of ours that is gone afterwards, whatever happens; it is asked first, so that it stops its own children."""
    process = subprocess.Popen(command, env=env, text=True, **streams)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def import_rows(home: Path, file: Path) -> dict[str, Any]:
    """Take the file's rows in; returns the report. Raises CommandFailed where no row could be used."""
    command = [sys.executable, "-m", "flywheel", "import", str(file), "--json"]
    done = subprocess.run(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    report = _object(done.stdout, command)
    if done.returncode:
        first = report.get("error") or "; ".join(f"line {each['line']}: {each['reason']}" for each in report["problems"][:3])
        raise CommandFailed(f"nothing of {file.name!r} was imported: {first}")
    return report


def turn(home: Path, *others: int) -> Turned:
    """Run the wheel and wait. others: ids of further processes of ours, the app's say, whose memory counts too."""
    command = [sys.executable, "-m", "flywheel", "run", "--wait", "--json"]
    began = time.perf_counter()
    with started(command, environment(home), stdout=subprocess.PIPE) as process, Watch(lambda: [process.pid, *others]) as watch:
        printed, _ = process.communicate()
        seconds = time.perf_counter() - began
    run = _object(printed, command)
    if process.returncode:
        raise CommandFailed(f"the run ended badly: {run.get('error')}")
    return Turned(run, seconds, watch.peak)


def evaluated(home: Path, model: str, data: Path) -> dict[str, Any]:
    """What `flywheel evaluate` says of a model that the platform in this state folder serves. Raises CommandFailed."""
    command = [sys.executable, "-m", "flywheel", "evaluate", "--model", model, "--data", str(data), "--json"]
    done = subprocess.run(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    said = _object(done.stdout, command)
    if done.returncode:
        raise CommandFailed(f"the evaluation ended badly: {said.get('error')}")
    return said


def _object(printed: str, command: list[str]) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(printed)
        return said
    except ValueError:
        raise CommandFailed(f"{' '.join(command[1:])} printed no JSON but {printed[:300]!r}") from None


def stage_table(turned: Turned) -> str:
    """Wall seconds by stage, and their share of the whole command."""
    lines = []
    for stage, entry in turned.run["stages"].items():
        seconds = stage_seconds(entry)
        lines.append((stage, f"{seconds:.1f}", ratio(seconds, turned.seconds)))
    between = turned.seconds - sum(float(line[1]) for line in lines)
    lines.append(("start of the command and between stages", f"{between:.1f}", ratio(between, turned.seconds)))
    lines.append(("whole command (baseline)", f"{turned.seconds:.1f}", ratio(turned.seconds, turned.seconds)))
    return table(["stage", "seconds", "ratio"], lines)


def accuracy_table(turned: Turned) -> str:
    """NVIDIA's two metrics before and after, on the rows that were never trained and on the exam of old skills."""
    scores, lines = turned.run["scores"], []
    for suite in scores["candidate"]["suites"]:
        before, after = (scores[label]["suites"][suite] for label in ("current", "candidate"))
        for metric in METRICS:
            values = (before[metric], after[metric])
            shown = [f"{value:.3f}" for value in values]
            lines.append((suite.replace("_", " "), before["count"], metric, *shown, ratio(values[1], values[0])))
    return table(["rows", "count", "metric", "before (baseline)", "after", "ratio"], lines)


def summary(turned: Turned) -> str:
    """What became of the run, in lines."""
    run = turned.run
    verdict, curated = run["verdict"] or {}, run["stages"]["curate"]["detail"]
    splits, words = curated["splits"], "; ".join(verdict.get("reasons", ()))
    return "\n".join(
        [
            f"Rows: {splits['train']} trained ({curated['replay_share']:.0%} replay), {splits['validation']} validation,"
            f" {splits['holdout']} holdout, {splits['old_skills']} old skills; overlap {curated['overlap']}.",
            f"Outcome: {run['outcome']}; gate: {verdict.get('verdict')}: {words}",
            f"Peak memory, {turned.peak.kind} of all our processes together: {turned.peak.total / 1e9:.2f} GB"
            f" ({turned.peak.breakdown})",
        ]
    )


def say_imported(report: dict[str, Any]) -> None:
    """Tell how the import went."""
    note(f"imported {report['accepted']} rows, {report['known']} known already, {len(report['problems'])} could not be used")


def stage_seconds(entry: dict[str, Any]) -> float:
    """How long a stage that has ended took."""
    return (datetime.fromisoformat(entry["finished_at"]) - datetime.fromisoformat(entry["started_at"])).total_seconds()
