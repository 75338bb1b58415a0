"""What every benchmark prints: the machine it ran on, and tables that can be pasted into a page.

Knows processors, load and Markdown. Does not know what is measured.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

FLAGS = ("avx512_bf16", "amx_bf16")
BUSY_SHARE = 0.5
"""Load average per core from which on other programs are likely to slow the measurement."""


def note(text: str) -> None:
    """Say how far a benchmark is; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def facts() -> str:
    """One line about this machine and its libraries. To be taken before anything is measured: it holds the load average."""
    cores = psutil.cpu_count(logical=False) or 1
    load = os.getloadavg()[0]
    name, flags = _processor()
    line = [f"{cores} cores ({name})", *(f"{flag} {'yes' if flag in flags else 'no'}" for flag in FLAGS)]
    line += [f"{psutil.virtual_memory().total / 1e9:.0f} GB", f"load average at start {load:.1f}"]
    line += [f"Python {sys.version.split()[0]}", f"torch {version('torch')}", f"transformers {version('transformers')}"]
    told = "Machine: " + ", ".join(line)
    busy = load > BUSY_SHARE * cores
    return told + "\nOther programs were busy: times are higher than on an idle machine, trust the ratios." * busy


def _processor() -> tuple[str, set[str]]:
    """The processor's name, and its flags; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown processor", set()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    return known.get("model name", "unknown processor"), set(known.get("flags", "").split())


def serving_threads() -> int:
    """As many threads as the platform gives its engine: one core is left to whoever trains."""
    return max(1, (psutil.cpu_count(logical=False) or 1) - 1)


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median milliseconds of each way, measured in turn, so that a busy moment of the machine meets all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, act in ways.items():
            taken[name].append(milliseconds(act))
    return {name: median(times) for name, times in taken.items()}


def milliseconds(act: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def ratio(value: float, baseline: float) -> str:
    """value / baseline, or a dash where the baseline is nothing."""
    return f"{value / baseline:.2f}" if baseline else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns whose cells are all numbers stand right."""
    cells = [[str(cell) for cell in row] for row in rows]
    right = [all(_is_number(row[place]) for row in cells) for place in range(len(head))]
    widths = [max(3, *(len(row[place]) for row in [list(head), *cells])) for place in range(len(head))]
    rule = [f"{'-' * (width - 1)}:" if number else "-" * width for width, number in zip(widths, right, strict=True)]
    return "\n".join(_line(row, widths, right) for row in [list(head), rule, *cells])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = zip(cells, widths, right, strict=True)
    return "| " + " | ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in parts) + " |"


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace(",", "").isdigit()
