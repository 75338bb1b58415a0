"""Runs as people see them: stages, progress, losses, scores, verdict. The record, not the machinery.

Every write may be repeated: a step that runs again after a crash leaves the same record. Knows nothing of dbos or HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.database import Database, dump, now
from flywheel.database import Row as Record
from flywheel.errors import NotFound

Stage = Literal["curate", "upload", "train", "evaluate", "gate", "promote"]
STAGES: tuple[Stage, ...] = ("curate", "upload", "train", "evaluate", "gate", "promote")
RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Method = Literal["sft", "dpo"]
RecipeName = Literal["sft", "dpo", "compare"]
RECIPES: dict[RecipeName, tuple[Method, ...]] = {"sft": ("sft",), "dpo": ("dpo",), "compare": ("sft", "dpo")}
"""Which candidates a run trains. Of several, the first is judged unless another wins against it."""
Outcome = Literal["promoted", "canary", "waiting", "rejected"]


@dataclass(frozen=True)
class Run:
    """One turn of the wheel.

    stages: stage → {status: running | done | failed | skipped, started_at, finished_at, detail}.
    progress: {percent 0-100 of the present stage, eta_seconds or None, message}.
    scores: {"base" | "current" | "candidate": scores of that model on the same rows}. verdict: what the gate said.
    outcome: promoted; canary (it answers a share of the conversations); waiting (for a developer); rejected.
    recipe: which candidates are trained. candidates: each one's {model, job_id, scores, reason why it is judged or not}.
    candidate, job_id: of the one that is judged; where several are trained, it is known at the gate. cost: see `cost.py`.
    removed_at: when its files and its model went; the record stays.
    """

    id: str
    requested_by: str
    created_at: str
    finished_at: str | None
    status: RunStatus
    outcome: Outcome | None
    stages: dict[Stage, dict[str, Any]]
    progress: dict[str, Any]
    job_id: str | None
    candidate: str | None
    current: str | None
    scores: dict[str, Any] | None
    verdict: dict[str, Any] | None
    error: str | None
    recipe: RecipeName = "sft"
    cost: dict[str, Any] | None = None
    removed_at: str | None = None
    candidates: dict[Method, dict[str, Any]] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether it still has something to do."""
        return self.status in ("queued", "running")

    @property
    def datasets(self) -> dict[Method, str]:
        """The id of the data set that each candidate learns from."""
        first, *others = RECIPES[self.recipe]
        return {first: self.id} | {method: f"{self.id}-{method}" for method in others}


def _run(record: Record) -> Run:
    columns = ("stages", "progress", "scores", "verdict", "cost", "candidates")
    return Run(**record | {name: json.loads(record[name]) if record[name] is not None else None for name in columns})


class RunRecords:
    """Records of runs; shares the store's file and connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, run_id: str, requested_by: str, recipe: RecipeName = "sft") -> Run:
        """Record a requested run; one that exists stays as it is."""
        record = {
            "id": run_id,
            "requested_by": requested_by,
            "created_at": now(),
            "status": "queued",
            "stages": "{}",
            "progress": "{}",
            "recipe": recipe,
            "candidates": "{}",
        }
        self._database.insert("runs", record, ignore=True)
        return self.run(run_id)

    def run(self, run_id: str) -> Run:
        """One run. Raises NotFound."""
        record = self._database.first("SELECT * FROM runs WHERE id = ?", (run_id,))
        if record is None:
            raise NotFound(f"no run {run_id!r}; `flywheel runs` lists them")
        return _run(record)

    def runs(self, limit: int = 50) -> list[Run]:
        """Newest first."""
        return [_run(record) for record in self._database.query("SELECT * FROM runs ORDER BY created_at DESC LIMIT ?", (limit,))]

    def active(self) -> Run | None:
        """The oldest run that is queued or running."""
        record = self._database.first("SELECT * FROM runs WHERE status IN ('queued', 'running') ORDER BY created_at LIMIT 1")
        return None if record is None else _run(record)

    def begin_stage(self, run_id: str, stage: Stage) -> None:
        """Light up a stage; a stage that began before a crash keeps its first start."""
        with self._database.transaction():
            stages = self.run(run_id).stages
            stages[stage] = {"status": "running", "started_at": stages.get(stage, {}).get("started_at", now()), "detail": {}}
            progress = {"percent": 0, "eta_seconds": None, "message": ""}
            self._database.update("runs", run_id, {"status": "running", "stages": dump(stages), "progress": dump(progress)})

    def end_stage(self, run_id: str, stage: Stage, detail: dict[str, Any], *, status: str = "done") -> None:
        """Close a stage with what it found."""
        with self._database.transaction():
            stages = self.run(run_id).stages
            stages[stage] = stages.get(stage, {"started_at": now()}) | {"status": status, "finished_at": now(), "detail": detail}
            self._database.update("runs", run_id, {"stages": dump(stages)})

    def progress(self, run_id: str, percent: float, eta_seconds: float | None, message: str) -> None:
        """How far the present stage is."""
        self._database.update(
            "runs", run_id, {"progress": dump({"percent": percent, "eta_seconds": eta_seconds, "message": message})}
        )

    def add_losses(self, run_id: str, losses: list[tuple[str, int, float]]) -> None:
        """Record (split, step, loss) points; known ones are left."""
        rows = [{"run_id": run_id, "split": split, "step": step, "value": value} for split, step, value in losses]
        self._database.insert_many("run_losses", rows, ignore=True)

    def losses(self, run_id: str) -> list[tuple[str, int, float]]:
        """(split, step, loss), by step."""
        rows = self._database.query("SELECT split, step, value FROM run_losses WHERE run_id = ? ORDER BY step, split", (run_id,))
        return [(row["split"], row["step"], row["value"]) for row in rows]

    def note(self, run_id: str, **columns: Any) -> None:
        """Record job_id, candidate, current, scores, verdict or cost."""
        assert columns.keys() <= {"job_id", "candidate", "current", "scores", "verdict", "cost"}, columns
        encoded = {name: dump(value) if name in ("scores", "verdict", "cost") else value for name, value in columns.items()}
        self._database.update("runs", run_id, encoded)

    def note_candidate(self, run_id: str, method: Method, **facts: Any) -> None:
        """Record model, job_id, scores or reason of one candidate; of the only one, also as the run's."""
        with self._database.transaction():
            run = self.run(run_id)
            known = run.candidates | {method: run.candidates.get(method, {}) | facts}
            self._database.update("runs", run_id, {"candidates": dump({m: known[m] for m in run.datasets if m in known})})
            if len(RECIPES[run.recipe]) == 1 and "model" in facts:
                self.note(run_id, candidate=facts["model"], job_id=facts["job_id"])

    def finish(self, run_id: str, status: RunStatus, *, outcome: Outcome | None = None, error: str | None = None) -> None:
        """End a run; the stage that was running takes the same end. A run that has ended keeps its end."""
        with self._database.transaction():
            run = self.run(run_id)
            if not run.active:
                return
            for entry in run.stages.values():
                if entry["status"] == "running":
                    entry |= {"status": "failed" if status == "failed" else "skipped", "finished_at": now()}
            changes = {"status": status, "outcome": outcome, "error": error, "finished_at": now(), "stages": dump(run.stages)}
            self._database.update("runs", run_id, changes)
