"""Five turns of the wheel, each teaching one tool more: `python -m tests.benchmarks.five_turns [--rows N] [--out FILE]`.

Each tool is one that the base model never saw, put beside the thirteen of the chat. A turn imports rows of its tool, trains on
them and on all before them, and is judged by the gate. After it the candidate is asked about all five tools in phrasings and with
values that are in no row. What a tool keeps is measured against what it had after its own turn. `--out` writes the plot's points.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.cli_text import Follower
from flywheel.cost import accuracy
from flywheel.evaluate import evaluate
from flywheel.gate_scores import Scores
from flywheel.history import Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.local.base.families import held_out
from flywheel.nemo import Nemo
from flywheel.platform import ensure_platform
from flywheel.promote import Registry
from flywheel.rows import Row
from flywheel.runs import Wheel
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from tests.benchmarks.corrections import Questions, questions
from tests.benchmarks.machine import facts, note, table
from tests.benchmarks.wheel import METRICS

TOOLS = ("desk_book", "sensor_threshold_set", "medication_add", "parking_book", "bike_share")
"""Families that the base model is never trained on."""
KEPT = 0.98
TESTED = 40


class Turned(NamedTuple):
    """One turn: its run, and the whole-call accuracy of its candidate on every tool's tested rows."""

    run: Run
    tools: dict[str, float]
    seconds: float

    def holdout(self, who: str = "candidate") -> float:
        """Whole calls right on the run's own held-out rows."""
        return accuracy(self.run, who) or 0.0


class Turns:
    """The wheel of one state folder, with its platform running. Use with `closing`."""

    def __init__(self, home: Path, rows: int) -> None:
        self._made = {family: questions(family, rows, TESTED) for family in TOOLS}
        self._settings, self._supervisor = ensure_platform(Settings(home=home).prepare(), log=note)
        assert self._supervisor is not None
        self._supervisor.wait_ready(600)
        self._store = Store(self._settings.store_path)
        Registry(self._store.database).begin(LOCAL_BASE_MODEL)
        self._nemo, self._wheel = Nemo(self._settings), Wheel(self._settings, self._store)
        self._wheel.launch()

    def close(self) -> None:
        """Stop everything."""
        assert self._supervisor is not None
        self._wheel.shutdown()
        self._nemo.close()
        self._store.close()
        self._supervisor.stop()

    def base(self) -> dict[str, float]:
        """What the base gets right of each tool."""
        return self._scored(LOCAL_BASE_MODEL)

    def turn(self, family: str) -> Turned:
        """Teach one tool more."""
        began = time.perf_counter()
        rows = enumerate(self._made[family].corrected, 1)
        Ledger(self._store.database).add_import(f"{family}.jsonl", "0" * 64, rows, [], "benchmark")
        run = Follower(note).follow(RunRecords(self._store.database), self._wheel.start("benchmark").id)
        if run.status != "succeeded" or run.candidate is None:
            raise SystemExit(f"the run ended badly: {run.error}")
        return Turned(run, self._scored(run.candidate), time.perf_counter() - began)

    def _scored(self, model: str) -> dict[str, float]:
        tested = {family: made.tested for family, made in self._made.items()}
        scores = evaluate(self._nemo, model, [row for rows in tested.values() for row in rows]).scores
        return {family: _of(scores, made) for family, made in self._made.items()}


def _of(scores: Scores, made: Questions) -> float:
    """Whole calls right on a tool's tested rows."""
    row: Row = made.tested[0]
    return scores.tools[row.calls[0].name].function_name_and_args_accuracy


def report(base: dict[str, float], found: list[Turned]) -> str:
    """A line a turn, and whether both aims were met."""
    lines = [("base", "", *(f"{base[family]:.2f}" for family in TOOLS), "", "", "")]
    for number, one in enumerate(found, 1):
        cells = [f"{one.tools[family]:.2f}" + ("" if place < number else " (not taught)") for place, family in enumerate(TOOLS)]
        verdict = (one.run.verdict or {}).get("verdict", "")
        held = f"{one.holdout('current'):.2f} → {one.holdout():.2f}"
        lines.append((str(number), TOOLS[number - 1], *cells, held, f"{verdict}, {one.run.outcome}", f"{one.seconds:.0f}"))
    heads = ("turn", "taught", *TOOLS, "holdout: live → candidate", "gate", "s")
    return "\n".join([table(heads, lines), "", *_aims(found), *_objections(found)])


def _aims(found: list[Turned]) -> list[str]:
    kept = {family: (one.tools[family], found[-1].tools[family]) for one, family in zip(found[:-1], TOOLS, strict=False)}
    lost = [f"{family} {before:.2f} → {after:.2f}" for family, (before, after) in kept.items() if after < KEPT * before]
    rose = [one.holdout() > one.holdout("current") for one in found]
    return [
        f"Every earlier tool keeps at least {KEPT:.0%} of what it had: {'yes' if not lost else 'no: ' + ', '.join(lost)}",
        f"The holdout score rises at every turn: {'yes' if all(rose) else f'at {sum(rose)} of {len(rose)}'}",
    ]


def _objections(found: list[Turned]) -> list[str]:
    """What the gate says of the turns that did not pass."""
    said = [(number, one.run.verdict or {}) for number, one in enumerate(found, 1)]
    return [f"Turn {number}: {verdict['reasons']}" for number, verdict in said if verdict.get("verdict") != "pass"]


def points(base: dict[str, float], found: list[Turned]) -> dict[str, Any]:
    """What a plot needs: each tool's score after each turn (0 = the base), the holdout scores, the verdicts."""
    return {
        "tools": {family: [base[family], *(one.tools[family] for one in found)] for family in TOOLS},
        "holdout": {metric: [accuracy(found[0].run, "current", metric),
                             *(accuracy(one.run, "candidate", metric) for one in found)] for metric in METRICS},
        "verdicts": [(one.run.verdict or {}).get("verdict") for one in found],
        "outcomes": [one.run.outcome for one in found],
    }  # fmt: skip


def main() -> None:
    """Turn five times and print."""
    parser = argparse.ArgumentParser(description="Five tools, one after the other: what is learned, and what is kept.")
    parser.add_argument("--rows", type=int, default=40, help="rows of each tool")
    parser.add_argument("--turns", type=int, default=len(TOOLS), help="at most so many turns")
    parser.add_argument("--out", type=Path, help="a JSON file for the plot's points")
    options = parser.parse_args()
    assert all(map(held_out, TOOLS))
    machine, found = facts(), list[Turned]()
    with tempfile.TemporaryDirectory() as folder, closing(Turns(Path(folder) / "home", options.rows)) as turns:
        base = turns.base()
        for family in TOOLS[: options.turns]:
            note(f"{family} ...")
            found.append(turns.turn(family))
            note(report(base, found))
            if options.out:
                options.out.write_text(json.dumps(points(base, found), indent=1) + "\n", encoding="utf-8")
    print(f"{machine}\n{options.rows} rows imported and {TESTED} other questions asked a tool.\n\n{report(base, found)}")


if __name__ == "__main__":
    main()
