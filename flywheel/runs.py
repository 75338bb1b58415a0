"""The wheel: runs as durable workflows that go on after a crash at the step where they were. The only file that imports dbos.

Runs are asked for in the records; whichever process holds the launcher's lock works them off, one after the other, and another
takes the lock when it goes. Cancelling is written into the record too, which every step reads. Knows the order of the stages and
nothing of what happens in them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flywheel.database import new_id
from flywheel.errors import Conflict, FlywheelError, InputError
from flywheel.history import RecipeName, Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.nemo import Nemo
from flywheel.policy import read_policy
from flywheel.promote import Registry
from flywheel.quarantine import Quarantine
from flywheel.schedule import Outlook, Schedule
from flywheel.settings import Settings
from flywheel.stages import RunEnded, Stages
from flywheel.starter import known_rows
from flywheel.store import Store
from flywheel.train import Recipe, output_model
from flywheel.upkeep import Upkeep

if TYPE_CHECKING:
    from dbos import DBOSConfig

QUEUE = "wheel"
MAX_RECOVERY_ATTEMPTS = 20
"""Every restart of the app during a run counts as one, harmless ones too; beyond so many the run itself is what kills it."""
LOOK_SECONDS = 1.0
POLL_SECONDS = 0.2
"""How often the engine looks for work and for messages."""

logger = logging.getLogger(__name__)


def request(store: Store, person: str, recipe: RecipeName = "sft") -> Run:
    """Ask for a run: a record, which the process that works runs off finds.

    Raises Conflict while another run is under way, InputError if there is nothing (new) to learn.
    """
    records, counts = RunRecords(store.database), Ledger(store.database).counts()
    if not sum(count for source, count in counts.items() if source != "new"):
        raise InputError("there are no examples to learn from: approve corrections in the review tab, or import a file")
    with store.database.transaction():
        active = records.active()
        if active is not None:
            raise Conflict(f"the run {active.id!r} is under way since {active.created_at[:16]}; wait for it or cancel it")
        last = next(iter(records.runs(1)), None)
        done = last is not None and last.status == "succeeded" and last.recipe == recipe
        if last and done and not counts["new"] and not _must_forget(store, last):
            raise InputError(f"nothing was approved or imported since the run {last.id!r}: there is nothing new to learn")
        return records.create(new_id("run"), person, recipe)


def _must_forget(store: Store, run: Run) -> bool:
    """Whether rows that the run's model learned from were erased since, so that the same run again gives another model."""
    return store.database.first("SELECT 1 FROM models WHERE id = ? AND erased_rows > 0", (run.candidate,)) is not None


def launcher_running(settings: Settings) -> bool:
    """Whether some process works runs off now."""
    lock = _launcher_lock(settings)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _launcher_lock(settings: Settings) -> FileLock:
    """Two processes that launch workflows on one file would each carry on the other's runs."""
    return FileLock(settings.home / "runs.lock", timeout=0, thread_local=False)


def schedule_of(settings: Settings, store: Store) -> Schedule:
    """When runs begin by themselves, as the state folder's policy says at the moment of asking."""

    def scan() -> None:
        Quarantine(store.database).scan(known_rows(), read_policy(settings.home).caps)

    return Schedule(store.database, lambda: read_policy(settings.home).schedule, scan)


