"""The wheel killed a thousand times: `python -m tests.benchmarks.kills [--kills N] [--seed N]`.

Real store, real workflow engine, both on disk; the services are scripted. After each death the files are checked.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.machine import facts
from tests.flywheel.kill_room import KillRoom


def main() -> None:
    """Kill and print where."""
    parser = argparse.ArgumentParser(description="kill -9 at every stage of the wheel; nothing may be lost or doubled.")
    parser.add_argument("--kills", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="another order of places and moments")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, KillRoom(Path(folder) / "home", options.seed) as room:
        room.kill(options.kills)
    print(f"{facts()}\n{time.perf_counter() - began:.0f} s\n{room.table()}", file=sys.stdout)


if __name__ == "__main__":
    main()
