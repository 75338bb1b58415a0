"""The Customizer's routes: customization jobs, configs and targets, as NVIDIA's clients call them.

Checks requests and writes jobs down. What a job may name is `customization_catalog`, how it is run `training_runner`, how it
looks `customization`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import TypeAdapter, ValidationError

from flywheel.local.answers import checked
from flywheel.local.customization import WAITING, Config, JobRequest, Reference, Target, new_details, told, with_options
from flywheel.local.customization_catalog import Catalog
from flywheel.local.dataset_url import parse_dataset_url
from flywheel.local.engine import Engine
from flywheel.local.entities import Name, collection
from flywheel.local.hyperparameters import JobWarning, warnings_about
from flywheel.local.job_folder import JobFolder
from flywheel.local.listing import page_of
from flywheel.local.repos import Repos
from flywheel.local.state import Entity, Exists, State
from flywheel.local.training_rows import PROMPT_TEMPLATE
from flywheel.local.training_runner import TrainingRunner

LOG_LINES = 500

_JOBS = "/v1/customization/jobs"
_HIDDEN = ("dataset_files_url",)


class Customizer:
    """Customization jobs over one base model, from request to served adapter."""

    def __init__(self, state: State, repos: Repos, engine: Engine, home: Path, base_id: str, base_path: Path) -> None:
        """Jobs keep their files under `home`/customization. Writes down the base's configs and target where they lack."""
        self._state, self._base_id = state, base_id
        self._folder = home / "customization"
        self._catalog = Catalog(state, repos, base_id, base_path)
        self._runner = TrainingRunner(state, repos, engine, self._folder, base_path)

    async def start(self) -> None:
        """Serve finished adapters and go on with unfinished jobs; needs an engine that is ready."""
        await self._runner.start()

    async def stop(self) -> None:
        """Stop the training child after a checkpoint."""
        await self._runner.stop()

    def forget(self, model: str) -> None:
        """Remove the files (adapter, log) of the jobs that made a model which was deleted; their records stay."""
        for job in self._state.list("customization_job", filter={"output_model": model})[0]:
            if job["status"] not in WAITING:
                shutil.rmtree(self._folder / job["id"], ignore_errors=True)

    def router(self) -> APIRouter:
        """The routes under /v1/customization, and the older path of cancel."""
        routes = APIRouter(tags=["customization"])
        routes.add_api_route(_JOBS, self._create, methods=["POST"])
        routes.add_api_route(_JOBS, self._list, methods=["GET"])
        routes.add_api_route(_JOBS + "/{job_id}", self._read, methods=["GET"])
        routes.add_api_route(_JOBS + "/{job_id}/status", self._status, methods=["GET"])
        routes.add_api_route(_JOBS + "/{job_id}/container-logs", self._logs, methods=["GET"])
        for path in (_JOBS + "/{job_id}/cancel", "/v1/customizations/{job_id}/cancel"):
            routes.add_api_route(path, self._cancel, methods=["POST"])
        configs = collection(
            self._state,
            "customization_config",
            "/v1/customization/configs",
            Config,
            amended=with_options,
            filterable=self._catalog.filterable,
        )
        routes.include_router(configs)
        routes.include_router(collection(self._state, "customization_target", "/v1/customization/targets", Target))
        return routes

    def _create(self, body: dict[str, Any]) -> Entity:
        request = checked(JobRequest, body)
        config = self._catalog.config(request.config)
        option = self._catalog.option(config, request.hyperparameters)
        dataset, url = self._catalog.dataset(request.dataset)
        snapshot = {
            "base_model": self._base_id,
            "max_seq_length": min(config["max_seq_length"], self._catalog.longest_row),
            "precision": config["training_precision"],
            "training_option": option,
            "prompt_template": config["prompt_template"] or PROMPT_TEMPLATE,
            "dataset_schema": None,
        }
        whole = {
            **request.model_dump(mode="json", exclude={"namespace", "name", "config", "dataset"}),
            "config": config if isinstance(request.config, Config) else str(Reference.read(request.config)),
            "config_snapshot": snapshot,
            "dataset": dataset,
            "dataset_files_url": str(url),
            "status": "created",
            "status_details": new_details(),
            "warnings": _warnings(request),
        }
        job = self._write(request, whole)
        self._runner.admit(job["id"])
        return _shown(job)

    def _write(self, request: JobRequest, whole: dict[str, Any]) -> Entity:
        """The job, and the model that is to come of it: both or, where the model's name is taken, neither."""
        with self._state.transaction():
            job = self._state.create("customization_job", request.namespace, request.name, whole)
            if request.output_model is None:
                return job
            namespace, name = _output_model(request, job["id"])
            self._create_model(namespace, name, request)
            return self._state.update_by_id("customization_job", job["id"], {"output_model": f"{namespace}/{name}"})

    def _create_model(self, namespace: str, name: str, request: JobRequest) -> None:
        body = {
            **request.model_dump(mode="json", include={"description", "project", "custom_fields", "ownership"}),
            "base_model": self._base_id,
            "artifact": {
                "files_url": f"hf://{namespace}/{name.partition('@')[0]}",
                "status": "created",
                "backend_engine": "hugging_face",
                "precision": "fp32",
            },
            "peft": {"finetuning_type": "lora", "lora": {"alpha": request.hyperparameters.lora.alpha}},
        }
        former = self._state.get("model", namespace, name)
        # What a failed or cancelled job was to make was never made: its name is free.
        if former and (former.get("artifact") or {}).get("status") == "upload_failed":
            self._state.delete("model", namespace, name)
        try:
            self._state.create("model", namespace, name, body)
        except Exists:
            raise HTTPException(409, f"output_model '{namespace}/{name}' already exists; take another name or version") from None

    def _list(self, request: Request) -> dict[str, Any]:
        return page_of(request, self._state, "customization_job", _shown, filterable=_filterable)

    def _read(self, job_id: str) -> Entity:
        return _shown(self._job(job_id))

    def _status(self, job_id: str) -> dict[str, Any]:
        details: dict[str, Any] = self._job(job_id)["status_details"]
        return details

    def _logs(self, job_id: str) -> dict[str, Any]:
        job = self._job(job_id)
        folder = JobFolder(self._folder / job["id"])
        lines = [*told(folder.events()), *folder.log_tail(LOG_LINES).splitlines()]
        text = "\n".join(lines[-LOG_LINES:])
        entry = {"object": "container", "events": [], "logs": {"training": text}, "status": {"phase": job["status"]}}
        return {"entries": {job["id"]: entry}, "error": None}

    async def _cancel(self, job_id: str) -> Entity:
        job = self._job(job_id)
        if self._runner.move(job_id, "cancelled", "cancelled by request") is None:
            raise HTTPException(409, f"customization job {job_id!r} is {job['status']} already and cannot be cancelled")
        await self._runner.end_child(job_id)
        return self._read(job_id)

    def _job(self, job_id: str) -> Entity:
        job = self._state.get_by_id("customization_job", job_id)
        if job is None:
            raise HTTPException(404, f"customization job {job_id!r} does not exist")
        return job


