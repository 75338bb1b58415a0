"""Runs of the wheel on the real local platform: promoted, waiting, cancelled, failed, and carried on after any death."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lamps import lamp_row
from nemo_microservices import NeMoMicroservices
from wheel_services import WheelServices

from flywheel import stages
from flywheel.cli_text import Follower
from flywheel.curate import TRAINING_FILE
from flywheel.errors import Conflict, InputError
from flywheel.history import STAGES, Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.platform import ensure_platform
from flywheel.promote import Model, Registry
from flywheel.runs import Wheel, launcher_running, request
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from flywheel.train import Recipe
from tests.conftest import Platform, fix_sides

TINY = Recipe(epochs=3, batch_size=8, learning_rate=2e-3, adapter_dim=8, alpha=16, adapter_dropout=0.0)


def import_rows(store: Store, count: int = 40) -> None:
    """Examples in the ledger."""
    fix_sides(store.database)
    Ledger(store.database).add_import("lamps.jsonl", "0" * 64, enumerate(map(lamp_row, range(count)), 1), [], "a developer")


@pytest.fixture
def settings(platform: Platform, tmp_path: Path) -> Settings:
    """A state folder of its own on the session's platform; a namespace of its own too, so that jobs can be counted."""
    named = Settings(home=tmp_path / "home", namespace=f"ns-{os.urandom(4).hex()}").prepare()
    return named.with_urls(platform.nemo_url, platform.nds_url, platform.nim_url)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in which the base serves."""
    home = Settings(home=tmp_path / "home").prepare()
    opened = Store(home.store_path)
    Registry(opened.database).begin(home.base_model)
    yield opened
    opened.close()


@pytest.fixture
def wheel(settings: Settings, store: Store) -> Iterator[Wheel]:
    """The wheel, launched, with a recipe that takes seconds."""
    launched = Wheel(settings, store, recipe=TINY)
    assert launched.launch()
    yield launched
    launched.shutdown()


@pytest.fixture
def scripted() -> Iterator[WheelServices]:
    """Services whose jobs end when they are told to."""
    with WheelServices(LOCAL_BASE_MODEL) as running:
        yield running


def named(services: WheelServices, tmp_path: Path) -> Settings:
    """The state folder's settings on those services."""
    return Settings(home=tmp_path / "home").with_urls(*(f"{services.url}/{part}" for part in ("nemo", "nds", "nim")))


@pytest.fixture
def scripted_wheel(scripted: WheelServices, tmp_path: Path, store: Store) -> Iterator[Wheel]:
    """The wheel on those services, launched."""
    launched = Wheel(named(scripted, tmp_path), store, recipe=TINY)
    assert launched.launch()
    yield launched
    launched.shutdown()


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return value


def finished(store: Store, run: Run) -> Run:
    """The record of a run at its end."""
    return Follower(lambda text: None).follow(RunRecords(store.database), run.id)


def jobs_of(settings: Settings) -> tuple[list[str], list[str]]:
    """Output models of all customization jobs and descriptions of all evaluation jobs in this test's namespace."""
    ours: Any = {"namespace": settings.namespace}
    with NeMoMicroservices(base_url=settings.nemo_url) as client:
        trained: list[Any] = [job.output_model for job in client.customization.jobs.list(filter=ours)]
        return trained, [str(job.description) for job in client.evaluation.jobs.list(filter=ours)]


# asking for a run ----------------------------------------------------------------------------------------------------


def test_a_run_needs_examples_and_something_new(store: Store) -> None:
    with pytest.raises(InputError, match="no examples"):
        request(store, "me")
    import_rows(store, 3)
    records, ledger = RunRecords(store.database), Ledger(store.database)
    run = request(store, "me")
    with pytest.raises(Conflict, match=run.id):
        request(store, "me")
    ledger.save_dataset(run.id, "d", {}, {example.id: "train" for example in ledger.examples()})
    records.finish(run.id, "failed", error="the platform was away")
    again = request(store, "me")  # what a failed run was to learn is still to be learned
    records.finish(again.id, "succeeded", outcome="waiting")
    with pytest.raises(InputError, match="nothing was approved or imported since"):
        request(store, "me")


