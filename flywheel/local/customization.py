"""What customization jobs, configs and targets look like to a client, and how a job's events become its status.

Pure: shapes and their checks. Knows neither routes nor processes; `training_runner` moves jobs on, `customizer` answers requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from flywheel.local.answers import checked
from flywheel.local.entities import Described, Name, Named, Text, Url
from flywheel.local.hyperparameters import Hyperparameters
from flywheel.local.state import now
from flywheel.local.training_rows import checked_template

WAITING = ("created", "pending", "running")
"""The statuses of a job that is not over."""

TrainingType = Literal["sft", "dpo", "distillation", "grpo"]
FinetuningType = Literal["lora", "lora_merged", "all_weights"]
Precision = Literal["int8", "bf16", "fp16", "fp32", "fp8-mixed", "bf16-mixed"]


JobName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
"""Jobs are known by their id: NVIDIA's blueprint puts whole model names, with their slash, into a job's name."""


class WayToTrain(BaseModel):
    """What a training option is known by."""

    model_config = ConfigDict(extra="allow")
    training_type: TrainingType
    finetuning_type: FinetuningType

    @property
    def pair(self) -> tuple[str, str]:
        """Both types."""
        return self.training_type, self.finetuning_type


class TrainingOption(WayToTrain):
    """One way in which a config may train."""

    num_gpus: int = Field(ge=0)
    micro_batch_size: int = Field(ge=1)
    num_nodes: int = 1
    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    use_sequence_parallel: bool = False


class _Added(BaseModel):
    options: list[TrainingOption]


class _Removed(BaseModel):
    options: list[WayToTrain]


class Config(Named):
    """A customization config: which target, how long its rows may be, and how it may be trained.

    Without a target it is for the base model that it is named after, `model@version`.
    """

    model_config = ConfigDict(extra="allow")
    target: str | dict[str, Any] | None = None
    max_seq_length: int = Field(ge=1)
    training_options: list[TrainingOption] = Field(min_length=1)
    training_precision: Precision = "bf16-mixed"
    prompt_template: Annotated[Text, AfterValidator(checked_template)] | None = None
    chat_prompt_template: Text | None = None


def with_options(config: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """A PATCH body whose `add_training_options` and `remove_training_options` have become the whole list. Raises 422."""
    kept = {key: value for key, value in body.items() if key not in ("add_training_options", "remove_training_options")}
    if len(kept) == len(body):
        return kept
    added = checked(_Added, {"options": body.get("add_training_options") or []}).options
    removed = {one.pair for one in checked(_Removed, {"options": body.get("remove_training_options") or []}).options}
    gone = removed | {one.pair for one in added}
    there = [TrainingOption.model_validate(one) for one in kept.get("training_options", config["training_options"])]
    options = [one for one in there if one.pair not in gone] + added
    return {**kept, "training_options": [one.model_dump(mode="json") for one in options]}


class Target(Named):
    """A customization target: a base model that configs train."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    model_path: Text | None = None
    num_parameters: int = Field(ge=0)
    precision: Precision
    base_model: Text | None = None
    model_uri: Text | None = None
    enabled: bool = True
    status: str = "ready"


class Reference(BaseModel):
    """An entity named by an object instead of `namespace/name`; a data set may be a bare `files_url`."""

    namespace: Name = "default"
    name: Name | None = None
    files_url: Url | None = None

    @classmethod
    def read(cls, value: str | Reference) -> Reference:
        """From either form; a string is an address (`hf://...`) or a name, without a slash one in the namespace `default`."""
        if isinstance(value, Reference):
            return value
        if value.startswith("hf://"):
            return cls.model_construct(files_url=value)
        namespace, slash, name = value.partition("/")
        return cls.model_construct(namespace=namespace, name=name) if slash else cls.model_construct(name=value)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name else str(self.files_url)


