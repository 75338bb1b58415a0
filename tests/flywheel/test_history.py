"""The record of runs, as people see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.database import Database
from flywheel.errors import NotFound
from flywheel.history import STAGES, RunRecords


@pytest.fixture
def records(tmp_path: Path) -> Iterator[RunRecords]:
    database = Database(tmp_path / "flywheel.db")
    yield RunRecords(database)
    database.close()


def test_a_run_goes_through_its_stages(records: RunRecords) -> None:
    assert records.create("run-1", "dev").status == "queued"
    for stage in STAGES:
        records.begin_stage("run-1", stage)
        records.progress("run-1", 40, 12.5, "epoch 2")
        assert records.run("run-1").progress == {"percent": 40, "eta_seconds": 12.5, "message": "epoch 2"}
        records.end_stage("run-1", stage, {"stage": stage})
    records.note("run-1", scores={"base": {"count": 3}}, verdict={"verdict": "pass"}, candidate="m", current="base", job_id="j")
    records.finish("run-1", "succeeded", outcome="promoted")
    run = records.run("run-1")
    assert [*run.stages] == [*STAGES] and {entry["status"] for entry in run.stages.values()} == {"done"}
    assert run.stages["gate"]["detail"] == {"stage": "gate"}
    assert (run.status, run.outcome) == ("succeeded", "promoted")
    assert (run.scores, run.verdict) == ({"base": {"count": 3}}, {"verdict": "pass"})
    assert run.finished_at is not None and not run.active


def test_every_write_may_be_repeated(records: RunRecords) -> None:
    records.create("run-1", "dev")
    records.begin_stage("run-1", "train")
    started = records.run("run-1").stages["train"]["started_at"]
    records.begin_stage("run-1", "train")
    assert records.run("run-1").stages["train"]["started_at"] == started
    assert records.create("run-1", "somebody else").requested_by == "dev"
    assert records.run("run-1").status == "running"
    for _ in range(2):
        records.add_losses("run-1", [("train", 1, 2.5), ("validation", 1, 2.6), ("train", 2, 2.0)])
    assert records.losses("run-1") == [("train", 1, 2.5), ("validation", 1, 2.6), ("train", 2, 2.0)]


def test_a_run_that_has_ended_keeps_its_end(records: RunRecords) -> None:
    records.create("run-1", "dev")
    records.begin_stage("run-1", "train")
    records.finish("run-1", "cancelled")
    records.finish("run-1", "failed", error="late")
    run = records.run("run-1")
    assert (run.status, run.error, run.stages["train"]["status"]) == ("cancelled", None, "skipped")


def test_a_failure_is_shown_at_its_stage(records: RunRecords) -> None:
    records.create("run-1", "dev")
    records.begin_stage("run-1", "curate")
    records.end_stage("run-1", "curate", {})
    records.begin_stage("run-1", "upload")
    records.finish("run-1", "failed", error="the Data Store is away")
    run = records.run("run-1")
    assert [entry["status"] for entry in run.stages.values()] == ["done", "failed"]


def test_the_oldest_run_that_is_not_done_is_active(records: RunRecords) -> None:
    assert records.active() is None
    for name in ("run-1", "run-2"):
        records.create(name, "dev")
    active = records.active()
    assert active and active.id == "run-1"
    records.finish("run-1", "failed")
    active = records.active()
    assert active and active.id == "run-2"
    assert [run.id for run in records.runs()] == ["run-2", "run-1"]
    with pytest.raises(NotFound, match="no run 'run-3'"):
        records.run("run-3")
