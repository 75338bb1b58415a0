"""Runs evaluation jobs one after the other, and keeps their rows and scores.

Knows the jobs in the state and their folders. A job that a stop interrupted is run again from its start. Does not know routes,
nor how an answer is scored.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flywheel.local.evaluation import EvaluationConfig, EvaluationTarget, new_details
from flywheel.local.evaluation_run import Evaluation, Sample, task_results
from flywheel.local.inference import EvaluationFailed
from flywheel.local.job_folder import replace_text
from flywheel.local.repos import Repos
from flywheel.local.state import Entity, State, now

WAITING = ("created", "running")
"""The statuses of a job that is not over. Never pending: clients of the real service refuse that."""

log = logging.getLogger(__name__)


class EvaluationQueue:
    """The queue of evaluation jobs. Its methods belong to the event loop, except `wake`, `files` and `move`."""

    def __init__(self, state: State, repos: Repos, nim_url: str) -> None:
        """Every job gets a folder of its own beside the state's file."""
        self._state, self._repos, self._nim_url = state, repos, nim_url
        self._folder = state.root / "evaluation"
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._running: tuple[str, asyncio.Task[None]] | None = None

    async def start(self) -> None:
        """Go on with the jobs that are not over."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Leave the job that runs; it is run again at the next start."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Say that there may be a new job. May be called from any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._wake.set)

    def files(self, job_id: str) -> Path:
        """The folder of a job: results.json, rows.jsonl, results.zip and log, once they are there."""
        return self._folder / job_id

    def move(
        self, job_id: str, status: str, message: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> Entity | None:
        """Bring a job to a status and its details with it; None where the job is over already or gone."""
        with self._state.transaction():
            job = self._state.get_by_id("evaluation_job", job_id)
            if job is None or job["status"] not in WAITING:
                return None
            details = {**job["status_details"], "message": message}
            # A task that is over stays what it was; the others share the job's fate.
            unfinished = "failed" if status in ("failed", "cancelled") else status
            tasks = {**{name: "pending" for name in job["config"]["tasks"]}, **details["task_status"]}
            details["task_status"] = {name: told if told == "completed" else unfinished for name, told in tasks.items()}
            body = {"status": status, "status_details": details, **(changes or {})}
            return self._state.update_by_id("evaluation_job", job_id, body)

    async def end(self, job_id: str) -> None:
        """Stop asking the model for this job, if that is going on."""
        if self._running and self._running[0] == job_id:
            self._running[1].cancel()
            await asyncio.gather(self._running[1], return_exceptions=True)

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            waiting, _ = await asyncio.to_thread(self._waiting)
            if not waiting:
                await self._wake.wait()
                continue
            running = asyncio.create_task(self._run(waiting[0]))
            self._running = (waiting[0]["id"], running)
            try:
                await asyncio.wait([running])
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                self._running = None

    def _waiting(self) -> tuple[list[Entity], int]:
        return self._state.list("evaluation_job", filter={"status": ",".join(WAITING)}, sort="created_at")

    async def _run(self, job: Entity) -> None:
        try:
            changes = {"status_details": new_details()}
            if await asyncio.to_thread(self.move, job["id"], "running", None, changes) is None:
                return
            config, target = EvaluationConfig.model_validate(job["config"]), EvaluationTarget.model_validate(job["target"])
            progress = _JobProgress(self._state, job["id"], config)
            samples = await Evaluation(self._state, self._repos, self._nim_url, config, target).run(progress.tell)
            await asyncio.to_thread(self._complete, job, samples)
        except EvaluationFailed as error:
            await asyncio.to_thread(self._fail, job, str(error))
        except Exception as error:
            log.exception("evaluation job %s failed", job["id"])
            await asyncio.to_thread(self._fail, job, f"the platform could not run the job: {type(error).__name__}: {error}")

    def _fail(self, job: Entity, reason: str) -> None:
        self.move(job["id"], "failed", reason)
        folder = self.files(job["id"])
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_text(folder / "log", f"{now()} failed: {reason}\n")

    def _complete(self, job: Entity, samples: Sequence[Sample]) -> None:
        """Keep rows and scores, then say that the job is done; doing it twice leaves one result."""
        body = result_body(job, samples)
        refused = sum(sample.error is not None for sample in samples)
        message = "Evaluation completed" + (f"; {refused} of {len(samples)} rows were refused and score 0" if refused else "")
        folder = self.files(job["id"])
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        with self._state.transaction():
            result = self._state.create("evaluation_result", job["namespace"], None, body)
            write_results(folder, result, samples, f"{now()} {message}\n")
            if self.move(job["id"], "completed", message, {"result": result["id"]}) is None:
                self._state.delete_by_id("evaluation_result", result["id"])


class _JobProgress:
    """Writes down after every row how far a job is."""

    def __init__(self, state: State, job_id: str, config: EvaluationConfig) -> None:
        self._state, self._job_id = state, job_id
        self._tasks = list(config.tasks)
        self._done = self._tokens = 0

    async def tell(self, sample: Sample, total: int) -> None:
        """One more row is done."""
        self._done += 1
        self._tokens += (sample.usage or {}).get("total_tokens") or 0
        await asyncio.to_thread(self._write, sample.task, self._done, total, self._tokens)

    def _write(self, task: str, done: int, total: int, tokens: int) -> None:
        place = self._tasks.index(task)
        before, after = self._tasks[:place], self._tasks[place + 1 :]
        status = {**dict.fromkeys(before, "completed"), task: "running", **dict.fromkeys(after, "pending")}
        progress = {"progress": round(100.0 * done / total, 2), "samples_processed": done, "task_status": status}
        progress["tokens"] = tokens  # a field of ours: what the job took so far
        with self._state.transaction():
            job = self._state.get_by_id("evaluation_job", self._job_id)
            # Rows that were asked at once are written in any order.
            if job and job["status"] == "running" and done > job["status_details"]["samples_processed"]:
                details = {**job["status_details"], **progress}
                self._state.update_by_id("evaluation_job", self._job_id, {"status_details": details})


def result_body(job: Mapping[str, Any], samples: Sequence[Sample]) -> dict[str, Any]:
    """What a result says besides its own id and dates."""
    return {"job": job["id"], "files_url": None, "custom_fields": {}, "groups": {}, "tasks": task_results(samples)}


def write_results(folder: Path, result: Mapping[str, Any], samples: Sequence[Sample], logged: str) -> None:
    """Write results.json, rows.jsonl and the log, and the zip that holds them."""
    replace_text(folder / "results.json", json.dumps(result, ensure_ascii=False, indent=2))
    replace_text(folder / "rows.jsonl", "".join(sample.line() + "\n" for sample in samples))
    replace_text(folder / "log", logged)
    draft = folder / "results.zip.draft"
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("results.json", "rows.jsonl"):
            archive.write(folder / name, name)
    draft.replace(folder / "results.zip")