def _output_model(request: JobRequest, job_id: str) -> tuple[str, str]:
    """Namespace and name of the model to make. A version that was asked for is kept; without one it is the job's id."""
    namespace, slash, name = str(request.output_model).rpartition("/")
    namespace = namespace if slash else request.namespace
    name = name if "@" in name else f"{name}@{job_id}"
    try:
        return _NAME.validate_python(namespace), _NAME.validate_python(name)
    except ValidationError:
        raise HTTPException(422, f"output_model {request.output_model!r} is not NAMESPACE/NAME[@VERSION]") from None


def _warnings(request: JobRequest) -> list[JobWarning]:
    warnings = warnings_about(request.hyperparameters)
    if request.integrations:
        text = "'integrations' are not honoured"
        warnings.append({"message": text, "explanation": "The local Customizer reports to nobody else; read the job's metrics."})
    return warnings


def _filterable(job: Entity) -> dict[str, list[str]]:
    """Jobs are also found by the files of their data set, which are kept with the commit that was trained on."""
    url = parse_dataset_url(job["dataset_files_url"])
    return {"dataset": [job["dataset"], str(url), str(url._replace(revision="main"))]}


def _shown(job: Entity) -> Entity:
    return {key: value for key, value in job.items() if key not in _HIDDEN}


_NAME: TypeAdapter[str] = TypeAdapter(Name)