class DatasetParameters(BaseModel):
    """Tools offered in every row that brings none of its own."""

    model_config = ConfigDict(extra="allow")
    tools: list[dict[str, Any]] = []


class JobRequest(Described):
    """The body that creates a customization job."""

    model_config = ConfigDict(extra="ignore")
    namespace: Name = "default"
    name: JobName | None = None
    config: str | Config | Reference
    dataset: str | Reference
    hyperparameters: Hyperparameters
    output_model: Text | None = None
    dataset_parameters: DatasetParameters | None = None
    integrations: list[dict[str, Any]] | None = None


def new_details() -> dict[str, Any]:
    """The status details of a job that was just created."""
    stamp = now()
    return {
        "status": "created",
        "created_at": stamp,
        "updated_at": stamp,
        "elapsed_time": 0.0,
        "percentage_done": 0.0,
        "steps_completed": 0,
        "steps_per_epoch": None,
        "epochs_completed": 0,
        "best_epoch": None,
        "tokens": 0,  # this and cpu_seconds are ours: what the training took so far
        "cpu_seconds": 0.0,
        "train_loss": None,
        "val_loss": None,
        "metrics": {"keys": ["train_loss", "val_loss"], "metrics": {"train_loss": [], "val_loss": []}},
        "status_logs": [{"updated_at": stamp, "message": "created", "detail": None}],
    }


def moved(details: Mapping[str, Any], status: str, message: str, detail: str | None = None) -> dict[str, Any]:
    """The details after a change of status, with one more log entry."""
    stamp = now()
    logs = [*details["status_logs"], {"updated_at": stamp, "message": message, "detail": detail}]
    return {**details, "status": status, "updated_at": stamp, "status_logs": logs}


def progressed(details: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The details after what the training child has said so far (see `job_folder`); as they were where it has said nothing."""
    plan = next((event for event in reversed(events) if event["event"] == "plan"), None)
    if plan is None:
        return dict(details)
    steps = [event for event in events if event["event"] == "step"]
    done = steps[-1]["step"] + 1 if steps else 0
    losses = {kind: [_point(event) for event in events if event["event"] == kind] for kind in ("train_loss", "val_loss")}
    best = next((event["epoch"] for event in reversed(events) if event["event"] == "val_loss" and event["best"]), None)
    return {
        **details,
        "updated_at": now(),
        "elapsed_time": _seconds(events[0]["timestamp"], events[-1]["timestamp"]),
        "percentage_done": round(100.0 * done / plan["total_steps"], 2),
        "steps_completed": done,
        "steps_per_epoch": plan["steps_per_epoch"],
        "epochs_completed": steps[-1]["epochs_completed"] if steps else 0,
        "best_epoch": best,
        "tokens": sum(step.get("tokens", 0) for step in steps),
        "cpu_seconds": round(sum(event.get("cpu_seconds", 0.0) for event in events), 3),
        **{kind: points[-1]["value"] if points else None for kind, points in losses.items()},
        "metrics": {"keys": ["train_loss", "val_loss"], "metrics": losses},
    }


def told(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The training child's events as lines of a log."""
    return [f"{event['timestamp'][:19]} {line}" for event in events if (line := _line(event))]


def _line(event: Mapping[str, Any]) -> str:
    match event["event"]:
        case "plan":
            rows, held_out = event["training_rows"], event["validation_rows"]
            warned = "".join(f"; {warning}" for warning in event["warnings"])
            return f"{rows} rows to train on, {held_out} to validate on, {event['total_steps']} steps{warned}"
        case "train_loss":
            return f"step {event['step']}: training loss {event['value']:.4f}"
        case "val_loss":
            best = ", the best so far" if event["best"] else ""
            return f"step {event['step']}, epoch {event['epoch']}: validation loss {event['value']:.4f}{best}"
    return ""


def _point(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": event["step"], "timestamp": event["timestamp"], "value": event["value"]}


def _seconds(start: str, end: str) -> float:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)
