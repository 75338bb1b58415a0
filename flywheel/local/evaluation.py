"""Evaluation configs, targets and jobs: which fields a client may send, and what an evaluation job looks like.

Pure: shapes and their checks. Knows neither routes nor inference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flywheel.local.entities import Described, Name, Named, Text, Url
from flywheel.local.evaluation_metrics import Metric
from flywheel.local.inference import ModelRef, Params
from flywheel.local.state import Kind, new_id, now

TaskName = Annotated[str, Field(min_length=1, max_length=255)]


class DatasetRef(BaseModel):
    """Rows: a file, or all `*.jsonl` files of a folder, in the Data Store."""

    model_config = ConfigDict(extra="allow")
    files_url: Url
    limit: int | None = Field(default=None, ge=1)


class TaskParams(BaseModel):
    """How a row becomes a request: `template` holds the request's fields as templates over `item`."""

    model_config = ConfigDict(extra="allow")
    template: dict[str, Any]


class Task(BaseModel):
    """One task: rows, the requests made of them, and the metrics of the answers.

    A task of type data asks no model: its metrics look at the rows alone. Without a dataset the target's rows are taken.
    """

    type: Literal["chat-completion", "completion", "data"]
    dataset: str | DatasetRef | None = None
    params: TaskParams | None = None
    metrics: dict[TaskName, Metric] = Field(min_length=1)

    @model_validator(mode="after")
    def _asks(self) -> Task:
        needed = {"chat-completion": "messages", "completion": "prompt"}.get(self.type)
        if needed and not (self.params and needed in self.params.template):
            raise ValueError(f"params.template of a {self.type} task needs {needed!r}, a template over 'item'")
        return self


class EvaluationConfig(Named):
    """An evaluation config; only custom ones can be run here."""

    model_config = ConfigDict(extra="allow")
    type: Literal["custom"]
    tasks: dict[TaskName, Task] = Field(min_length=1)
    params: Params | None = None
    groups: dict[str, Any] | None = None


class EvaluationTarget(Named):
    """What is evaluated: a model, or rows that are there already (sent along, or in the Data Store)."""

    model_config = ConfigDict(extra="allow")
    type: Literal["model", "rows", "dataset"]
    model: str | ModelRef | None = None
    rows: Annotated[list[dict[str, Any]], Field(max_length=10_000)] | None = None
    dataset: str | DatasetRef | None = None

    @model_validator(mode="after")
    def _is_there(self) -> EvaluationTarget:
        if not getattr(self, self.type):
            raise ValueError(f"a target of type {self.type} needs {self.type!r}")
        return self


class EvaluationResult(Described):
    """Scores that a client writes down itself."""

    model_config = ConfigDict(extra="allow")
    namespace: Name = "default"
    job: Text
    tasks: dict[str, Any] = Field(default_factory=dict)
    groups: dict[str, Any] = Field(default_factory=dict)
    files_url: Text | None = None


class JobRequest(Described):
    """The body that creates an evaluation job; config and target by name or as a whole."""

    model_config = ConfigDict(extra="ignore")
    namespace: Name = "default"
    config: str | EvaluationConfig
    target: str | EvaluationTarget
    output_files_url: Text | None = None


def expanded(kind: Kind, value: BaseModel) -> dict[str, Any]:
    """An inline config or target as a job shows it: with id, name, namespace and dates of its own, and so its data sets."""
    whole = value.model_dump(mode="json", exclude_none=True)
    identity, stamp = new_id(kind), now()
    for task in whole.get("tasks", {}).values():
        if isinstance(task.get("dataset"), dict):
            versions = {"id": new_id("dataset"), "schema_version": "1.0", "version_id": "main", "version_tags": []}
            task["dataset"] = {**versions, **task["dataset"]}
    dates = {"id": identity, "name": identity, "namespace": "default", "created_at": stamp, "updated_at": stamp}
    return {**dates, **whole}


def new_details() -> dict[str, Any]:
    """The status details of a job that was just created."""
    return {"message": None, "task_status": {}, "progress": None, "samples_processed": 0}
