"""What a run took: wall time, tokens, processor seconds, and each of them per point gained on the held-out questions.

Pure: a run's record in, numbers out. Services that do not count something are not guessed at: that stays None.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flywheel.history import Run

METRIC = "function_name_and_args_accuracy"


@dataclass(frozen=True)
class Cost:
    """seconds: wall time of all stages. tokens: learned from and evaluated on. points: percentage points of whole calls gained.

    gpu_seconds: what the customization jobs held: the seconds that they ran, times the GPUs of their config.

    None = not known: not reported by the services, or not reached yet.
    """

    seconds: float
    tokens: int | None
    cpu_seconds: float | None
    gpu_seconds: float | None
    points: float | None

    def per_point(self, amount: float | None) -> float | None:
        """So much for each point; None where nothing was gained."""
        return amount / self.points if amount is not None and self.points and self.points > 0 else None


def cost_of(run: Run) -> Cost:
    """What the run has taken so far."""
    stages = [entry for entry in run.stages.values() if entry.get("finished_at")]
    seconds = sum(_moment(entry["finished_at"]) - _moment(entry["started_at"]) for entry in stages)
    tokens, cpu, gpu = (_sum(run, name) for name in ("tokens", "cpu_seconds", "gpu_seconds"))
    return Cost(seconds, None if tokens is None else int(tokens), cpu, gpu, _points(run))


def accuracy(run: Run, who: str, metric: str = METRIC) -> float | None:
    """A metric (0-1) of the run's candidate or current model on the held-out questions, or None."""
    suites = ((run.scores or {}).get(who) or {}).get("suites", {})
    value = (suites.get("holdout") or {}).get(metric)
    return None if value is None else float(value)


def _points(run: Run) -> float | None:
    before, after = accuracy(run, "current"), accuracy(run, "candidate")
    return None if before is None or after is None else 100 * (after - before)


def _sum(run: Run, name: str) -> float | None:
    known = [stage[name] for stage in (run.cost or {}).values() if stage.get(name) is not None]
    return sum(known) if known else None


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