def test_a_queued_run_can_be_cancelled_and_only_once(tmp_path: Path, store: Store) -> None:
    import_rows(store, 3)
    nowhere = "http://127.0.0.1:9"
    wheel = Wheel(Settings(home=tmp_path / "home").with_urls(nowhere, nowhere, nowhere), store)
    run = wheel.start("me")
    wheel.cancel(run.id, "a developer")
    ended = RunRecords(store.database).run(run.id)
    assert (ended.status, ended.error) == ("cancelled", "cancelled by a developer")
    with pytest.raises(Conflict, match="has ended"):
        wheel.cancel(run.id, "a developer")
    wheel.shutdown()


def test_services_that_stay_away_end_the_run_with_a_sentence(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "AWAY_SECONDS", 1.0)
    import_rows(store)
    nowhere = "http://127.0.0.1:9"
    wheel = Wheel(Settings(home=tmp_path / "home").with_urls(nowhere, nowhere, nowhere), store)
    assert wheel.launch() and launcher_running(Settings(home=tmp_path / "home"))
    ended = finished(store, wheel.start("me"))
    wheel.shutdown()
    assert not launcher_running(Settings(home=tmp_path / "home"))
    assert ended.status == "failed" and "is the platform running?" in str(ended.error)
    assert [ended.stages[stage]["status"] for stage in ("curate", "upload")] == ["done", "failed"]
    assert Registry(store.database).served().model == LOCAL_BASE_MODEL


def test_a_run_that_no_workflow_carries_on_is_ended(tmp_path: Path, store: Store) -> None:
    import_rows(store, 3)
    run = request(store, "me")
    RunRecords(store.database).begin_stage(run.id, "train")  # as recorded by a process whose runs.db was removed
    nowhere = "http://127.0.0.1:9"
    wheel = Wheel(Settings(home=tmp_path / "home").with_urls(nowhere, nowhere, nowhere), store)
    assert wheel.launch()
    wheel.shutdown()
    ended = RunRecords(store.database).run(run.id)
    assert ended.status == "failed" and "runs.db" in str(ended.error)


def test_examples_that_cannot_train_end_the_run_with_the_reason(tmp_path: Path, store: Store) -> None:
    import_rows(store, 1)
    store.database.execute("UPDATE groups SET side = 'holdout'")
    nowhere = "http://127.0.0.1:9"
    wheel = Wheel(Settings(home=tmp_path / "home").with_urls(nowhere, nowhere, nowhere), store)
    assert wheel.launch()
    ended = finished(store, wheel.start("me"))
    wheel.shutdown()
    assert ended.status == "failed" and "can train" in str(ended.error)


# whole runs ----------------------------------------------------------------------------------------------------------


def test_a_model_put_live_meanwhile_is_not_replaced_unseen(scripted: WheelServices, scripted_wheel: Wheel, store: Store) -> None:
    import_rows(store)
    scripted.held.add("evaluation")
    run = scripted_wheel.start("me")
    registry, records = Registry(store.database), RunRecords(store.database)
    wait_for(lambda: len(scripted.evaluated) == 2)
    registry.add(Model("other/model@v1", LOCAL_BASE_MODEL, None, "candidate", "2026-01-01T00:00:00+00:00"))
    registry.promote("other/model@v1", person="a developer", reason="by hand")
    scripted.held.clear()
    ended = finished(store, run)
    assert (ended.status, ended.outcome) == ("succeeded", "waiting")
    assert registry.served().model == "other/model@v1"
    assert ended.stages["promote"]["status"] == "skipped" and "meanwhile" in ended.stages["promote"]["detail"]["reason"]
    assert ended.candidate and scripted_wheel.promote(ended.candidate, person="a developer", reason="compared by hand")
    assert records.run(run.id).outcome == "promoted"
    with pytest.raises(Conflict, match="NIM does not serve 'other/model@v1'"):
        scripted_wheel.promote("other/model@v1", person="a developer", reason="back")


