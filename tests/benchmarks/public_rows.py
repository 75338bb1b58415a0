"""A run on a file of rows from elsewhere: `python -m tests.benchmarks.public_rows FILE [--limit N]`.

Imports the file into a fresh state folder, turns the wheel once, and prints both of NVIDIA's metrics before and after, wall time
by stage and peak memory. The file is in any shape that `flywheel import` takes. Knows nothing of what the rows are about.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from flywheel.errors import InputError
from flywheel.json_records import read_records
from tests.benchmarks import wheel
from tests.benchmarks.machine import facts


def evenly(file: Path, limit: int, folder: Path) -> Path:
    """A file with at most so many of the records, taken at even distances; the order stays. Raises InputError."""
    records = [record.value for record in read_records(file) if record.reason is None]
    count = min(limit, len(records))
    chosen = [records[place * len(records) // count] for place in range(count)]
    sample = folder / f"{file.stem}-{count}.jsonl"
    sample.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in chosen), encoding="utf-8")
    return sample


def main() -> None:
    """Import, run and print."""
    parser = argparse.ArgumentParser(description="Turn the wheel once on a file of rows.")
    parser.add_argument("file", type=Path, help="rows in xLAM shape or OpenAI messages JSONL")
    parser.add_argument("--limit", type=int, help="at most so many records, taken evenly from the file")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    machine = facts()
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder) / "home", options.file
        try:
            file = evenly(file, options.limit, Path(folder)) if options.limit else file
        except InputError as error:
            raise wheel.CommandFailed(str(error)) from error
        report = wheel.import_rows(home, file)
        wheel.say_imported(report)
        turned = wheel.turn(home)
    print(machine)
    print(f"File: {options.file.name}; {report['accepted']} rows imported, {len(report['problems'])} could not be used.")
    print(f"{wheel.summary(turned)}\n\n{wheel.accuracy_table(turned)}\n\n{wheel.stage_table(turned)}")


if __name__ == "__main__":
    main()
