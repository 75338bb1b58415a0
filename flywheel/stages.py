"""The stages of a run, each safe to repeat: curate, upload, train, evaluate, gate, promote.

Every stage reads what it needs from the records and the run's folder, asks the services, and records what it found; one that is
repeated after a crash finds what it had done. Knows nothing of how stages are strung together and resumed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE, curate
from flywheel.database import now
from flywheel.errors import PlatformError, StorageError
from flywheel.evaluate import Evaluation, read_exam, results, results_of
from flywheel.gate import decide
from flywheel.gate_scores import RowScore
from flywheel.history import Run, RunRecords, Stage
from flywheel.intake import IntakeWorker
from flywheel.ledger import Example, Ledger
from flywheel.nemo import JobState, Nemo
from flywheel.pii import mask
from flywheel.policy import Policy, read_policy
from flywheel.preferences import with_preferences
from flywheel.promote import ITSELF, Model, Registry
from flywheel.quarantine import Quarantine
from flywheel.red_team import with_attacks
from flywheel.rows import Message, Row
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.starter import known_rows, load_old_skills, load_red_team, load_replay
from flywheel.store import Store
from flywheel.train import Recipe, output_model, preference_recipe_for, recipe_for
from flywheel.transport import PlatformAway

P = ParamSpec("P")
T = TypeVar("T")

POLL_SECONDS = 0.5
AWAY_SECONDS = 120.0
"""How long a stage waits for services that are away, since the platform may be starting again."""
LISTED_SECONDS = 600.0
"""How long NIM may take to list the model of a job that has completed."""
SCORES_FILE = "scores.json"


class RunEnded(Exception):
    """Somebody ended the run (cancelled it) while it was under way: leave everything as it is."""


class Pace:
    """Tells the seconds left from the progress seen so far."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def eta(self, percent: float) -> float | None:
        """Seconds until 100 %, or None while too little was seen."""
        if percent <= 0:  # still loading, which says nothing of the pace
            return None
        moment = time.monotonic()
        if self._first is None or percent < self._first[1]:
            self._first = (moment, percent)
        began, first = self._first
        return round((100 - percent) * (moment - began) / (percent - first), 1) if percent > first else None


