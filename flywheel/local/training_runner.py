"""Runs customization jobs: one training child at a time, in the order of creation, from the queue to the served adapter.

Knows the jobs in the state, their folders, the child process and the engine; whatever is killed when, a start goes on where it
stood. Does not know HTTP, nor what the child does inside.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flywheel.local.customization import WAITING, moved, progressed
from flywheel.local.dataset_url import parse_dataset_url, split_files
from flywheel.local.engine import Engine
from flywheel.local.job_folder import STOPPED, JobFolder, TrainingSpec, Unfit
from flywheel.local.repos import RepoMissing, Repos, RevisionMissing, Taken
from flywheel.local.state import Entity, State

POLL_SECONDS = 0.5
STOP_SECONDS = 8.0
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class TrainingRunner:
    """The queue of customization jobs and the one child that trains.

    Its methods belong to the event loop, except `admit` and `move`.
    """

    def __init__(self, state: State, repos: Repos, engine: Engine, folder: Path, base_path: Path) -> None:
        """Every job gets a folder of its own under `folder`; `base_path` is the model that is trained."""
        self._state, self._repos, self._engine = state, repos, engine
        self._folder, self._base_path = folder, base_path
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._child: tuple[str, asyncio.subprocess.Process] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Serve the adapters of all finished jobs again, then go on with the jobs that are not over."""
        self._loop = asyncio.get_running_loop()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(self._serve_finished)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Have the child save a checkpoint and leave; the job goes on at the next start."""
        self._stopping = True
        self._wake.set()
        if self._child:
            _signal(self._child[1], signal.SIGTERM)
        if self._task:
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
        if self._child:
            _signal(self._child[1], signal.SIGKILL)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def admit(self, job_id: str) -> None:
        """Take a job that was just created into the queue. May be called from any thread."""
        self.move(job_id, "pending", "waiting for its turn")
        if self._loop:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def end_child(self, job_id: str) -> None:
        """Kill the child that trains this job, if there is one, and wait until it is gone."""
        if self._child and self._child[0] == job_id:
            _signal(self._child[1], signal.SIGKILL)
            await self._child[1].wait()

    def move(self, job_id: str, status: str, message: str, detail: str | None = None) -> Entity | None:
        """Bring a job to a status, with a log entry, and its model with it; None where the job is over already or gone."""
        with self._state.transaction():
            job = self._state.get_by_id("customization_job", job_id)
            if job is None or job["status"] not in WAITING:
                return None
            if status in ("failed", "cancelled"):
                self._change_artifact(job, {"status": "upload_failed"})
            details = moved(job["status_details"], status, message, detail)
            return self._state.update_by_id("customization_job", job_id, {"status": status, "status_details": details})

    async def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            job = await asyncio.to_thread(self._next)
            if job is None:
                await self._wake.wait()
                continue
            try:
                await self._run(job)
            except Unfit as error:
                await self._fail(job, str(error))
            except Exception as error:
                log.exception("customization job %s failed", job["id"])
                await self._fail(job, _reason(error))

    def _next(self) -> Entity | None:
        """The oldest job that is not over."""
        waiting, _ = self._state.list("customization_job", filter={"status": ",".join(WAITING)}, sort="created_at")
        return waiting[0] if waiting else None

    async def _run(self, job: Entity) -> None:
        folder = self._job_folder(job)
        if folder.outcome() is None:
            if folder.spec() is None:
                await asyncio.to_thread(self._prepare, job, folder)
            again = "training started" if job["status"] != "running" else "training goes on from its last checkpoint"
            if await asyncio.to_thread(self.move, job["id"], "running", again) is None:
                return
            status = await self._train(job, folder)
            if self._stopping or status == STOPPED:
                return  # a job that is not over is taken up again: at the next start, or at once by this queue
            if not await asyncio.to_thread(self._is_over, job):
                _check(folder, status)
        await asyncio.to_thread(self._report, job, folder)
        await asyncio.to_thread(self._finish, job, folder)

    def _prepare(self, job: Entity, folder: JobFolder) -> None:
        """Copy the data as it was when the job was created, then the spec. Raises Unfit, OSError."""
        url = parse_dataset_url(job["dataset_files_url"])
        shutil.rmtree(folder.path, ignore_errors=True)
        for split in ("training", "validation"):
            (folder.data / split).mkdir(parents=True)
            for path in self._split_files(job, split):
                blob = self._repos.open_file("datasets", url.namespace, url.name, path, url.revision)
                if blob is None:
                    raise Unfit(f"Dataset {job['dataset']} is not present on datastore: it was deleted; upload it again")
                place = folder.data / path.removeprefix(url.path).lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(blob, place)
        snapshot = job["config_snapshot"]
        tools = (job.get("dataset_parameters") or {}).get("tools") or []
        folder.write_spec(
            TrainingSpec(
                base_id=snapshot["base_model"],
                base_path=self._base_path,
                max_seq_length=snapshot["max_seq_length"],
                hyperparameters=job["hyperparameters"],
                tools=tools,
                prompt_template=snapshot["prompt_template"],
            )
        )

    def _split_files(self, job: Entity, split: str) -> list[str]:
        try:
            return split_files(self._repos, parse_dataset_url(job["dataset_files_url"]), split)
        except (RepoMissing, RevisionMissing) as error:
            raise Unfit(f"Dataset {job['dataset']} is not present on datastore: {error}") from error

    async def _train(self, job: Entity, folder: JobFolder) -> int:
        """Run the child to its end and report on it meanwhile; returns its exit status."""
        # The child's standard input is never written to: its end tells the child that this process is gone.
        with folder.log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flywheel.local.trainer", str(folder.path)),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._child = (job["id"], child)
        if self._stopping or await asyncio.to_thread(self._is_over, job):  # it happened while the child was being started
            _signal(child, signal.SIGKILL)
        try:
            while True:
                try:
                    return await asyncio.wait_for(asyncio.shield(child.wait()), POLL_SECONDS)
                except TimeoutError:
                    await asyncio.to_thread(self._report, job, folder)
        finally:
            self._child = None

    def _is_over(self, job: Entity) -> bool:
        entity = self._state.get_by_id("customization_job", job["id"])
        return entity is None or entity["status"] not in WAITING

    def _report(self, job: Entity, folder: JobFolder) -> None:
        """Bring the job's status details up to what the child has said."""
        events = folder.events()
        plans = [event for event in events if event["event"] == "plan"]
        with self._state.transaction():
            current = self._state.get_by_id("customization_job", job["id"])
            if current is None or current["status"] not in WAITING:
                return
            details = progressed(current["status_details"], events)
            changed = {key for key in details if details[key] != current["status_details"].get(key)} - {"updated_at"}
            if changed:
                texts = plans[-1]["warnings"] if plans else ()
                found = [{"message": text, "explanation": "Seen when training began."} for text in texts]
                warnings = [*job["warnings"], *found]
                self._state.update_by_id("customization_job", job["id"], {"status_details": details, "warnings": warnings})

    def _finish(self, job: Entity, folder: JobFolder) -> None:
        """Keep the adapter and serve it; the job is completed once it answers. Doing it twice does no harm."""
        outcome = folder.outcome()
        if outcome and outcome.status == "failed":
            self.move(job["id"], "failed", "training failed", outcome.detail)
        elif outcome and not self._is_over(job):
            self._publish(job, folder)
        self._tidy(folder)

    def _publish(self, job: Entity, folder: JobFolder) -> None:
        if output := job["output_model"]:
            namespace, _, name = output.partition("/")
            files_url = self._upload(namespace, name, folder.adapter)
            self._engine.load_adapter(output, folder.adapter)
            with self._state.transaction():
                self._change_artifact(job, {"status": "upload_completed", "files_url": files_url})
                done = self.move(job["id"], "completed", f"{output} is served")
            if done is None:
                self._engine.unload_adapter(output)
        else:
            self.move(job["id"], "completed", "trained; no output_model was asked for")

    def _upload(self, namespace: str, name: str, adapter: Path) -> str:
        """Commit the adapter to the model repo named without version, and return the commit's address."""
        repo = name.partition("@")[0]
        try:
            self._repos.create("models", namespace, repo)
        except Taken:
            log.debug("the repo %s/%s is there already", namespace, repo)
        oid = self._repos.commit("models", namespace, repo, {path.name: path for path in adapter.iterdir()}, f"Upload {name}")
        return f"hf://{namespace}/{repo}@{oid}"

    def _tidy(self, folder: JobFolder) -> None:
        # The rows came from people; an erased row must not live on in the folder of a job that is over.
        shutil.rmtree(folder.data, ignore_errors=True)
        folder.checkpoint.unlink(missing_ok=True)

    def _change_artifact(self, job: Entity, changes: Mapping[str, Any]) -> None:
        namespace, _, name = (job["output_model"] or "").partition("/")
        if model := self._state.get("model", namespace, name):
            self._state.update("model", namespace, name, {"artifact": {**model["artifact"], **changes}})

    def _serve_finished(self) -> None:
        for job in self._state.list("customization_job", filter={"status": "completed"}, sort="created_at")[0]:
            namespace, _, name = (job["output_model"] or "").partition("/")
            if self._state.get("model", namespace, name):
                try:
                    self._engine.load_adapter(job["output_model"], self._job_folder(job).adapter)
                except (ValueError, RuntimeError):
                    log.exception("%s cannot be served again", job["output_model"])

    async def _fail(self, job: Entity, detail: str) -> None:
        try:
            await asyncio.to_thread(self.move, job["id"], "failed", "training failed", detail)
            await asyncio.to_thread(self._tidy, self._job_folder(job))
        except (sqlite3.Error, OSError):
            log.exception("cannot record that customization job %s failed; trying again", job["id"])
            await asyncio.sleep(RETRY_SECONDS)

    def _job_folder(self, job: Entity) -> JobFolder:
        return JobFolder(self._folder / job["id"])


def _check(folder: JobFolder, status: int) -> None:
    """Raise Unfit where the child ended without saying how."""
    if folder.outcome() is not None:
        return
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    memory = "; the system does that when memory runs out" if status == -signal.SIGKILL else ""
    last = folder.log_tail()
    raise Unfit(f"the training process {how}{memory}" + (f"\nThe last lines of its log:\n{last}" if last else ""))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk that holds the platform's home: free some, then start the job again"
    return f"the platform could not run the job: {type(error).__name__}: {error}"


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        log.debug("the training process %d is gone already", child.pid)
