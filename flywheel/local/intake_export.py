"""Export of Intake's entries as rows: into an answer, or as a JSONL file into the Data Store.

Knows the forms a row may take, those of the Customizer and the Evaluator among them, and which answer of an entry counts: a
reviewer's `response_override` first, then a person's `rewrite`, then what the model said. Does not know how entries are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from flywheel.local.answers import checked
from flywheel.local.dataset_url import parse_dataset_url
from flywheel.local.entities import Described, Name, Url
from flywheel.local.intake_entries import chosen
from flywheel.local.repos import BadName, RepoMissing, Repos, Taken
from flywheel.local.state import Entity, State

_PATH = "/v1/intake/export"
_PREVIEWED = 100


class FormatOptions(BaseModel):
    """The form of a row.

    none: the entry as it is. chat: `messages` (the answer last) and `tools`, as the Customizer trains on. request_response:
    `request` and `response`, as NVIDIA's data flywheel evaluates. dpo: `prompt`, `chosen_response`, `rejected_response`, of
    entries whose answer was rewritten. use_response_override false leaves reviewers' and people's corrections out.
    """

    row_transformation: Literal["none", "chat", "request_response", "dpo"] = "none"
    use_response_override: bool = True


class ExportConfig(BaseModel):
    """Which entries, how many at most, and in which form."""

    filters: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    format_options: FormatOptions | None = None
    limit: Annotated[int, Field(ge=0)] | None = None


class Preview(BaseModel):
    """The body of a preview."""

    config: ExportConfig


class ExportJob(Described):
    """The body of a job; `output_file_url` is `hf://datasets/NAMESPACE/NAME/PATH.jsonl` in the Data Store, its own if missing."""

    namespace: Name = "default"
    config: ExportConfig
    output_file_url: Url | None = None


def router(state: State, repos: Repos) -> APIRouter:
    """The routes under /v1/intake/export. A job is done when its creation is answered."""
    routes = APIRouter(tags=["intake"])

    @routes.post(_PATH + "/preview")
    def preview(body: dict[str, Any]) -> dict[str, Any]:
        config = checked(Preview, body).config
        rows = _rows(state, config)
        return {"config": config.model_dump(mode="json"), "count": len(rows[:_PREVIEWED]), "data": rows[:_PREVIEWED]}

    @routes.post(_PATH + "/jobs")
    def create(body: dict[str, Any]) -> Entity:
        job = checked(ExportJob, body)
        whole = job.model_dump(mode="json") | {"status": "created", "status_details": _details()}
        entity = state.create("intake_export", job.namespace, None, whole)
        return state.update_by_id("intake_export", entity["id"], _run(state, repos, job, entity["id"]))

    @routes.get(_PATH + "/jobs/{job_id}")
    def read(job_id: str) -> Entity:
        job = state.get_by_id("intake_export", job_id)
        if job is None:
            raise HTTPException(404, f"export job {job_id!r} does not exist")
        return job

    return routes


def _details(count: int | None = None, error: str | None = None, progress: float = 0.0) -> dict[str, Any]:
    return {"entries_count": count, "error_message": error, "progress": progress}


def _run(state: State, repos: Repos, job: ExportJob, job_id: str) -> dict[str, Any]:
    """What becomes of the job."""
    url = job.output_file_url or f"hf://datasets/{job.namespace}/intake-exports/{job_id}.jsonl"
    try:
        place = parse_dataset_url(url)
        if not place.path or place.revision != "main":
            raise ValueError(f"{url!r} names no file; end it with a path such as /rows.jsonl")
        rows = _rows(state, job.config)
        with suppress(Taken):
            repos.create("datasets", place.namespace, place.name)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        repos.commit("datasets", place.namespace, place.name, {place.path: text.encode()}, f"Export {job_id}")
    except (ValueError, BadName, RepoMissing) as error:
        return {"status": "failed", "status_details": _details(error=str(error)), "output_file_url": url}
    return {"status": "completed", "status_details": _details(len(rows), progress=100.0), "output_file_url": url}


def _rows(state: State, config: ExportConfig) -> list[dict[str, Any]]:
    options = config.format_options or FormatOptions()
    transform = _TRANSFORMATIONS[options.row_transformation]
    entries = chosen(state, config.filters or {}, config.search, sort="created_at")
    rows = [row for entry in entries if (row := transform(entry, options.use_response_override)) is not None]
    return rows[: config.limit]


def _chat(entry: Entity, corrected: bool) -> dict[str, Any] | None:
    request = entry["data"]["request"]
    message = _message(_response(entry, corrected))
    if message is None:
        return None
    row = {"messages": [*map(_with_objects, request["messages"]), {"role": "assistant", **_with_objects(message)}]}
    return row | ({"tools": request["tools"]} if request.get("tools") else {})


def _request_response(entry: Entity, corrected: bool) -> dict[str, Any] | None:
    return {"request": entry["data"]["request"], "response": _response(entry, corrected)}


def _dpo(entry: Entity, corrected: bool) -> dict[str, Any] | None:
    rejected, rewrite = _message(entry["data"]["response"]), _last(entry, "rewrite")
    if not corrected or rewrite is None or rejected is None or not isinstance(rejected.get("content"), str):
        return None
    prompt = entry["data"]["request"]["messages"]
    return {"prompt": prompt, "chosen_response": rewrite, "rejected_response": rejected["content"]}


_TRANSFORMATIONS: Mapping[str, Callable[[Entity, bool], dict[str, Any] | None]] = {
    "none": lambda entry, _: entry,
    "chat": _chat,
    "request_response": _request_response,
    "dpo": _dpo,
}


def _response(entry: Entity, corrected: bool) -> dict[str, Any]:
    """The response that counts."""
    response: dict[str, Any] = entry["data"]["response"]
    if not corrected:
        return response
    if (override := _last(entry, "response_override")) is not None:
        return dict(override)
    if (rewrite := _last(entry, "rewrite")) is not None:
        return {**response, "choices": [{"index": 0, "message": {"role": "assistant", "content": rewrite}}]}
    return response


def _last(entry: Entity, field: str) -> Any:
    """The newest word on it: events tell it in order, and come after the rating."""
    said = [(entry.get("user_rating") or {}).get(field), *(event.get(field) for event in entry["events"])]
    return next((value for value in reversed(said) if value is not None), None)


def _message(response: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return dict(message) if isinstance(message, Mapping) else None


def _with_objects(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with the arguments of its calls as objects, as training takes them."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return {key: value for key, value in message.items() if key != "tool_calls"}
    return {**message, "content": message.get("content") or "", "tool_calls": [_with_object(call) for call in calls]}


def _with_object(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    except (ValueError, RecursionError):
        return call
