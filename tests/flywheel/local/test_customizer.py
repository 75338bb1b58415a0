"""Customization jobs through NVIDIA's SDK against the real platform: from request to served adapter, and through every kill."""

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
from datasets_on_platform import connect, fresh_namespace, post, training_rows, upload
from huggingface_hub import HfApi
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError, UnprocessableEntityError

from tests.conftest import Platform, start_platform, stop_platform

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


@pytest.mark.slow
def test_from_request_to_served_adapter(platform: Platform, nemo: NeMoMicroservices, namespace: str) -> None:
    output = f"{namespace}/model@v1"
    job = create(nemo, namespace, hyperparameters={**SMALL, "sequence_packing_enabled": True}, project="tool_calling")
    assert (job.output_model, job.dataset, job.config, job.namespace) == (output, f"{namespace}/rows", CONFIG, "default")
    assert job.status == "created" and job.status_details.percentage_done == 0.0
    assert [warning.message for warning in job.warnings] == ["'sequence_packing_enabled' is not honoured"]
    assert job.config_snapshot.base_model == "local/tool-llama-5m"
    assert job.config_snapshot.training_option.finetuning_type == "lora"
    model = nemo.models.retrieve(namespace=namespace, model_name="model@v1")
    assert model.artifact is not None and model.artifact.status == "created"

    seen = follow(nemo, job.id)
    last = seen[-1]
    assert last.status == "completed", last
    assert output in served(platform)
    done = [status.percentage_done for status in seen]
    assert done == sorted(done) and done[-1] == 100.0 and len(set(done)) > 2
    assert (last.steps_completed, last.steps_per_epoch, last.epochs_completed) == (6, 3, 2)
    assert last.best_epoch in (1, 2) and last.elapsed_time > 0
    train_losses, val_losses = last.metrics.metrics.train_loss, last.metrics.metrics.val_loss
    assert [point.step for point in train_losses] == list(range(6)) and [point.step for point in val_losses] == [2, 5]
    assert last.train_loss == train_losses[-1].value < train_losses[0].value
    growing = [len(status.metrics.metrics.train_loss) for status in seen]
    assert growing == sorted(growing) and len(set(growing)) > 2
    assert [log.message for log in last.status_logs] == [
        "created",
        "waiting for its turn",
        "training started",
        f"{output} is served",
    ]

    model = nemo.models.retrieve(namespace=namespace, model_name="model@v1")
    assert model.artifact is not None and model.artifact.status == "upload_completed"
    assert model.base_model == "local/tool-llama-5m" and model.peft is not None and model.peft.finetuning_type == "lora"
    repo, _, revision = model.artifact.files_url.removeprefix("hf://").partition("@")
    hub = HfApi(endpoint=f"{platform.nds_url}/v1/hf", token="unused")
    assert set(hub.list_repo_files(repo, revision=revision)) == {"adapter_config.json", "adapter_model.safetensors"}
    reply = nemo.chat.completions.create(model=output, messages=[{"role": "user", "content": "hello"}], max_tokens=4)
    assert reply.model == output
    folder = platform.home / "customization" / job.id
    assert not (folder / "data").exists() and not (folder / "checkpoint.safetensors").exists()
    with pytest.raises(ConflictError):
        nemo.customization.jobs.cancel(job.id)
    assert nemo.customization.jobs.container_logs(job.id).entries


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


def test_an_output_model_without_version_gets_the_jobs_id(nemo: NeMoMicroservices, namespace: str) -> None:
    job = create(nemo, namespace, output_model=f"{namespace}/model", hyperparameters=ENDLESS)
    nemo.customization.jobs.cancel(job.id)
    assert job.output_model == f"{namespace}/model@{job.id}"
    bare = create(nemo, namespace, output_model=None, hyperparameters=ENDLESS, namespace=namespace)
    nemo.customization.jobs.cancel(bare.id)
    assert bare.output_model is None
    assert [found.id for found in nemo.customization.jobs.list(filter={"namespace": namespace})] == [bare.id]
    with pytest.raises(UnprocessableEntityError, match="NAMESPACE/NAME"):
        create(nemo, namespace, output_model="a b/c")


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
        ({"training_type": "dpo"}, "does not train dpo with lora"),
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
def test_bad_rows_fail_the_job_and_free_the_name(platform: Platform, nemo: NeMoMicroservices) -> None:
    namespace = fresh_namespace()
    stranger = training_rows(1)[0]
    stranger["tools"] = stranger["tools"][1:]
    upload(platform, namespace, {"training/a.jsonl": training_rows(3), "training/b.jsonl": [*training_rows(1), stranger]})
    job = create(nemo, namespace)
    last = follow(nemo, job.id)[-1]
    assert last.status == "failed"
    assert last.status_logs[-1].detail.splitlines() == [
        "1 of 5 rows cannot be trained on:",
        "training/b.jsonl:2: calls 'get_weather', which is not among the tools offered (local_time)",
    ]
    model = nemo.models.retrieve(namespace=namespace, model_name="model@v1")
    assert model.artifact is not None and model.artifact.status == "upload_failed"
    assert f"{namespace}/model@v1" not in served(platform)


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
def test_a_job_survives_a_stop_and_a_kill_of_the_platform(tmp_path: Path) -> None:
    """Once SIGTERM, once SIGKILL of platform and child together, once of the platform alone: one job, every step once."""
    home = tmp_path / "home"
    platform = start_platform(home)
    upload(platform, "ns", {"training/a.jsonl": training_rows(12), "validation/a.jsonl": training_rows(4)})
    with connect(platform) as nemo:
        job = create(nemo, "ns", hyperparameters={**SMALL, "epochs": 24})
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
    assert [point.step for point in last.metrics.metrics.train_loss] == list(range(72))
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