class Wheel:
    """Starts, cancels and works off runs. One object a process; every method but `launch` may be called from any thread."""

    def __init__(self, settings: Settings, store: Store, *, recipe: Recipe | None = None) -> None:
        """The settings must name the services (see platform.py); they may still be starting. recipe: instead of the usual one."""
        self._settings = settings
        self._nemo = Nemo(settings)
        self._stages = Stages(settings, store, self._nemo, recipe)
        self._store = store
        self._records = RunRecords(store.database)
        self._registry = Registry(store.database)
        self._schedule = schedule_of(settings, store)
        self._lock = _launcher_lock(settings)
        self._launched = False
        self._upkeep = Upkeep(settings, store, self._nemo, lambda: self._launched)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # what people do --------------------------------------------------------------------------------------------------

    def start(self, person: str, recipe: RecipeName = "sft") -> Run:
        """Ask for a run (see `request`); the process that works runs off begins it within a second."""
        return request(self._store, person, recipe)

    def problems(self) -> list[str]:
        """What the policy says that cannot be used, a sentence each."""
        found = self._schedule.outlook().problem, self._upkeep.problem()
        said = ("no run begins by itself", "nobody is told what happens")
        return [f"{what}: {problem}" for what, problem in zip(said, found, strict=True) if problem]

    def outlook(self) -> Outlook:
        """When the next run begins by itself, and why."""
        return self._schedule.outlook()

    def cancel(self, run_id: str, person: str) -> None:
        """End a run, then its jobs; the model that serves goes on serving.

        Raises NotFound, Conflict if it has ended, PlatformError if the run is ended but its job could not be.
        """
        run = self._records.run(run_id)
        if not run.active:
            raise Conflict(f"the run {run_id!r} has ended ({run.status}); there is nothing to cancel")
        self._records.finish(run_id, "cancelled", error=f"cancelled by {person}")
        if "evaluate" in run.stages:
            self._nemo.cancel_evaluations(run_id)
        elif "train" in run.stages:
            for method, dataset_id in run.datasets.items():
                model = output_model(self._settings.namespace, self._settings.base_model, dataset_id)
                job_id = run.candidates.get(method, {}).get("job_id") or self._nemo.training_of(model)
                if job_id:
                    self._nemo.cancel_training(job_id)

    def promote(self, model: str, *, person: str, reason: str) -> bool:
        """Let a model serve; False if it does already.

        Raises NotFound if it is not known, Conflict if NIM does not list it, PlatformError if NIM cannot be asked.
        """
        self._registry.model(model)
        self._require_listed(model)
        return self._registry.promote(model, person=person, reason=reason)

    def _require_listed(self, model: str) -> None:
        listed = self._nemo.model_ids()
        if model not in listed:
            raise Conflict(f"NIM does not serve {model!r}, so it cannot answer; it serves {', '.join(listed) or 'nothing'}")

    # the process that works runs off ---------------------------------------------------------------------------------

    def launch(self) -> bool:
        """Become the process that works runs off, or stand by until the one that does is gone; True if it is this one now.

        Call it from the main thread before an event loop runs, so that workflows get a loop of their own.
        """
        for problem in self.problems():
            logger.warning("%s", problem)
        self._try_launch()
        self._thread = threading.Thread(target=self._look_around, name="wheel", daemon=True)
        self._thread.start()
        self._upkeep.start()
        return self._launched

    def shutdown(self) -> None:
        """Stop working runs off; what is under way goes on at the next launch. The jobs at the services are left running."""
        self._closing.set()
        self._upkeep.stop()
        if self._thread is not None:
            self._thread.join()
        if self._launched:
            from dbos import DBOS

            DBOS.destroy(destroy_registry=True)
            self._launched = False
        self._lock.release()
        self._nemo.close()

    def close(self) -> None:
        """The same as `shutdown`, under the name that `contextlib.closing` calls."""
        self.shutdown()

    def _look_around(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                if self._launched:
                    self._schedule.begin_due(lambda cause: request(self._store, cause))
                    self._enqueue_requested()
                    self._registry.decide_canary()
                else:
                    self._try_launch()
            except FlywheelError as error:  # the disk is full, say: it may pass
                logger.warning("the wheel: %s", error)

    def _try_launch(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            return
        from dbos import DBOS

        connection = sqlite3.connect(self._settings.runs_path)
        connection.execute("PRAGMA journal_mode=WAL")  # else a writer blocks the poller for the length of its commit
        connection.close()
        self._settings.runs_path.chmod(0o600)
        DBOS(config=self._config())
        self._define()
        DBOS.launch()
        DBOS.register_queue(QUEUE, global_concurrency=1, polling_interval_sec=POLL_SECONDS)
        self._launched = True
        self._reconcile()
        self._enqueue_requested()

    def _config(self) -> DBOSConfig:
        from dbos import DBOSPortableJSONSerializer

        return {
            "name": "flywheel",
            "system_database_url": f"sqlite:///{self._settings.runs_path}",
            "application_version": "1",  # raised only when the order of steps changes
            "executor_id": "wheel",
            "serializer": DBOSPortableJSONSerializer(),
            "notification_listener_polling_interval_sec": POLL_SECONDS,
            "log_level": "ERROR",  # it warns of every step that a polite stop interrupts
        }

    def _define(self) -> None:
        """Register the workflow: the wheel on one screen."""
        from dbos import DBOS

        stages, step = self._stages, DBOS.run_step_async

        @DBOS.workflow(name="turn", max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
        async def turn(run_id: str) -> None:
            try:
                await step({"name": "curate"}, stages.curate, run_id)
                await step({"name": "upload"}, stages.upload, run_id)
                await step({"name": "submit_training"}, stages.submit_training, run_id)
                await step({"name": "watch_training", "preemptible": True}, stages.watch_training, run_id)
                jobs = await step({"name": "submit_evaluations"}, stages.submit_evaluations, run_id)
                await step({"name": "watch_evaluations", "preemptible": True}, stages.watch_evaluations, run_id, jobs)
                await step({"name": "gate"}, stages.gate, run_id)
                await step({"name": "promote"}, stages.promote, run_id)
            except Exception as error:
                self._fail(run_id, error)

        self._turn = turn

    def _fail(self, run_id: str, error: Exception) -> None:
        """Record why a run ended, unless somebody ended it."""
        from dbos import PortableWorkflowError  # what an error becomes that was recorded before a crash

        if isinstance(error, RunEnded):
            return
        reason = str(error)
        if not isinstance(error, FlywheelError | PortableWorkflowError):
            logger.error("the run %s failed", run_id, exc_info=error)
            reason = f"a fault of the program, look at the log: {error!r}"
        self._records.finish(run_id, "failed", error=reason)

    def _enqueue_requested(self) -> None:
        """Hand the run that was asked for, here or in another process, to the queue; one that is in it already stays."""
        from dbos import DBOS, SetWorkflowID

        run = self._records.active()
        if run is not None and run.status == "queued":
            with SetWorkflowID(run.id):
                DBOS.enqueue_workflow(QUEUE, self._turn, run.id)

    def _reconcile(self) -> None:
        """End the record of a run that no workflow will carry on."""
        from dbos import DBOS

        run = self._records.active()
        if run is None or run.status != "running":
            return
        reasons = {
            None: "its workflow is not known any more (was runs.db removed?)",
            "CANCELLED": "its workflow was cancelled",
            "MAX_RECOVERY_ATTEMPTS_EXCEEDED": f"it was given up after {MAX_RECOVERY_ATTEMPTS} restarts during the run",
            "ERROR": "it broke off and could not record why; look at the log",
            "SUCCESS": "it ended without recording how; look at the log",
        }
        found = DBOS.get_workflow_status(run.id)
        status = found.status if found else None
        if status in reasons:
            self._records.finish(run.id, "failed", error=f"{reasons[status]}; start another run")
