"""Our client of the NeMo services against the real local platform: verbs may be repeated, errors are sentences."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE, VALIDATION_FILE
from flywheel.errors import PlatformError
from flywheel.evaluate import evaluate, exam_of, read_exam, results, score_calls
from flywheel.nemo import Nemo, TrainingState
from flywheel.rows import Row, rows_from, to_nemo_train
from flywheel.settings import LOCAL_BASE_MODEL, NVIDIA_BASE_MODEL, Settings
from flywheel.train import LOCAL_RECIPE, NVIDIA_RECIPE, Recipe, output_model, recipe_for
from flywheel.transport import PlatformAway
from tests.conftest import Platform

QUICK = Recipe(epochs=1, batch_size=8, learning_rate=1e-3, adapter_dim=4, alpha=8, adapter_dropout=0.0).hyperparameters()
LONG = QUICK | {"epochs": 500}


def row(question: str, city: str) -> Row:
    """A row that calls a weather tool."""
    properties = {"city": {"type": "string", "description": "Name of the city"}}
    schema = {"type": "object", "properties": properties, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather in a city", "parameters": schema}}
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    (made,) = rows_from({"messages": messages, "tools": [tool]})
    assert isinstance(made, Row)
    return made


CITIES = ("Rome", "Oslo", "Bern", "Lima", "Cairo", "Quito", "Minsk", "Perth")
ROWS = [row(f"What is the weather like in {city}?", city) for city in CITIES]


def dataset(rows: list[Row]) -> dict[str, bytes]:
    """The three files of a dataset."""
    lines = "".join(json.dumps(to_nemo_train(each)) + "\n" for each in rows).encode()
    return {TRAINING_FILE: lines, VALIDATION_FILE: lines, HOLDOUT_FILE: exam_of(rows)}


@pytest.fixture
def settings(platform: Platform, tmp_path: Path) -> Settings:
    """Settings that name the local platform."""
    return Settings(home=tmp_path).with_urls(platform.nemo_url, platform.nds_url, platform.nim_url)


@pytest.fixture
def nemo(settings: Settings) -> Iterator[Nemo]:
    """A client in our namespace, which exists."""
    client = Nemo(settings)
    client.ensure_namespace()
    yield client
    client.close()


def fresh(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(4)}"


def wait(nemo: Nemo, job_id: str, seconds: float = 120) -> TrainingState:
    """Observe a training job to its end."""
    deadline = time.monotonic() + seconds
    while not (state := nemo.training(job_id)).finished:
        assert time.monotonic() < deadline, state
        time.sleep(0.2)
    return state


def test_namespaces_and_uploads_may_be_repeated(nemo: Nemo, settings: Settings) -> None:
    nemo.ensure_namespace()
    name = fresh("data")
    large = b'{"text": "' + b"x" * 3_000_000 + b'"}\n'
    assert nemo.upload(name, {"training/a.jsonl": b"1\n"}) == f"hf://datasets/flywheel/{name}"
    assert nemo.upload(name, {"training/a.jsonl": b"2\n", "testing/large.jsonl": large}) == f"hf://datasets/flywheel/{name}"
    hub = HfApi(endpoint=f"{settings.nds_url}/v1/hf", token=False)
    local = hub.hf_hub_download(f"flywheel/{name}", "training/a.jsonl", repo_type="dataset", cache_dir=settings.home)
    assert Path(local).read_bytes() == b"2\n"
    (found,) = hub.get_paths_info(f"flywheel/{name}", ["testing/large.jsonl"], repo_type="dataset")
    assert found.size == len(large)


def test_the_config_for_the_base_model_is_found_or_its_absence_explained(nemo: Nemo, settings: Settings) -> None:
    assert nemo.customization_config().startswith(f"{LOCAL_BASE_MODEL}@")
    with closing(Nemo(replace(settings, base_model="no/such"))) as stranger:
        with pytest.raises(PlatformError, match="no customization config for 'no/such'.*CUSTOMIZATION_CONFIG"):
            stranger.customization_config()
    with closing(Nemo(replace(settings, customization_config="a/b@v1"))) as told:
        assert told.customization_config() == "a/b@v1"


@pytest.mark.slow
def test_a_training_is_submitted_once_watched_served_and_removed(nemo: Nemo, platform: Platform, settings: Settings) -> None:
    run_id = fresh("run")
    model = output_model("flywheel", LOCAL_BASE_MODEL, run_id)
    nemo.upload(run_id, dataset(ROWS * 3))
    job_id = nemo.create_training(run_id, run_id, model, QUICK)
    assert nemo.create_training(run_id, run_id, model, QUICK) == job_id == nemo.training_of(model)
    state = wait(nemo, job_id)
    assert state.status == "completed" and state.percent == 100 and state.epochs == 1
    assert {split for split, _, _ in state.losses} == {"train", "validation"}
    assert model in nemo.model_ids() and nemo.model_ids()[0] == LOCAL_BASE_MODEL
    nemo.cancel_training(job_id)
    assert nemo.training(job_id).status == "completed"
    assert state.took["tokens"] > 24 * 50 and 0 < state.took["cpu_seconds"] < 600

    assert (platform.home / "customization" / job_id / "adapter").exists()
    for _ in range(2):  # the second time there is nothing left to remove
        nemo.remove_model(model)
        nemo.remove_dataset(run_id)
    assert model not in nemo.model_ids() and not (platform.home / "customization" / job_id).exists()
    hub = HfApi(endpoint=f"{settings.nds_url}/v1/hf", token=False)
    assert not hub.repo_exists(model.partition("@")[0]) and not hub.repo_exists(f"flywheel/{run_id}", repo_type="dataset")
    assert nemo.training(job_id).status == "completed"  # the record stays


@pytest.mark.slow
def test_a_training_can_be_cancelled(nemo: Nemo) -> None:
    run_id = fresh("run")
    model = output_model("flywheel", LOCAL_BASE_MODEL, run_id)
    nemo.upload(run_id, dataset(ROWS))
    job_id = nemo.create_training(run_id, run_id, model, LONG)
    nemo.cancel_training(job_id)
    assert wait(nemo, job_id, 30).status == "cancelled"
    nemo.cancel_training(job_id)
    assert model not in nemo.model_ids()


@pytest.mark.slow
def test_a_training_that_fails_says_why(nemo: Nemo) -> None:
    run_id = fresh("run")
    nemo.upload(run_id, {TRAINING_FILE: b'{"messages": "none"}\n', VALIDATION_FILE: b""})
    job_id = nemo.create_training(run_id, run_id, output_model("flywheel", LOCAL_BASE_MODEL, run_id), QUICK)
    state = wait(nemo, job_id)
    assert state.status == "failed" and "training.jsonl" in state.message


def test_refusals_say_which_service_refused_what(nemo: Nemo) -> None:
    with pytest.raises(PlatformError, match=r"Customizer at http.*refused to train.*404"):
        nemo.create_training("run-x", "no-such-data", f"flywheel/{fresh('m')}@v1", QUICK)
    with pytest.raises(PlatformError, match=r"Customizer.*'cust-none'.*404"):
        nemo.training("cust-none")
    with pytest.raises(PlatformError, match=r"Evaluator.*'eval-none'.*404"):
        nemo.evaluation("eval-none")


class WithoutRows(Nemo):
    """Services whose archive of results holds no single rows."""

    def evaluation_samples(self, job_id: str) -> None:
        """There are none."""


@pytest.mark.slow
def test_an_evaluation_scores_row_by_row_as_we_would(nemo: Nemo, settings: Settings) -> None:
    content = exam_of(ROWS)
    name = fresh("evaluation")
    url = f"{nemo.upload(name, {HOLDOUT_FILE: content})}/{HOLDOUT_FILE}"
    job_id = nemo.create_evaluation(name, "base", LOCAL_BASE_MODEL, url, len(ROWS))
    assert nemo.create_evaluation(name, "base", LOCAL_BASE_MODEL, url, len(ROWS)) == job_id
    while not (state := nemo.evaluation(job_id)).finished:
        time.sleep(0.2)
    assert state.status == "completed", state
    found = results(nemo, job_id, LOCAL_BASE_MODEL, read_exam(content))
    assert [each.key for each in found.rows] == [each.digest for each in ROWS]
    expected = nemo.evaluation_scores(job_id)
    assert found.scores.overall.function_name_accuracy == pytest.approx(expected["function_name_accuracy"])
    assert found.scores.overall.function_name_and_args_accuracy == pytest.approx(expected["function_name_and_args_accuracy"])
    with closing(WithoutRows(settings)) as poorer:
        asked = results(poorer, job_id, LOCAL_BASE_MODEL, read_exam(content))
    assert asked.scores == found.scores
    timeless = [[each._replace(seconds=None) for each in evaluation.rows] for evaluation in (asked, found)]
    assert timeless[0] == timeless[1]
    assert all(each.tokens and each.seconds and each.called is not None for each in (*asked.rows, *found.rows))


@pytest.mark.slow
def test_an_evaluation_of_an_unknown_model_fails_with_its_name(nemo: Nemo) -> None:
    with pytest.raises(PlatformError, match="no/such"):
        evaluate(nemo, "no/such", ROWS[:2])


def test_services_that_are_away_are_named(tmp_path: Path) -> None:
    root = "http://127.0.0.1:9"
    nowhere = Nemo(Settings(home=tmp_path).with_urls(f"{root}/nemo", f"{root}/nds", f"{root}/nim"))
    with pytest.raises(PlatformAway, match=r"cannot reach the NIM at http://127.0.0.1:9/nim.*is the platform running\?"):
        nowhere.model_ids()
    with pytest.raises(PlatformAway, match="cannot reach the Customizer"):
        nowhere.training("cust-1")
    with pytest.raises(PlatformAway, match="cannot reach the Data Store"):
        nowhere.upload("data", {"a": b"1"})
    nowhere.close()


def test_services_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="NEMO_URL"):
        Nemo(Settings(home=tmp_path))


def call(name: str, arguments: Any) -> dict[str, Any]:
    """A tool call."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("expected", "predicted", "name", "whole"),
    [
        ([call("a", {"x": 1})], [call("a", '{"x": 1.0}')], True, True),
        ([call("a", {"x": 1, "y": "z"})], [call("a", '{"y": "z", "x": 1}')], True, True),
        ([call("a", {}), call("b", {})], [call("b", "{}"), call("a", "")], True, True),
        ([call("a", {"x": "Rome"})], [call("a", '{"x": "rome"}')], True, False),
        ([call("a", {"x": True})], [call("a", '{"x": 1}')], True, False),
        ([call("a", {})], [call("a", "{}"), call("a", "{}")], False, False),
        ([call("a", {})], [call("A", "{}")], False, False),
        ([call("a", {})], [call("a", "{not json")], True, False),
        ([call("a", {})], [], False, False),
        ([], [], True, True),
        ([], [call("a", "{}")], False, False),
    ],
)
def test_score_calls(expected: list[Any], predicted: list[Any], name: bool, whole: bool) -> None:
    assert score_calls(expected, predicted) == (name, whole)


def test_recipes() -> None:
    assert recipe_for(NVIDIA_BASE_MODEL, 10_000) == NVIDIA_RECIPE
    assert recipe_for(LOCAL_BASE_MODEL, 250) == LOCAL_RECIPE
    passes = [recipe_for(LOCAL_BASE_MODEL, rows).epochs for rows in (1, 200, 400, 3000)]
    assert passes == [5, 5, 5, 3]
    assert NVIDIA_RECIPE.hyperparameters()["lora"] == {"adapter_dim": 32, "alpha": 16, "adapter_dropout": 0.1}
    assert output_model("flywheel", LOCAL_BASE_MODEL, "run-1") == "flywheel/tool-llama-5m-run-1@v1"
