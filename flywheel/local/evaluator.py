"""The Evaluator's routes: evaluation jobs, configs, targets and results, as NVIDIA's clients call them.

Checks requests and writes jobs down; `evaluation_queue` runs them, `evaluation` gives them their shape. Does not know how an
answer is scored.
"""

from __future__ import annotations

import shutil
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

from flywheel.local.answers import checked, deleted
from flywheel.local.entities import changed, collection
from flywheel.local.evaluation import (
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    JobRequest,
    expanded,
    new_details,
)
from flywheel.local.evaluation_queue import EvaluationQueue, result_body
from flywheel.local.evaluation_run import Evaluation, Sample
from flywheel.local.inference import EvaluationFailed
from flywheel.local.listing import page_of
from flywheel.local.repos import Repos
from flywheel.local.state import Entity, Kind, State, new_id, now

_BASE = "/v1/evaluation"
_JOB = _BASE + "/jobs/{job_id}"


class Evaluator:
    """Evaluation jobs over whatever answers at NIM's address."""

    def __init__(self, state: State, repos: Repos, nim_url: str) -> None:
        """Models are asked at `nim_url`, the address without /v1, unless a target brings an endpoint."""
        self._state, self._repos, self._nim_url = state, repos, nim_url.rstrip("/")
        self._queue = EvaluationQueue(state, repos, self._nim_url)

    async def start(self) -> None:
        """Run the jobs that are not over; needs a NIM that answers."""
        await self._queue.start()

    async def stop(self) -> None:
        """Leave the job that runs; the next start runs it again."""
        await self._queue.stop()

    def router(self) -> APIRouter:
        """The routes under /v1/evaluation."""
        routes = APIRouter(tags=["evaluation"])
        routes.add_api_route(_BASE + "/jobs", self._create, methods=["POST"])
        routes.add_api_route(_BASE + "/jobs", self._list, methods=["GET"])
        routes.add_api_route(_JOB, self._job, methods=["GET"])
        routes.add_api_route(_JOB, self._delete, methods=["DELETE"], status_code=204, response_class=Response)
        routes.add_api_route(_JOB + "/status", self._status, methods=["GET"])
        routes.add_api_route(_JOB + "/results", self._results, methods=["GET"])
        routes.add_api_route(_JOB + "/download-results", self._download, methods=["GET"], response_class=Response)
        routes.add_api_route(_JOB + "/logs", self._logs, methods=["GET"], response_class=Response)
        routes.add_api_route(_JOB + "/cancel", self._cancel, methods=["POST"])
        routes.add_api_route(_BASE + "/live", self._live, methods=["POST"])
        routes.include_router(collection(self._state, "evaluation_config", _BASE + "/configs", EvaluationConfig))
        routes.include_router(collection(self._state, "evaluation_target", _BASE + "/targets", EvaluationTarget))
        routes.include_router(_result_routes(self._state))
        return routes

    def _create(self, body: dict[str, Any]) -> Entity:
        job = self._state.create("evaluation_job", *self._new_job(checked(JobRequest, body)))
        self._queue.wake()
        return job

    def _new_job(self, request: JobRequest) -> tuple[str, None, dict[str, Any]]:
        whole = {
            **request.model_dump(mode="json", exclude={"namespace", "config", "target"}),
            "config": self._part("evaluation_config", request.config, EvaluationConfig),
            "target": self._part("evaluation_target", request.target, EvaluationTarget),
            "result": None,
            "status": "created",
            "status_details": new_details(),
        }
        return request.namespace, None, whole

    def _part(self, kind: Kind, value: Any, model: type[EvaluationConfig] | type[EvaluationTarget]) -> dict[str, Any]:
        """A config or target as a job shows it, whether it was named or sent along."""
        if not isinstance(value, str):
            return expanded(kind, value)
        namespace, slash, name = value.partition("/")
        entity = self._state.get(kind, *((namespace, name) if slash else ("default", value)))
        if entity is None:
            raise HTTPException(404, f"{kind.replace('_', ' ')} {value!r} does not exist; create it first or send it along")
        return expanded(kind, checked(model, entity)) | {key: entity[key] for key in ("id", "name", "namespace")}

    def _list(self, request: Request) -> dict[str, Any]:
        return page_of(request, self._state, "evaluation_job")

    def _job(self, job_id: str) -> Entity:
        job = self._state.get_by_id("evaluation_job", job_id)
        if job is None:
            raise HTTPException(404, f"evaluation job {job_id!r} does not exist")
        return job

    def _status(self, job_id: str) -> dict[str, Any]:
        details: dict[str, Any] = self._job(job_id)["status_details"]
        return details

    def _results(self, job_id: str) -> Entity:
        job = self._job(job_id)
        result = self._state.get_by_id("evaluation_result", job["result"] or "")
        if result is None:
            raise HTTPException(404, _no_results(job))
        return result

    def _download(self, job_id: str) -> Response:
        job = self._job(job_id)
        archive = self._queue.files(job_id) / "results.zip"
        if job["status"] != "completed" or not archive.exists():
            raise HTTPException(404, _no_results(job))
        return FileResponse(archive, media_type="application/zip", filename=f"{job_id}.zip")

    def _logs(self, job_id: str) -> Response:
        job = self._job(job_id)
        path = self._queue.files(job_id) / "log"
        text = path.read_text(encoding="utf-8") if path.exists() else f"{job['updated_at']} {job['status']}\n"
        packed = BytesIO()
        with ZipFile(packed, "w") as archive:
            archive.writestr("evaluation.log", text)
        return Response(packed.getvalue(), media_type="application/zip")

    async def _cancel(self, job_id: str) -> Entity:
        job = self._job(job_id)
        if self._queue.move(job_id, "cancelled", "cancelled by request") is None:
            raise HTTPException(409, f"evaluation job {job_id!r} is {job['status']} already and cannot be cancelled")
        await self._queue.end(job_id)
        return self._job(job_id)

    async def _delete(self, job_id: str) -> None:
        job = self._job(job_id)
        self._queue.move(job_id, "cancelled", "deleted")
        await self._queue.end(job_id)
        with self._state.transaction():
            self._state.delete_by_id("evaluation_result", job["result"] or "")
            self._state.delete_by_id("evaluation_job", job_id)
        shutil.rmtree(self._queue.files(job_id), ignore_errors=True)

    async def _live(self, body: dict[str, Any]) -> dict[str, Any]:
        """Evaluate while the client waits; nothing is kept."""
        request = checked(JobRequest, body)
        namespace, _, whole = self._new_job(request)
        config, target = EvaluationConfig.model_validate(whole["config"]), EvaluationTarget.model_validate(whole["target"])
        try:
            samples = await Evaluation(self._state, self._repos, self._nim_url, config, target).run(_unheard)
        except EvaluationFailed as error:
            details = {**new_details(), "message": str(error), "task_status": dict.fromkeys(config.tasks, "failed")}
            return {"status": "failed", "status_details": details, "result": None, "logs": {}}
        identity = {"id": new_id("evaluation_result"), "namespace": namespace, "created_at": now(), "updated_at": now()}
        details = {"progress": 100.0, "samples_processed": len(samples), "task_status": dict.fromkeys(config.tasks, "completed")}
        result = {**identity, **result_body({"id": new_id("evaluation_job")}, samples)}
        return {"status": "completed", "status_details": {"message": None, **details}, "result": result, "logs": {}}


