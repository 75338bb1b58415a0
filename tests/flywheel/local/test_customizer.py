"""Customization jobs against the real platform: what is refused and why, and every kill. How they end well is in the contract."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from clients import connect, fresh_namespace, post, upload
from nemo_microservices import NeMoMicroservices, NotFoundError, UnprocessableEntityError

from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH
from flywheel.local.customization_catalog import Catalog
from flywheel.local.repos import Repos
from flywheel.local.state import State
from tests.conftest import Platform, start_platform, stop_platform
from tests.platform_rows import training_rows

CONFIG = "local/tool-llama-5m@v1.0.0+cpu"
SMALL: dict[str, Any] = {
    "training_type": "sft",
    "finetuning_type": "lora",
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "log_every_n_steps": 1,
    "lora": {"adapter_dim": 8, "alpha": 16},
}
ENDLESS: dict[str, Any] = {**SMALL, "epochs": 900}


@pytest.fixture
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    with connect(platform) as client:
        yield client


@pytest.fixture
def namespace(platform: Platform) -> str:
    """A namespace with the data set `rows` in it."""
    namespace = fresh_namespace()
    upload(platform, namespace, {"training/a.jsonl": training_rows(12), "validation/a.jsonl": training_rows(4)})
    return namespace


def create(nemo: NeMoMicroservices, home: str, /, **changes: Any) -> Any:
    """A job on the data set `rows` of the namespace `home`, which makes a model there."""
    body: dict[str, Any] = {
        "config": CONFIG,
        "dataset": {"namespace": home, "name": "rows"},
        "hyperparameters": SMALL,
        "output_model": f"{home}/model@v1",
    }
    return nemo.customization.jobs.create(**{**body, **changes})


def follow(nemo: NeMoMicroservices, job_id: str, seconds: float = 120) -> list[Any]:
    """Every different status of a job until it is over."""
    seen: list[Any] = []
    deadline = time.monotonic() + seconds
    while not seen or seen[-1].status in ("created", "pending", "running"):
        assert time.monotonic() < deadline, seen[-1]
        status = nemo.customization.jobs.status(job_id)
        if not seen or status != seen[-1]:
            seen.append(status)
        time.sleep(0.1)
    return seen


def wait_for_steps(nemo: NeMoMicroservices, job_id: str, steps: int) -> None:
    deadline = time.monotonic() + 90
    while (status := nemo.customization.jobs.status(job_id)).steps_completed < steps:  # type: ignore[operator]
        assert status.status in ("created", "pending", "running") and time.monotonic() < deadline, status
        time.sleep(0.1)


def children(platform: Platform) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if str(platform.home) in " ".join(process.cmdline()) and "flywheel.local.trainer" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def served(platform: Platform) -> list[str]:
    models = httpx.get(f"{platform.nim_url}/v1/models", trust_env=False).json()["data"]
    return [model["id"] for model in models]


def test_a_duplicate_output_model_is_refused_in_one_request(platform: Platform, namespace: str) -> None:
    body = {"config": CONFIG, "dataset": f"{namespace}/rows", "hyperparameters": ENDLESS, "output_model": f"{namespace}/model@v1"}
    first = post(platform, "/v1/customization/jobs", body)
    assert first.status_code == 200
    again = post(platform, "/v1/customization/jobs", body)
    assert again.status_code == 409 and again.headers["x-should-retry"] == "false"
    assert f"{namespace}/model@v1" in again.json()["detail"]
    with connect(platform) as nemo:
        before = nemo.customization.jobs.list(page_size=1).data
        assert nemo.customization.jobs.cancel(first.json()["id"]).status == "cancelled"
        assert before[0].id == first.json()["id"]
        # A cancelled job has made nothing: the name is free.
        second = create(nemo, namespace, hyperparameters=ENDLESS)
        nemo.customization.jobs.cancel(second.id)


def test_what_does_not_exist_is_named(nemo: NeMoMicroservices, namespace: str) -> None:
    with pytest.raises(NotFoundError, match="config 'no/such@v1' does not exist; there are .*local/tool-llama-5m@v1.0.0.cpu"):
        create(nemo, namespace, config="no/such@v1")
    with pytest.raises(NotFoundError, match="dataset 'no/such' does not exist"):
        create(nemo, namespace, dataset="no/such")
    nemo.datasets.create(name="lost", namespace=namespace, files_url=f"hf://datasets/{namespace}/lost")
    with pytest.raises(NotFoundError, match=f"Dataset {namespace}/lost is not present on datastore"):
        create(nemo, namespace, dataset=f"{namespace}/lost")
    with pytest.raises(NotFoundError, match="job 'cust-x' does not exist"):
        nemo.customization.jobs.retrieve("cust-x")
    with pytest.raises(NotFoundError):
        nemo.customization.jobs.cancel("cust-x")
    with pytest.raises(NotFoundError):
        nemo.models.retrieve(namespace=namespace, model_name="model@v1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finetuning_type": "all_weights"}, "offers sft with lora"),
        ({"training_type": "grpo"}, "does not train grpo with lora"),
        ({"training_type": "dpo", "dpo": {"ref_policy_kl_penalty": 0}}, "ref_policy_kl_penalty"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 7}, "learning_rate"),
        ({"min_learning_rate": 1e-2}, "must be below learning_rate"),
        ({"lora": {"adapter_dropout": 1}}, "adapter_dropout"),
    ],
)
def test_hyperparameters_that_cannot_be_meant(nemo: NeMoMicroservices, namespace: str, changes: Any, reason: str) -> None:
    with pytest.raises(UnprocessableEntityError, match=reason):
        create(nemo, namespace, hyperparameters={**SMALL, **changes})


def test_a_data_set_without_training_files(platform: Platform, nemo: NeMoMicroservices) -> None:
    namespace = fresh_namespace()
    upload(platform, namespace, {"testing/a.jsonl": training_rows(2)})
    with pytest.raises(UnprocessableEntityError, match="has no training files; upload JSONL files into training/"):
        create(nemo, namespace)


@pytest.mark.slow
def test_cancel_ends_the_child_at_once_and_the_queue_goes_on(platform: Platform, nemo: NeMoMicroservices, namespace: str) -> None:
    running = create(nemo, namespace, hyperparameters=ENDLESS)
    queued = create(nemo, namespace, hyperparameters=ENDLESS, output_model=f"{namespace}/queued@v1")
    wait_for_steps(nemo, running.id, 1)
    assert nemo.customization.jobs.status(queued.id).status == "pending"
    assert len(children(platform)) == 1
    began = time.monotonic()
    assert nemo.customization.jobs.cancel(running.id).status == "cancelled"
    assert time.monotonic() - began < 2
    wait_for_steps(nemo, queued.id, 1)
    assert len(children(platform)) == 1
    began = time.monotonic()
    reply = httpx.post(f"{platform.nemo_url}/v1/customizations/{queued.id}/cancel", trust_env=False)
    assert reply.status_code == 200 and reply.json()["status"] == "cancelled"
    assert time.monotonic() - began < 2
    assert children(platform) == []
    assert nemo.customization.jobs.status(running.id).status_logs[-1].message == "cancelled by request"


@pytest.mark.slow
def test_a_child_that_dies_fails_the_job(platform: Platform, nemo: NeMoMicroservices, namespace: str) -> None:
    job = create(nemo, namespace, hyperparameters=ENDLESS)
    wait_for_steps(nemo, job.id, 1)
    children(platform)[0].kill()
    last = follow(nemo, job.id)[-1]
    assert last.status == "failed"
    assert "killed by SIGKILL" in last.status_logs[-1].detail


@pytest.mark.slow
@pytest.mark.timeout(480)  # six starts of the platform
def test_a_job_survives_a_stop_and_a_kill_of_the_platform(tmp_path: Path) -> None:
    """Once SIGTERM, once SIGKILL of platform and child together, once of the platform alone: one job, every step once."""
    home = tmp_path / "home"
    platform = start_platform(home)
    upload(platform, "ns", {"training/a.jsonl": training_rows(12), "validation/a.jsonl": training_rows(4)})
    with connect(platform) as nemo:
        job = create(nemo, "ns", hyperparameters={**SMALL, "epochs": 14})
        wait_for_steps(nemo, job.id, 3)
    stop_platform(platform)
    assert children(platform) == []
    events = home / "customization" / job.id / "metrics.jsonl"
    assert (events.parent / "checkpoint.safetensors").exists()
    for alone in (False, True):
        platform = start_platform(home)
        with connect(platform) as nemo:
            status = nemo.customization.jobs.status(job.id)
            wait_for_steps(nemo, job.id, (status.steps_completed or 0) + 3)
        victims = [platform.process.pid] + ([] if alone else [child.pid for child in children(platform)])
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        platform.process.wait()
        assert platform.process.stdout is not None
        platform.process.stdout.close()
    platform = start_platform(home)
    with connect(platform) as nemo:
        last = follow(nemo, job.id)[-1]
        assert len(nemo.customization.jobs.list().data) == 1
    assert last.status == "completed", last
    assert [point.step for point in last.metrics.metrics.train_loss] == list(range(42))
    assert last.metrics.metrics.train_loss[-1].value < 0.5 * last.metrics.metrics.train_loss[0].value
    assert events.read_text(encoding="utf-8").count('"event": "plan"') == 4
    stop_platform(platform)
    platform = start_platform(home)
    assert served(platform) == ["local/tool-llama-5m", "ns/model@v1"]
    stop_platform(platform)


def test_configs_and_targets(nemo: NeMoMicroservices, namespace: str) -> None:
    target = nemo.customization.targets.retrieve(namespace="local", target_name="tool-llama-5m@2.0")
    assert target.status == "ready" and 4_000_000 < target.num_parameters < 7_000_000
    config = nemo.customization.configs.create(
        name="tool-llama-5m@v1.0.0+dfw",
        namespace=namespace,
        target="local/tool-llama-5m@2.0",
        max_seq_length=256,
        training_options=[{"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}],
    )
    job = create(nemo, namespace, config=f"{namespace}/{config.name}", hyperparameters=ENDLESS)
    nemo.customization.jobs.cancel(job.id)
    assert job.config_snapshot.max_seq_length == 256
    nemo.customization.targets.create(
        name="other@1", namespace=namespace, model_path="/x", num_parameters=1, precision="bf16", base_model="meta/other"
    )
    moved = {"target": f"{namespace}/other@1"}
    nemo.customization.configs.update(namespace=namespace, config_name=str(config.name), extra_body=moved)
    with pytest.raises(UnprocessableEntityError, match="trains 'meta/other', but only 'local/tool-llama-5m' can be trained here"):
        create(nemo, namespace, config=f"{namespace}/{config.name}")
    nemo.customization.configs.delete(namespace=namespace, config_name=str(config.name))
    with pytest.raises(NotFoundError):
        create(nemo, namespace, config=f"{namespace}/{config.name}")


def test_the_configs_of_an_older_state_learn_new_ways_to_train(tmp_path: Path) -> None:
    state = State(tmp_path)
    repos = Repos(state)
    Catalog(state, repos, SHIPPED_ID, SHIPPED_PATH)
    where = ("customization_config", "local", "tool-llama-5m@v1.0.0+cpu")
    options = (state.get(*where) or {})["training_options"]
    state.update(*where, {"training_options": options[:1], "description": "kept"})
    Catalog(state, repos, SHIPPED_ID, SHIPPED_PATH)
    found = state.get(*where) or {}
    assert (found["training_options"], found["description"]) == (options, "kept") and len(options) == 2
    state.close()