@pytest.mark.slow
def test_cancelling_in_mid_training_ends_run_and_job(wheel: Wheel, store: Store, settings: Settings) -> None:
    import_rows(store)
    run = wheel.start("me")
    records = RunRecords(store.database)
    wait_for(lambda: records.run(run.id).job_id)
    wheel.cancel(run.id, "a developer")
    ended = records.run(run.id)
    assert (ended.status, ended.stages["train"]["status"]) == ("cancelled", "skipped")
    assert ended.job_id
    with NeMoMicroservices(base_url=settings.nemo_url) as client:
        wait_for(lambda: client.customization.jobs.retrieve(str(ended.job_id)).status == "cancelled", 30)
    time.sleep(2)  # long enough for a step that had not noticed to write
    assert records.run(run.id) == ended
    assert Registry(store.database).served().model == LOCAL_BASE_MODEL


# deaths --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(720)
def test_a_run_goes_from_examples_to_a_promoted_model_though_the_platform_dies_in_training(tmp_path: Path, store: Store) -> None:
    settings, supervisor = ensure_platform(Settings(home=tmp_path / "home").prepare(), log=print)
    assert supervisor is not None
    import_rows(store)
    wheel = Wheel(settings, store, recipe=TINY)
    try:
        assert wheel.launch()
        run = wheel.start("me")
        records = RunRecords(store.database)
        wait_for(lambda: records.run(run.id).job_id and records.run(run.id).progress["percent"] > 0)
        os.kill(json.loads((settings.home / "platform.json").read_text())["platform"]["pid"], signal.SIGKILL)
        ended = finished(store, run)
        assert ended.status == "succeeded", ended.error
        trained, _ = jobs_of(settings)
        assert trained == [ended.candidate]
        with pytest.raises(InputError, match="nothing new"):
            wheel.start("me")
    finally:
        wheel.shutdown()
        supervisor.stop()
    promoted(store, settings, ended)


def promoted(store: Store, settings: Settings, run: Run) -> None:
    """What a run that went well leaves."""
    assert (run.status, run.outcome) == ("succeeded", "promoted"), (run.error, run.verdict)
    assert [run.stages[stage]["status"] for stage in STAGES] == ["done"] * 6
    assert run.scores and run.verdict and run.verdict["verdict"] == "pass"
    right = {label: run.scores[label]["function_name_and_args_accuracy"] for label in ("base", "current", "candidate")}
    assert right["base"] == right["current"] < right["candidate"]
    assert {split for split, _, _ in RunRecords(store.database).losses(run.id)} == {"train", "validation"}
    assert Registry(store.database).served().model == run.candidate
    assert Registry(store.database).promotions()[0].run_id == run.id
    assert Ledger(store.database).dataset(run.id)
    assert (settings.home / "datasets" / run.id / TRAINING_FILE).stat().st_size > 0


def test_another_process_that_stands_by_takes_over(scripted: WheelServices, tmp_path: Path, store: Store) -> None:
    import_rows(store)
    settings = named(scripted, tmp_path)
    scripted.held.add("training")
    first, second = Wheel(settings, store, recipe=TINY), Wheel(settings, store, recipe=TINY)
    assert first.launch() and not second.launch()
    run = second.start("me")  # the first one finds it
    wait_for(lambda: RunRecords(store.database).run(run.id).job_id)
    first.shutdown()
    scripted.held.clear()
    assert finished(store, run).outcome == "promoted"
    second.shutdown()
    assert [job["output_model"] for job in scripted.trained] == [RunRecords(store.database).run(run.id).candidate]
