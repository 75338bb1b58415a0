"""How much memory our processes take together, watched from a thread while something else goes on.

Knows process trees. Counts proportional memory (PSS: a page that several processes share counts once) where the system tells it,
else resident memory (RSS). Does not know what the processes do, and misses peaks shorter than the time between two looks.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

LOOK_SECONDS = 0.5


class Use(NamedTuple):
    """Bytes at one moment: `parts` by program, and whether they are PSS."""

    parts: Counter[str]
    proportional: bool

    @property
    def total(self) -> int:
        """All programs together."""
        return sum(self.parts.values())

    @property
    def kind(self) -> str:
        """What was counted."""
        return "PSS" if self.proportional else "RSS"

    @property
    def breakdown(self) -> str:
        """The programs, the largest first."""
        return ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.parts.most_common())


def use_of(roots: Sequence[int]) -> Use:
    """What the processes with these ids and all that they started take now."""
    parts: Counter[str] = Counter()
    proportional = True
    for process in _tree(roots):
        try:
            name, pss = _name(process.cmdline()), _pss(process.pid)
            parts[name] += process.memory_info().rss if pss is None else pss
        except psutil.Error:
            continue  # it has just ended
        proportional = proportional and pss is not None
    return Use(parts, proportional)


class Watch:
    """A context in which the memory of process trees is watched. `roots` gives the ids of their first processes."""

    def __init__(self, roots: Callable[[], Sequence[int]]) -> None:
        self.peak = Use(Counter(), True)
        self._roots = roots
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            use = use_of(self._roots())
            if use.total > self.peak.total:
                self.peak = use


def _tree(roots: Sequence[int]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for root in roots:
        try:
            process = psutil.Process(root)
            found |= {each.pid: each for each in [process, *process.children(recursive=True)]}
        except psutil.Error:
            continue
    return list(found.values())


def _pss(pid: int) -> int | None:
    """Bytes, or None where this system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _name(command: Sequence[str]) -> str:
    """What a person calls the process: its module, with the subcommand of `flywheel`."""
    if "-m" not in command[:-1]:
        return Path(command[0]).name if command else "ended"
    module, *rest = command[command.index("-m") + 1 :]
    return " ".join([module, *rest[:1]]) if module == "flywheel" else module