def _result_routes(state: State) -> APIRouter:
    """Results are known by id, and clients may write down their own."""
    routes, path = APIRouter(), _BASE + "/results"

    @routes.post(path)
    def create(body: dict[str, Any]) -> Entity:
        whole = checked(EvaluationResult, body).model_dump(mode="json")
        return state.create("evaluation_result", whole["namespace"], None, whole)

    @routes.get(path)
    def list_page(request: Request) -> dict[str, Any]:
        return page_of(request, state, "evaluation_result", filterable=lambda result: {"job_id": result["job"]})

    @routes.get(path + "/{result_id}")
    def read(result_id: str) -> Entity:
        result = state.get_by_id("evaluation_result", result_id)
        if result is None:
            raise HTTPException(404, f"evaluation result {result_id!r} does not exist")
        return result

    @routes.patch(path + "/{result_id}")
    def change(result_id: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            whole = changed(EvaluationResult, read(result_id), body)
            return state.update_by_id("evaluation_result", result_id, whole)

    @routes.delete(path + "/{result_id}")
    def delete(result_id: str) -> dict[str, str]:
        state.delete_by_id("evaluation_result", read(result_id)["id"])
        return deleted(result_id, f"evaluation result {result_id}")

    return routes


def _no_results(job: Entity) -> str:
    reason = job["status_details"]["message"]
    return f"evaluation job {job['id']!r} has no results: it is {job['status']}" + (f" ({reason})" if reason else "")


async def _unheard(_sample: Sample, _total: int) -> None:
    """Nobody follows a live evaluation."""
