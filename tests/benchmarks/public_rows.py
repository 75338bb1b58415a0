"""A run on a file of rows from elsewhere: `python -m tests.benchmarks.public_rows FILE [--limit N [--rest]] [--unseen N]`.

Imports the file into a fresh state folder, turns the wheel once, and prints both of NVIDIA's metrics before and after, wall time
by stage and peak memory. With --rest the records beyond the limit are asked, too: they are no part of the run. With --unseen the
candidate and the base are asked N questions about invented tools that neither ever saw: what the run made them forget. The file
is in any shape that `flywheel import` takes. Knows nothing of what the rows are about.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flywheel.errors import InputError
from flywheel.json_records import read_records
from flywheel.local.base_model import SHIPPED_PATH
from flywheel.settings import LOCAL_BASE_MODEL
from tests.benchmarks import wheel
from tests.benchmarks.machine import facts, note, ratio, table


def evenly(file: Path, limit: int, folder: Path) -> tuple[Path, Path]:
    """Two files: at most `limit` of the records, taken at even distances, and the rest; the order stays. Raises InputError."""
    records = [record.value for record in read_records(file) if record.reason is None]
    count = min(limit, len(records))
    chosen = {place * len(records) // count for place in range(count)}
    sample, rest = folder / f"{file.stem}-{count}.jsonl", folder / f"{file.stem}-rest.jsonl"
    for path, wanted in ((sample, True), (rest, False)):
        kept = [record for place, record in enumerate(records) if (place in chosen) is wanted]
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept), encoding="utf-8")
    return sample, rest


def rest_table(home: Path, candidate: str, rest: Path) -> str:
    """Both metrics on records that were no part of the run, before and after."""
    before, after = (wheel.evaluated(home, model, rest) for model in (LOCAL_BASE_MODEL, candidate))
    lines = [
        ("rest", before["count"], metric, f"{before[metric]:.3f}", f"{after[metric]:.3f}", ratio(after[metric], before[metric]))
        for metric in wheel.METRICS
    ]
    return table(["rows", "count", "metric", "before (baseline)", "after", "ratio"], lines)


def unseen_table(home: Path, count: int) -> str:
    """What the base's own exam says of calls to tools that nobody trained, without the run's adapter and with it."""
    (adapter,) = (home / "platform" / "customization").glob("*/adapter")
    command = [sys.executable, "-m", "flywheel.local.base.evaluate", "--model", str(SHIPPED_PATH), "--n", str(count), "--json"]
    found: list[dict[str, dict[str, Any]]] = []
    for more in ([], ["--adapter", str(adapter)]):
        done = subprocess.run([*command, *more], stdout=subprocess.PIPE, text=True, check=True)
        found.append({each["set"]: each for each in map(json.loads, done.stdout.splitlines())})
    before, after = found
    lines = [
        (name, before[name]["n"], *(f"{each[name]['name']['share']:.3f} / {each[name]['full']['share']:.3f}" for each in found))
        for name in before
        if "name" in after[name]
    ]
    return table(["calls to unseen tools", "count", "before: name / whole call", "after"], lines)


def main() -> None:
    """Import, run and print."""
    parser = argparse.ArgumentParser(description="Turn the wheel once on a file of rows.")
    parser.add_argument("file", type=Path, help="rows in xLAM shape or OpenAI messages JSONL")
    parser.add_argument("--limit", type=int, help="at most so many records, taken evenly from the file")
    parser.add_argument("--rest", action="store_true", help="ask the records beyond the limit, too")
    parser.add_argument("--unseen", type=int, default=0, help="so many questions about tools that nobody trained")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    if options.rest and options.limit is None:
        parser.error("--rest needs --limit: without it there is no rest")
    machine = facts()
    with tempfile.TemporaryDirectory() as folder:
        home, file, rest = Path(folder) / "home", options.file, None
        try:
            file, rest = evenly(file, options.limit, Path(folder)) if options.limit else (file, None)
        except InputError as error:
            raise wheel.CommandFailed(str(error)) from error
        report = wheel.import_rows(home, file)
        wheel.say_imported(report)
        turned = wheel.turn(home)
        more = []
        if options.rest and rest is not None:
            note("asking the rest ...")
            more.append(rest_table(home, turned.run["candidate"], rest))
        if options.unseen:
            note("asking about unseen tools ...")
            more.append(unseen_table(home, options.unseen))
    print(machine)
    print(f"File: {options.file.name}; {report['accepted']} rows imported, {len(report['problems'])} could not be used.")
    print(f"{wheel.summary(turned)}\n\n{wheel.accuracy_table(turned)}\n\n{wheel.stage_table(turned)}")
    print("".join(f"\n{each}\n" for each in more), end="")


if __name__ == "__main__":
    main()
