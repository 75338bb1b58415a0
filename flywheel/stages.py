"""The stages of a run, each safe to repeat: curate, upload, train, evaluate, gate, promote.

Every stage reads what it needs from the records and the run's folder, asks the services, and records what it found; one that is
repeated after a crash finds what it had done. Knows nothing of how stages are strung together and resumed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from flywheel.comparison import compare
from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE
from flywheel.database import now
from flywheel.dataset import Datasets
from flywheel.errors import PlatformError, StorageError
from flywheel.evaluate import Evaluation, read_exam, results, results_of
from flywheel.gate import decide
from flywheel.gate_scores import RowScore
from flywheel.history import RECIPES, Method, Run, RunRecords, Stage
from flywheel.intake import IntakeWorker
from flywheel.nemo import JobState, Nemo, TrainingState
from flywheel.policy import Policy, read_policy
from flywheel.promote import ITSELF, Model, Registry
from flywheel.settings import Settings
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
        self._database = store.database
        self._records = RunRecords(store.database)
        self._datasets = Datasets(settings, store)
        self._registry = Registry(store.database)
        self._intake = IntakeWorker(settings, store)

    # curate and upload -----------------------------------------------------------------------------------------------

    async def curate(self, run_id: str) -> None:
        """Make the datasets and record which example went where; what was recorded is final."""
        run = self._begin(run_id, "curate")
        read_policy(self._settings.home)  # a fault in the file is told before anything is trained
        if self._datasets.manifest(run_id) is None:
            await asyncio.to_thread(self._intake.once)  # what was said elsewhere counts, too
            await asyncio.to_thread(self._datasets.make, run)
        manifest = self._datasets.manifest(run_id) or {}
        shown = ("digest", "files", "splits", "replay_share", "old_skills", "overlap", "missing", "masked", "quarantined")
        self._end(run_id, "curate", {name: manifest[name] for name in shown} | {"excluded": len(manifest["exclusions"])})

    async def upload(self, run_id: str) -> None:
        """Put the datasets into the Data Store and register them."""
        self._begin(run_id, "upload")
        await self._patiently(run_id, self._nemo.ensure_namespace)
        urls, size = [], 0
        for dataset_id in self._records.run(run_id).datasets.values():
            files = self._datasets.files(dataset_id)
            urls.append(await self._patiently(run_id, self._nemo.upload, dataset_id, files))
            size += sum(map(len, files.values()))
        self._end(run_id, "upload", {"files_url": ", ".join(urls), "bytes": size})

    # train -----------------------------------------------------------------------------------------------------------

    async def submit_training(self, run_id: str) -> None:
        """Submit each candidate's customization job, once, and record it."""
        run, base = self._begin(run_id, "train"), self._settings.base_model
        for method, dataset_id in reversed(run.datasets.items()):  # DPO first: it is what a service may not offer
            model = output_model(self._settings.namespace, base, dataset_id)
            asked = self._recipe_of(method, dataset_id).hyperparameters()
            job_id = await self._patiently(run_id, self._nemo.create_training, dataset_id, dataset_id, model, asked)
            self._records.note_candidate(run_id, method, model=model, job_id=job_id)
            if not self._records.run(run_id).active:  # cancelled just while the job was being created, so nobody knew its id
                await self._patiently(run_id, self._nemo.cancel_training, job_id)
                raise RunEnded(run_id)

    def _recipe_of(self, method: Method, dataset_id: str) -> Recipe:
        base = self._settings.base_model
        if method == "dpo":
            return preference_recipe_for(base)
        return self._recipe or recipe_for(base, self._datasets.read(dataset_id, TRAINING_FILE).count(b"\n"))

    async def watch_training(self, run_id: str) -> None:
        """Observe the jobs until they end and NIM lists their models; then the candidates are on record."""
        run = self._check(run_id)
        jobs: dict[Method, str] = {method: run.candidates[method]["job_id"] for method in run.datasets}
        states = await self._ended(run, jobs)
        self._records.note(run_id, cost={"train": _sum_of(state.took for state in states.values())})
        models = {method: run.candidates[method]["model"] for method in jobs}
        for model in models.values():
            await self._until_listed(run_id, model)
        base, moment = self._settings.base_model, now()
        with self._database.transaction():
            for method, model in models.items():
                self._registry.add(Model(model, base, run_id, "candidate", moment, dataset_id=run.datasets[method]))
            detail = {m: {"job": jobs[m], "model": models[m], "epochs": states[m].epochs} for m in jobs}
            self._end(run_id, "train", {"candidates": detail})

    async def _ended(self, run: Run, jobs: Mapping[Method, str]) -> dict[Method, TrainingState]:
        """Follow the jobs to their end, with losses and progress on record."""
        pace, known = Pace(), dict.fromkeys(jobs, 0)
        while True:
            states = {method: await self._patiently(run.id, self._nemo.training, job) for method, job in jobs.items()}
            for method, state in states.items():
                if len(state.losses) > known[method]:
                    points = [(_split(run, method, split), step, value) for split, step, value in state.losses]
                    self._records.add_losses(run.id, points)
                    known[method] = len(points)
            await self._require_success(run.id, jobs, states)
            if all(state.finished for state in states.values()):
                return states
            percent = sum(state.percent for state in states.values()) / len(states)
            told = {method: f"{state.status}, {state.epochs} epochs done" for method, state in states.items()}
            self._show(run.id, percent, pace, "; ".join(_named(told)))
            await asyncio.sleep(POLL_SECONDS)

    async def _require_success(self, run_id: str, jobs: Mapping[Method, str], states: Mapping[Method, JobState]) -> None:
        """Raise PlatformError for a job that failed; the other, which is for nothing then, is cancelled."""
        for method, state in states.items():
            if state.finished and state.status != "completed":
                for other, job_id in jobs.items():
                    if not states[other].finished:
                        await self._patiently(run_id, self._nemo.cancel_training, job_id)
                _completed("training", jobs[method], state)

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
        rows = len(read_exam(self._datasets.read(run_id, HOLDOUT_FILE)))
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
        exam, run = read_exam(self._datasets.read(run_id, HOLDOUT_FILE)), self._check(run_id)
        found = {
            label: await self._patiently(run_id, results, self._nemo, jobs[label], model, exam) if exam else results_of([])
            for label, model in self._examined(run).items()
        }
        await asyncio.to_thread(self._write_scores, run_id, found)
        tokens = sum(state.took.get("tokens", 0) for state in states.values())
        self._records.note(run_id, cost=(run.cost or {}) | {"evaluate": {"tokens": tokens} if tokens else {}})
        scores = {label: evaluation.scores.to_dict() for label, evaluation in found.items()}
        for label, method in _candidates(run).items():
            self._records.note_candidate(run_id, method, scores=scores[label])
        told = {label: of for label, of in scores.items() if label not in RECIPES["compare"]}
        self._records.note(run_id, scores={"base": scores["current"]} | told)
        self._end(run_id, "evaluate", {"rows": len(exam), "jobs": jobs})

    def _examined(self, run: Run) -> dict[str, str]:
        """Which models are compared: label → model id."""
        assert run.current
        models = {label: run.candidates[method]["model"] for label, method in _candidates(run).items()}
        models["current"] = run.current
        return models if run.current == self._settings.base_model else models | {"base": self._settings.base_model}

    def _write_scores(self, run_id: str, found: dict[str, Evaluation]) -> None:
        path = self._datasets.folder(run_id) / SCORES_FILE
        try:
            path.with_suffix(".draft").write_text(json.dumps({label: evaluation.rows for label, evaluation in found.items()}))
            path.with_suffix(".draft").replace(path)
        except OSError as error:
            raise StorageError(f"cannot write {str(path)!r}: {error.strerror}; make room and run again") from error

    # gate and promote ------------------------------------------------------------------------------------------------

    async def gate(self, run_id: str) -> None:
        """Judge the candidate; of two, the one that `compare` prefers, and the other is set aside."""
        run = self._begin(run_id, "gate")
        raw = json.loads(self._datasets.read(run_id, SCORES_FILE))
        rows = {label: [RowScore(*row) for row in raw[label]] for label in (*_candidates(run), "current")}
        policy = read_policy(self._settings.home).gate
        (label, *others), why = [*_candidates(run)], None
        for other in others:
            won, why = compare(rows[label], rows[other], (label.upper(), other.upper()), policy.alpha)
            label = other if won else label
        verdict = await asyncio.to_thread(decide, rows[label], rows["current"], policy, tried=1 + len(others))
        with self._database.transaction():
            run = self._check(run_id)
            if why is not None:
                self._choose(run, _candidates(run)[label], why)
            self._records.note(run_id, verdict=verdict.to_dict())
        self._end(run_id, "gate", {"verdict": verdict.verdict, "reasons": verdict.reasons} | ({"compared": why} if why else {}))

    def _choose(self, run: Run, chosen: Method, why: str) -> None:
        """Record one candidate as the run's and set the others aside."""
        for method, facts in run.candidates.items():
            self._records.note_candidate(run.id, method, reason=why)
            if method != chosen:
                self._registry.pass_over(facts["model"], why)
        facts = run.candidates[chosen]
        scores = (run.scores or {}) | {"candidate": facts["scores"]}
        self._records.note(run.id, candidate=facts["model"], job_id=facts["job_id"], scores=scores)

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


def _completed(what: str, job_id: str, state: JobState) -> None:
    """Raise PlatformError with the job's own reason unless it completed."""
    if state.status == "cancelled":
        raise PlatformError(f"the {what} (job {job_id}) was cancelled at the service; start another run")
    if state.status != "completed":
        raise PlatformError(f"the {what} (job {job_id}) failed: {state.message or 'the service gave no reason; look at its log'}")


def _candidates(run: Run) -> dict[str, Method]:
    """What each candidate is called beside the current model and the base: label → how it was trained."""
    methods = RECIPES[run.recipe]
    return {"candidate": methods[0]} if len(methods) == 1 else {method: method for method in methods}


def _split(run: Run, method: Method, split: str) -> str:
    """Losses of a second candidate, which measure something else, bear its name."""
    return split if method == RECIPES[run.recipe][0] else f"{method} {split}"


def _named(told: Mapping[Method, str]) -> list[str]:
    return [said if len(told) == 1 else f"{method.upper()} {said}" for method, said in told.items()]


def _sum_of(took: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Together; what one of them does not tell is not told of all."""
    parts = list(took)
    return {name: sum(part[name] for part in parts) for name in parts[0] if all(name in part for part in parts)}
