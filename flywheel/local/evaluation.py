"""Evaluation configs, targets and jobs: which fields a client may send, and what an evaluation job looks like.

Pure: shapes and their checks. Knows neither routes nor inference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from flywheel.local.entities import Described, Name, Named, Text, Url
from flywheel.local.metrics import CHECKS
from flywheel.local.state import Kind, new_id, now

TASK_TYPES = ("chat-completion",)

TaskName = Annotated[str, Field(min_length=1, max_length=255)]


class DatasetRef(BaseModel):
    """The rows of a task: a file, or all `*.jsonl` files of a folder, in the Data Store."""

    model_config = ConfigDict(extra="allow")
    files_url: Url
    limit: int | None = Field(default=None, ge=1)


class ToolCalling(BaseModel):
    """NVIDIA's tool-calling metric; the ground truth is a template that renders to JSON tool calls."""

    model_config = ConfigDict(extra="allow")
    tool_calls_ground_truth: str


class StringCheck(BaseModel):
    """The string-check metric: two templates and what is asked of them, `[left, operation, right]`."""

    model_config = ConfigDict(extra="allow")
    check: tuple[str, str, str]

    @field_validator("check")
    @classmethod
    def _known(cls, check: tuple[str, str, str]) -> tuple[str, str, str]:
        if check[1] not in CHECKS:
            raise ValueError(f"unknown string check {check[1]!r}; use one of {', '.join(CHECKS)}")
        return check


class ToolCallingMetric(BaseModel):
    """A metric of type tool-calling."""

    type: Literal["tool-calling"]
    params: ToolCalling


class StringCheckMetric(BaseModel):
    """A metric of type string-check."""

    type: Literal["string-check"]
    params: StringCheck


Metric = Annotated[ToolCallingMetric | StringCheckMetric, Field(discriminator="type")]


class TaskParams(BaseModel):
    """How a row becomes a request: `template` holds the request's fields as templates over `item`."""

    model_config = ConfigDict(extra="allow")
    template: dict[str, Any]

    @field_validator("template")
    @classmethod
    def _has_messages(cls, template: dict[str, Any]) -> dict[str, Any]:
        if "messages" not in template:
            raise ValueError("the template needs 'messages', for example '{{ item.messages | tojson }}'")
        return template


class Task(BaseModel):
    """One task: rows, the requests made of them, and the metrics of the answers."""

    type: Literal["chat-completion"]
    dataset: str | DatasetRef
    params: TaskParams
    metrics: dict[TaskName, Metric] = Field(min_length=1)


class Params(BaseModel):
    """What holds for all requests of an evaluation. request_timeout is in seconds."""

    model_config = ConfigDict(extra="allow")
    parallelism: int = Field(default=8, ge=1, le=64)
    request_timeout: float = Field(default=300.0, gt=0)
    max_retries: int = Field(default=3, ge=0, le=20)
    limit_samples: int | None = Field(default=None, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float | None = None
    stop: str | list[str] | None = None
    extra: dict[str, Any] | None = None


class EvaluationConfig(Named):
    """An evaluation config; only custom ones can be run here."""

    model_config = ConfigDict(extra="allow")
    type: Literal["custom"]
    tasks: dict[TaskName, Task] = Field(min_length=1)
    params: Params | None = None
    groups: dict[str, Any] | None = None


class Endpoint(BaseModel):
    """An inference server elsewhere that speaks OpenAI's chat completions."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    url: Url
    model_id: Text
    api_key: Text | None = None


class ModelRef(BaseModel):
    """A model by name, or one behind an endpoint of its own."""

    model_config = ConfigDict(extra="allow")
    namespace: Name | None = None
    name: Name | None = None
    api_endpoint: Endpoint | None = None


class EvaluationTarget(Named):
    """What is evaluated: a model."""

    model_config = ConfigDict(extra="allow")
    type: Literal["model"]
    model: str | ModelRef


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
        if isinstance(task["dataset"], dict):
            versions = {"id": new_id("dataset"), "schema_version": "1.0", "version_id": "main", "version_tags": []}
            task["dataset"] = {**versions, **task["dataset"]}
    dates = {"id": identity, "name": identity, "namespace": "default", "created_at": stamp, "updated_at": stamp}
    return {**dates, **whole}


def new_details() -> dict[str, Any]:
    """The status details of a job that was just created."""
    return {"message": None, "task_status": {}, "progress": None, "samples_processed": 0}
