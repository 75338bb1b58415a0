"""Runs that train two candidates of one curation: which one is judged, what becomes of the other, and what is kept of both."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner
from feedback import about, calling
from lamps import lamp_row
from wheel_services import WheelServices
from wheel_turned import corrected_turn

from flywheel import runs, stages
from flywheel.__main__ import main
from flywheel.cli_text import Follower
from flywheel.comparison import compare
from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE
from flywheel.erase import Eraser
from flywheel.errors import InputError
from flywheel.gate import Policy, decide
from flywheel.gate_scores import RowScore
from flywheel.history import Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.lineage import Lineage
from flywheel.lineage_picture import columns
from flywheel.nemo import Nemo
from flywheel.promote import Registry
from flywheel.retain import Policy as RetentionPolicy
from flywheel.retain import Retention
from flywheel.runs import Wheel
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from tests.conftest import fix_sides

NAMES = ("SFT", "DPO")


def scored(right: str) -> list[RowScore]:
    """One holdout row a letter: + right, - wrong."""
    return [RowScore(str(n), "holdout", "add", letter == "+", letter == "+") for n, letter in enumerate(right)]


def test_the_challenger_must_win_significantly() -> None:
    won = compare(scored("-----+"), scored("+++++-"), NAMES, alpha=0.2)
    assert won.challenger and won.reason == (
        "DPO wins significantly on the holdout: 5 of 6 whole calls right, SFT 1; 5 won, 1 lost (p = 0.11); the gate judges DPO"
    )
    better = compare(scored("-----+"), scored("+++++-"), NAMES, alpha=0.05)
    assert not better.challenger and better.reason.endswith("the gate judges SFT")
    for usual, challenger in (("+++", "+++"), ("++++++++", "--------"), ("", "")):
        assert not compare(scored(usual), scored(challenger), NAMES, alpha=0.05).challenger


def test_rows_of_other_suites_do_not_count() -> None:
    old = [score._replace(suite="old_skills") for score in scored("+" * 20)]
    lost = [score._replace(suite="old_skills") for score in scored("-" * 20)]
    assert not compare(scored("+-") + lost, scored("-+") + old, NAMES, alpha=0.05).challenger


def test_of_two_candidates_that_are_no_better_none_passes_more_often_than_alpha() -> None:
    """On many rows, where the exact test wastes nothing, the chosen one would pass in 6 % at the whole of alpha."""
    chance, passed, trials = random.Random(7), 0, 1000
    for _ in range(trials):
        first, second, current = (scored("".join("-+"[chance.random() < 0.5] for _ in range(40))) for _ in range(3))
        chosen = second if compare(first, second, NAMES, 0.05).challenger else first
        passed += decide(chosen, current, Policy(), tried=2).verdict == "pass"
    assert 0 < passed / trials <= 0.05
    near = decide(scored("+" * 5), scored("-" * 5)), decide(scored("+" * 5), scored("-" * 5), tried=2)
    assert [verdict.verdict for verdict in near] == ["pass", "inconclusive"]  # p = 1/32


# whole runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[WheelServices]:
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(runs, "LOOK_SECONDS", 0.05)
    with WheelServices(LOCAL_BASE_MODEL) as running:
        yield running


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """Sixty imported rows and some corrections."""
    opened = Store(settings.store_path)
    fix_sides(opened.database)
    Registry(opened.database).begin(LOCAL_BASE_MODEL)
    Ledger(opened.database).add_import("lamps.jsonl", "0" * 64, enumerate(map(lamp_row, range(60)), 1), [], "dev")
    for number in range(6):
        corrected_turn(opened, "ann", about(number, "plugh"), calling(("get_weather", {"city": "Oslo"})))
    opened.database.execute("UPDATE groups SET side = 'train' WHERE id LIKE 'conv-%'")
    yield opened
    opened.close()


def named(services: WheelServices, settings: Settings) -> Settings:
    return settings.with_urls(*(f"{services.url}/{part}" for part in ("nemo", "nds", "nim")))


@pytest.fixture
def wheel(services: WheelServices, settings: Settings, store: Store) -> Iterator[Wheel]:
    launched = Wheel(named(services, settings), store)
    assert launched.launch()
    yield launched
    launched.shutdown()


def ended(wheel: Wheel, store: Store) -> Run:
    run = Follower(lambda text: None).follow(RunRecords(store.database), wheel.start("dev", "compare").id)
    assert run.status == "succeeded", run.error
    return run


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_where_the_two_are_equal_sft_is_judged_and_dpo_is_kept_as_rejected(
    services: WheelServices, wheel: Wheel, store: Store, settings: Settings
) -> None:
    run = ended(wheel, store)
    models = {model.id: model for model in Registry(store.database).models()}
    sft, dpo = (run.candidates[method] for method in ("sft", "dpo"))
    assert (run.candidate, run.job_id, run.outcome) == (sft["model"], sft["job_id"], "promoted")
    assert (models[sft["model"]].status, models[dpo["model"]].status) == ("promoted", "rejected")
    assert models[dpo["model"]].reason == dpo["reason"] == run.stages["gate"]["detail"]["compared"]
    assert "DPO does not win significantly on the holdout: 11 of 11 whole calls right, SFT 11;" in dpo["reason"]
    assert sorted(job["output_model"] for job in services.trained) == sorted([sft["model"], dpo["model"]])
    labels = [job["description"] for job in services.evaluated]
    assert labels == [f"{run.id}/{label}" for label in ("sft", "dpo", "current")]
    assert run.verdict and run.verdict["numbers"]["tried"] == 2
    assert {split for split, _, _ in RunRecords(store.database).losses(run.id)} >= {"train", "dpo train"}
    files = [settings.home / "datasets" / name for name in run.datasets.values()]
    assert (files[0] / HOLDOUT_FILE).read_bytes() == (files[1] / HOLDOUT_FILE).read_bytes()
    assert b"rejected_response" in (files[1] / TRAINING_FILE).read_bytes()
    with pytest.raises(InputError, match=r"is rejected: give a reason"):
        Registry(store.database).promote(dpo["model"], person="dev", reason="")
    with closing(Nemo(named(services, settings))) as nemo:
        Retention(settings, store, RetentionPolicy).remove(run, nemo)
    assert not any(folder.exists() for folder in files)


def test_dpo_is_judged_where_it_wins(services: WheelServices, wheel: Wheel, store: Store) -> None:
    del services.right["sft"]
    run = ended(wheel, store)
    sft, dpo = (run.candidates[method] for method in ("sft", "dpo"))
    assert run.candidate == dpo["model"] == Registry(store.database).served().model and run.scores
    assert run.scores["candidate"] == dpo["scores"] != sft["scores"]
    assert "DPO wins significantly" in str(Registry(store.database).model(sft["model"]).reason)
    said = CliRunner().invoke(main, ["show", run.id])
    assert "SFT" in said.output and "DPO" in said.output and "DPO wins significantly" in said.output
    told = json.loads(CliRunner().invoke(main, ["show", run.id, "--json"]).output)
    assert told["candidates"]["sft"]["scores"]["function_name_and_args_accuracy"] == 0


def test_each_model_leads_to_what_it_learned_from_and_an_erasure_reaches_both(
    wheel: Wheel, store: Store, settings: Settings
) -> None:
    run = ended(wheel, store)
    sft, dpo = (run.candidates[method]["model"] for method in ("sft", "dpo"))
    (through_sft,), (through_dpo,) = (Lineage(store.database).of(model).children for model in (sft, dpo))
    assert through_sft.id == through_dpo.id == run.id
    assert through_sft.children[0].id != through_dpo.children[0].id  # digests
    boxes = {box.id: box for _, found in columns(store.database, run.id) for box in found}
    assert boxes["source correction"].near == [f"dataset {run.id}", f"dataset {run.id}-dpo"]
    assert boxes["replay"].near == [f"dataset {run.id}"]
    assert {f"model {sft}", f"model {dpo}"} <= boxes.keys()
    wheel.shutdown()
    reach = {learner.model: learner.rows for learner in Eraser(settings, store).erase("ann").models}
    assert reach.keys() == {sft, dpo} and 0 < reach[dpo] <= reach[sft]
    left = b"".join(path.read_bytes() for path in (settings.home / "datasets").rglob("*.jsonl"))
    assert b"plugh" not in left and left


def test_cancelling_ends_both_jobs_and_one_that_fails_takes_the_other_along(
    services: WheelServices, wheel: Wheel, store: Store
) -> None:
    services.held.add("training")
    run, records = wheel.start("dev", "compare"), RunRecords(store.database)
    wait_for(lambda: len(records.run(run.id).candidates) == 2)
    wheel.cancel(run.id, "dev")
    assert sorted(services.cancelled) == ["cust-0", "cust-1"]
    services.failing = ("-dpo@v1",)
    failed = Follower(lambda text: None).follow(records, wheel.start("dev", "compare").id)
    assert failed.status == "failed" and "out of memory" in str(failed.error)
    # A job that is being created while its run is cancelled may be cancelled twice.
    assert set(services.cancelled) == {"cust-0", "cust-1", failed.candidates["sft"]["job_id"]}