class Stages:
    """The stages of any run of one installation. `recipe` takes the place of the one made for the base model."""

    def __init__(self, settings: Settings, store: Store, nemo: Nemo, recipe: Recipe | None = None) -> None:
        self._settings = settings
        self._nemo = nemo
        self._recipe = recipe
        self._store = store
        self._database = store.database
        self._records = RunRecords(store.database)
        self._ledger = Ledger(store.database)
        self._registry = Registry(store.database)
        self._intake = IntakeWorker(settings, store)

    # curate and upload -----------------------------------------------------------------------------------------------

    async def curate(self, run_id: str) -> None:
        """Make the dataset and record which example went where; a dataset that was recorded is final."""
        self._begin(run_id, "curate")
        read_policy(self._settings.home)  # a fault in the file is told before anything is trained
        if self._ledger.dataset(run_id) is None:
            await asyncio.to_thread(self._intake.once)  # what was said elsewhere counts, too
            await asyncio.to_thread(self._make_dataset, run_id)
        manifest = self._ledger.dataset(run_id) or {}
        shown = ("digest", "files", "splits", "replay_share", "old_skills", "overlap", "missing", "masked", "quarantined")
        self._end(run_id, "curate", {name: manifest[name] for name in shown} | {"excluded": len(manifest["exclusions"])})

    def _make_dataset(self, run_id: str) -> None:
        caps = read_policy(self._settings.home).caps
        Quarantine(self._database).scan(known_rows(), caps)
        examples = self._ledger.examples()
        made = curate(examples, load_replay(), load_old_skills(), run_id=run_id, caps=caps)
        made = with_attacks(made, load_red_team())
        if self._records.run(run_id).recipe == "dpo":
            spaced = self._settings.base_model != LOCAL_BASE_MODEL
            made = with_preferences(made, examples, self._wrong_answers(examples), spaced=spaced)
        folder = self._folder(run_id)
        draft = folder.with_suffix(".draft")
        try:
            for place in (draft, folder):  # what a crash left
                shutil.rmtree(place, ignore_errors=True)
            for path, content in made.files.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                (draft / path).write_bytes(content)
            draft.rename(folder)
        except OSError as error:
            raise StorageError(f"cannot write the dataset {str(folder)!r}: {error.strerror}; make room and run again") from error
        self._ledger.save_dataset(run_id, made.manifest["digest"], made.manifest, made.splits)

    def _wrong_answers(self, examples: list[Example]) -> dict[str, Message]:
        """Example id → what the model itself had said first, for corrections of its turns; masked as the examples are."""
        wrong: dict[str, Message] = {}
        for example in examples:
            if example.source == "correction" and example.turn_id:
                turn = self._store.turn(example.turn_id)
                said = next((each for each in turn.messages if each["role"] == "assistant"), None)
                if said is not None:
                    whole = Row([*turn.context, {"role": "user", "content": turn.question}, said], turn.tools)
                    wrong[example.id] = mask(whole).row.messages[-1]
        return wrong

    async def upload(self, run_id: str) -> None:
        """Put the dataset into the Data Store and register it."""
        self._begin(run_id, "upload")
        manifest = self._ledger.dataset(run_id) or {}
        files = {path: self._read(run_id, path) for path in manifest["files"]}
        await self._patiently(run_id, self._nemo.ensure_namespace)
        files_url = await self._patiently(run_id, self._nemo.upload, run_id, files)
        self._end(run_id, "upload", {"files_url": files_url, "bytes": sum(map(len, files.values()))})

    # train -----------------------------------------------------------------------------------------------------------

    async def submit_training(self, run_id: str) -> None:
        """Submit the customization job, once, and record it."""
        self._begin(run_id, "train")
        base = self._settings.base_model
        candidate = output_model(self._settings.namespace, base, run_id)
        recipe: Recipe = self._recipe or recipe_for(base, self._read(run_id, TRAINING_FILE).count(b"\n"))
        if self._records.run(run_id).recipe == "dpo":
            recipe = preference_recipe_for(base)
        create = self._nemo.create_training
        job_id = await self._patiently(run_id, create, run_id, run_id, candidate, recipe.hyperparameters())
        self._records.note(run_id, job_id=job_id, candidate=candidate)
        if not self._records.run(run_id).active:  # cancelled just while the job was being created, so nobody knew its id
            await self._patiently(run_id, self._nemo.cancel_training, job_id)

    async def watch_training(self, run_id: str) -> None:
        """Observe the job until it ends and NIM lists its model; then the candidate is on record."""
        run = self._check(run_id)
        assert run.job_id and run.candidate
        pace, known = Pace(), 0
        while not (state := await self._patiently(run_id, self._nemo.training, run.job_id)).finished:
            if len(state.losses) > known:
                self._records.add_losses(run_id, state.losses)
                known = len(state.losses)
            self._show(run_id, state.percent, pace, f"{state.status}, {state.epochs} epochs done")
            await asyncio.sleep(POLL_SECONDS)
        self._records.add_losses(run_id, state.losses)
        self._records.note(run_id, cost={"train": state.took})
        _completed("training", run.job_id, state)
        await self._until_listed(run_id, run.candidate)
        with self._database.transaction():
            self._registry.add(Model(run.candidate, self._settings.base_model, run_id, "candidate", now()))
            self._end(run_id, "train", {"job": run.job_id, "model": run.candidate, "epochs": state.epochs})

    async def _until_listed(self, run_id: str, model: str) -> None:
        deadline = time.monotonic() + LISTED_SECONDS
        while model not in await self._patiently(run_id, self._nemo.model_ids):
            if time.monotonic() > deadline:
                raise PlatformError(f"NIM does not list {model!r} {LISTED_SECONDS:.0f} s after its training; look at NIM's log")
            await asyncio.sleep(POLL_SECONDS)

    # evaluate --------------------------------------------------------------------------------------------------------

    async def submit_evaluations(self, run_id: str) -> dict[str, str]:
        """Submit the candidate, the current model and, unless it is that, the base on the same rows: label → job id."""
        run = self._begin(run_id, "evaluate")
        current = run.current or self._registry.served().model
        self._records.note(run_id, current=current)
        rows = len(read_exam(self._read(run_id, HOLDOUT_FILE)))
        files_url = f"hf://datasets/{self._settings.namespace}/{run_id}/{HOLDOUT_FILE}"
        jobs = {}
        for label, model in self._examined(self._records.run(run_id)).items() if rows else ():
            create = self._nemo.create_evaluation
            jobs[label] = await self._patiently(run_id, create, run_id, label, model, files_url, rows)
        return jobs

    async def watch_evaluations(self, run_id: str, jobs: dict[str, str]) -> None:
        """Observe the jobs until they end; then the scores are on record, and row by row in the run's folder."""
        pace = Pace()
        while True:
            states = {label: await self._patiently(run_id, self._nemo.evaluation, job) for label, job in jobs.items()}
            for label, state in states.items():
                if state.finished:
                    _completed(f"evaluation of the {label} model", jobs[label], state)
            if all(state.finished for state in states.values()):
                break
            percent = sum(state.percent for state in states.values()) / len(states)
            self._show(run_id, percent, pace, ", ".join(f"{label} {state.percent:.0f} %" for label, state in states.items()))
            await asyncio.sleep(POLL_SECONDS)
        exam, run = read_exam(self._read(run_id, HOLDOUT_FILE)), self._check(run_id)
        found = {
            label: await self._patiently(run_id, results, self._nemo, jobs[label], model, exam) if exam else results_of([])
            for label, model in self._examined(run).items()
        }
        await asyncio.to_thread(self._write_scores, run_id, found)
        tokens = sum(state.took.get("tokens", 0) for state in states.values())
        self._records.note(run_id, cost=(run.cost or {}) | {"evaluate": {"tokens": tokens} if tokens else {}})
        scores = {label: evaluation.scores.to_dict() for label, evaluation in found.items()}
        self._records.note(run_id, scores={"base": scores["current"]} | scores)
        self._end(run_id, "evaluate", {"rows": len(exam), "jobs": jobs})

    def _examined(self, run: Run) -> dict[str, str]:
        """Which models are compared: label → model id."""
        assert run.candidate and run.current
        models = {"candidate": run.candidate, "current": run.current}
        return models if run.current == self._settings.base_model else models | {"base": self._settings.base_model}

    def _write_scores(self, run_id: str, found: dict[str, Evaluation]) -> None:
        path = self._folder(run_id) / SCORES_FILE
        try:
            path.with_suffix(".draft").write_text(json.dumps({label: evaluation.rows for label, evaluation in found.items()}))
            path.with_suffix(".draft").replace(path)
        except OSError as error:
            raise StorageError(f"cannot write {str(path)!r}: {error.strerror}; make room and run again") from error

    # gate and promote ------------------------------------------------------------------------------------------------

    async def gate(self, run_id: str) -> None:
        """Judge the candidate."""
        self._begin(run_id, "gate")
        raw = json.loads(self._read(run_id, SCORES_FILE))
        rows = {label: [RowScore(*row) for row in raw[label]] for label in ("candidate", "current")}
        policy = read_policy(self._settings.home).gate
        verdict = await asyncio.to_thread(decide, rows["candidate"], rows["current"], policy)
        self._records.note(run_id, verdict=verdict.to_dict())
        self._end(run_id, "gate", {"verdict": verdict.verdict, "reasons": verdict.reasons})

    async def promote(self, run_id: str) -> None:
        """End the run: put a candidate that passed live, in one transaction, or leave it waiting for a developer."""
        candidate = self._begin(run_id, "promote").candidate
        assert candidate
        await self._until_listed(run_id, candidate)
        policy = read_policy(self._settings.home)
        with self._database.transaction():
            run = self._check(run_id)
            hindrance = self._hindrance(run, policy)
            if hindrance:
                self._records.end_stage(run_id, "promote", {"reason": f"{hindrance}: a developer decides"}, status="skipped")
                self._records.finish(run_id, "succeeded", outcome="waiting")
            elif policy.canary.share and self._registry.served().model != candidate:
                self._registry.begin_canary(candidate, run_id, policy.canary)
                self._end(run_id, "promote", {"model": candidate, "previous": run.current, "canary_share": policy.canary.share})
                self._records.finish(run_id, "succeeded", outcome="canary")
            else:
                reasons = "; ".join((run.verdict or {})["reasons"])
                self._registry.promote(candidate, person=ITSELF, reason=reasons, run_id=run_id)
                self._end(run_id, "promote", {"model": candidate, "previous": run.current})
                self._records.finish(run_id, "succeeded", outcome="promoted")

    def _hindrance(self, run: Run, policy: Policy) -> str | None:
        """Why the candidate does not go live by itself."""
        served, verdict = self._registry.served().model, (run.verdict or {}).get("verdict")
        if verdict != "pass":
            return f"the gate's verdict is {verdict}"
        if served not in (run.current, run.candidate):
            return f"{served!r} was put live meanwhile, and the candidate was compared with {run.current!r}"
        return None if policy.promotion.automatic else "it passed the gate, and policy.toml says that nothing goes live by itself"

    # what all stages share -------------------------------------------------------------------------------------------

    def _check(self, run_id: str) -> Run:
        """The run's record. Raises RunEnded if somebody ended it."""
        run = self._records.run(run_id)
        if not run.active:
            raise RunEnded(run_id)
        return run

    def _begin(self, run_id: str, stage: Stage) -> Run:
        with self._database.transaction():
            self._check(run_id)
            self._records.begin_stage(run_id, stage)
            return self._records.run(run_id)

    def _end(self, run_id: str, stage: Stage, detail: dict[str, Any]) -> None:
        with self._database.transaction():
            self._check(run_id)
            self._records.end_stage(run_id, stage, detail)

    def _show(self, run_id: str, percent: float, pace: Pace, message: str) -> None:
        with self._database.transaction():
            self._check(run_id)
            self._records.progress(run_id, round(percent, 1), pace.eta(percent), message)

    async def _patiently(self, run_id: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a service from a thread, again and again for AWAY_SECONDS while it is away."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return await asyncio.to_thread(call, *args, **kwargs)
            except PlatformAway as away:
                if time.monotonic() > deadline:
                    raise PlatformError(f"gave up after {AWAY_SECONDS:.0f} s: {away}") from away
                self._check(run_id)
                await asyncio.sleep(POLL_SECONDS)

    def _folder(self, run_id: str) -> Path:
        return self._settings.home / "datasets" / run_id

    def _read(self, run_id: str, path: str) -> bytes:
        try:
            return (self._folder(run_id) / path).read_bytes()
        except OSError as error:
            raise StorageError(f"the run's file {path!r} cannot be read: {error.strerror}; start another run") from error


def _completed(what: str, job_id: str, state: JobState) -> None:
    """Raise PlatformError with the job's own reason unless it completed."""
    if state.status == "cancelled":
        raise PlatformError(f"the {what} (job {job_id}) was cancelled at the service; start another run")
    if state.status != "completed":
        raise PlatformError(f"the {what} (job {job_id}) failed: {state.message or 'the service gave no reason; look at its log'}")
