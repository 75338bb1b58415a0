"""Jobs of the Customizer and the Evaluator: how far one is, what it took, and how it is created only once.

Knows the fields in which the services tell it. Sends nothing by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nemo_microservices.types.customization import CustomizationJob, CustomizationStatusDetails

from flywheel.errors import PlatformError
from flywheel.transport import PlatformAway

CREATION_PAUSES = (0.5, 2.0)
"""Seconds before a job that could not be created is looked for, and if need be created, once more."""

JobStatus = Literal["created", "pending", "running", "cancelling", "cancelled", "failed", "completed", "ready", "unknown"]


@dataclass(frozen=True)
class JobState:
    """How far a job is. percent: 0-100. message: the service's own words, the reason where the job failed.

    took: what the service says the job took so far, of `tokens`, `cpu_seconds` and `gpu_seconds`.
    """

    status: JobStatus
    percent: float
    message: str
    took: dict[str, float] = field(default_factory=dict, kw_only=True)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class TrainingState(JobState):
    """A customization job's state. epochs: those completed; losses: (train | validation, step, loss)."""

    epochs: int
    losses: list[tuple[str, int, float]]


def training_state(details: CustomizationStatusDetails) -> TrainingState:
    """The state that a job's status tells."""
    reasons = [log.detail or log.message or "" for log in details.status_logs or []]
    values = details.metrics.metrics if details.metrics else None
    series = {"train": values.train_loss, "validation": values.val_loss} if values else {}
    losses = [
        (split, point.step, point.value)
        for split, points in series.items()
        for point in points or []
        if point.step is not None and point.value is not None
    ]
    message = next((reason for reason in reversed(reasons) if reason), "")
    status = details.status or "unknown"
    percent, epochs = details.percentage_done or 0.0, details.epochs_completed or 0
    return TrainingState(status, percent, message, epochs, losses, took=took_by(details))


def took_by(details: Any) -> dict[str, float]:
    """What the job took, as the local platform says it in fields of its own; NVIDIA's services have none for it."""
    said = {name: getattr(details, name, None) for name in ("tokens", "cpu_seconds", "gpu_seconds")}
    return {name: value for name, value in said.items() if isinstance(value, int | float)}


def with_gpus(state: TrainingState, details: CustomizationStatusDetails, job: CustomizationJob) -> TrainingState:
    """The state with the GPU-seconds that the job held: the seconds that it ran, on as many GPUs as its config gave it.

    Where the service does not tell both, they stay unknown.
    """
    option = job.config_snapshot.training_option if job.config_snapshot else None
    if "gpu_seconds" in state.took or option is None or details.elapsed_time is None:
        return state
    return replace(state, took=state.took | {"gpu_seconds": details.elapsed_time * option.num_gpus * (option.num_nodes or 1)})


def created_once(find: Callable[[], str | None], create: Callable[[], str]) -> str:
    """The id that `find` gives, or what `create` does: a request that failed may have been heard, so each try looks first."""
    for pause in (*CREATION_PAUSES, None):
        found = find()
        if found is not None:
            return found
        try:
            return create()
        except PlatformAway:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def told_id(value: str | None, service: str) -> str:
    """The id of a job that was created. Raises PlatformError without one."""
    if not value:
        raise PlatformError(f"the {service} accepted the job but gave no id; look at its log")
    return value
