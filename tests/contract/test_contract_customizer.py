"""The Customizer through NVIDIA's SDK: jobs from request to served adapter, cancelled ones, configs and targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from contract_wire import Services, fresh_namespace
from endpoints import covers
from huggingface_hub import HfApi
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError, UnprocessableEntityError

from tests.platform_rows import follow, preferences, training_rows, upload

JOB = "nemo {} /v1/customization/jobs/{{job}}"
ONE = "/{namespace}/{name}"
LORA: dict[str, Any] = {
    "training_type": "sft",
    "finetuning_type": "lora",
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "log_every_n_steps": 1,
    "lora": {"adapter_dim": 8, "alpha": 16, "adapter_dropout": 0.1},
}
ENDLESS = {**LORA, "epochs": 900}


@pytest.fixture(scope="module")
def home(hub: HfApi, nemo: NeMoMicroservices) -> str:
    """A namespace with rows to train on and preferences to learn."""
    namespace = fresh_namespace()
    upload(hub, nemo, namespace, {"training/a.jsonl": training_rows(8), "validation/a.jsonl": training_rows(2)})
    upload(hub, nemo, namespace, {"training/a.jsonl": preferences(8), "validation/a.jsonl": preferences(2)}, "likes")
    return namespace


@pytest.fixture
def create(nemo: NeMoMicroservices, services: Services, home: str) -> Iterator[Any]:
    """Makes jobs; those that still run at the test's end are cancelled."""
    made = []

    def create(**changes: Any) -> Any:
        body: dict[str, Any] = {
            "config": services.config,
            "dataset": {"namespace": home, "name": "rows"},
            "hyperparameters": ENDLESS,
            "output_model": f"{home}/model@v{len(made)}",
        }
        made.append(nemo.customization.jobs.create(**{**body, **changes}))
        return made[-1]

    yield create
    for job in made:
        if nemo.customization.jobs.status(job.id).status in ("created", "pending", "running"):
            nemo.customization.jobs.cancel(job.id)


def served(services: Services, http: httpx.Client) -> list[str]:
    return [model["id"] for model in http.get(f"{services.nim_url}/v1/models").json()["data"]]


@covers(
    "nemo POST /v1/customization/jobs",
    JOB.format("GET"),
    JOB.format("GET") + "/status",
    JOB.format("GET") + "/container-logs",
    "nim GET /v1/models",
    "nim POST /v1/chat/completions",
)
def test_from_request_to_served_adapter(
    create: Any, nemo: NeMoMicroservices, services: Services, http: httpx.Client, hub: HfApi, home: str
) -> None:
    output = f"{home}/made@v1"
    job = create(
        output_model=output,
        hyperparameters={**LORA, "sequence_packing_enabled": True},
        wandb_api_key="unused",
        extra_body={"of_tomorrow": {"x": 1}},
    )
    assert (job.id[:5], job.namespace, job.dataset, job.config) == ("cust-", "default", f"{home}/rows", services.config)
    assert (job.output_model, job.status, job.status_details.percentage_done) == (output, "created", 0.0)
    assert job.config_snapshot.base_model == services.base_model and job.config_snapshot.training_option.num_gpus is not None
    assert all(warning.message and warning.explanation for warning in job.warnings)
    model = nemo.models.retrieve(namespace=home, model_name="made@v1")
    assert model.artifact is not None and model.artifact.status == "created"

    seen = follow(lambda: nemo.customization.jobs.status(job.id), seconds=900)
    # Whoever waits for "completed" finds the model there.
    assert output in served(services, http)
    last = seen[-1]
    assert last.status == "completed", last
    order = ["created", "pending", "running", "completed"]
    statuses = [order.index(status.status) for status in seen]
    assert statuses == sorted(statuses)
    done = [status.percentage_done for status in seen]
    assert done == sorted(done) and done[-1] == 100.0
    assert (last.steps_completed, last.steps_per_epoch, last.epochs_completed, last.best_epoch) == (2, 2, 1, 1)
    assert [point.step for point in last.metrics.metrics.train_loss] == [0, 1] and last.val_loss == last.val_loss
    assert last.status_logs[0].message == "created" and last.elapsed_time > 0
    whole = nemo.customization.jobs.retrieve(job.id)
    assert (whole.status, whole.status_details.percentage_done) == ("completed", 100.0)
    logs = nemo.customization.jobs.container_logs(job.id)
    assert logs.entries and all(entry.logs for entry in logs.entries.values())
    if services.home:
        text = "".join(text for entry in logs.entries.values() for text in (entry.logs or {}).values())
        assert "8 rows to train on, 2 to validate on, 2 steps" in text and "step 1: training loss" in text

    model = nemo.models.retrieve(namespace=home, model_name="made@v1")
    assert model.artifact is not None and model.artifact.status == "upload_completed"
    assert model.base_model == services.base_model and model.peft is not None and model.peft.finetuning_type == "lora"
    repo, _, revision = model.artifact.files_url.removeprefix("hf://").partition("@")
    assert set(hub.list_repo_files(repo, revision=revision or None)) >= {"adapter_config.json", "adapter_model.safetensors"}
    reply = nemo.chat.completions.create(model=output, messages=[{"role": "user", "content": "hello"}], max_tokens=4)
    assert reply.model == output
    if services.home:
        # The rows came from people: they do not live on in the folder of a job that is over.
        kept = {path.name for path in (services.home / "customization" / job.id).iterdir()}
        assert not kept & {"data", "checkpoint.safetensors"}
        nemo.models.delete(namespace=home, model_name="made@v1")
        assert output not in served(services, http)
    with pytest.raises(ConflictError):
        nemo.customization.jobs.cancel(job.id)


@pytest.mark.usefixtures("local_home")  # whether 25.x trains preferences with LoRA is not known
@covers("nemo POST /v1/customization/jobs", JOB.format("GET") + "/status", "nim POST /v1/chat/completions")
def test_preferences_make_an_adapter(create: Any, nemo: NeMoMicroservices, services: Services, home: str) -> None:
    wanted = {
        "training_type": "dpo",
        "finetuning_type": "lora",
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 2e-3,
        "log_every_n_steps": 1,
        "dpo": {"ref_policy_kl_penalty": 0.1, "preference_loss_weight": 1, "sft_loss_weight": 0, "max_grad_norm": 1},
    }
    job = create(dataset=f"{home}/likes", hyperparameters=wanted, output_model=f"{home}/liked@v1")
    assert job.hyperparameters.dpo.ref_policy_kl_penalty == 0.1 and job.warnings == []
    last = follow(lambda: nemo.customization.jobs.status(job.id), seconds=900)[-1]
    assert last.status == "completed", last
    losses = [point.value for point in last.metrics.metrics.train_loss]
    assert losses[0] == pytest.approx(0.693, abs=0.001) and losses[-1] < losses[0]
    reply = nemo.chat.completions.create(
        model=f"{home}/liked@v1", messages=[{"role": "user", "content": "may I go?"}], max_tokens=4
    )
    assert reply.model == f"{home}/liked@v1"


@covers("nemo POST /v1/customization/jobs", JOB.format("POST") + "/cancel", "nemo POST /v1/customizations/{job}/cancel")
def test_cancel_on_both_paths(create: Any, nemo: NeMoMicroservices, services: Services, http: httpx.Client) -> None:
    first, second = create(), create()
    assert nemo.customization.jobs.cancel(first.id).status in ("cancelled", "cancelling")
    old = http.post(f"{services.nemo_url}/v1/customizations/{second.id}/cancel")
    assert old.status_code in (200, 204)
    for job in (first, second):
        assert follow(lambda job=job: nemo.customization.jobs.status(job.id))[-1].status in ("cancelled", "cancelling")  # type: ignore[misc]
    with pytest.raises((ConflictError, UnprocessableEntityError)):
        nemo.customization.jobs.cancel(first.id)


@covers("nemo POST /v1/customization/jobs")
def test_an_output_model_with_and_without_version(create: Any, nemo: NeMoMicroservices, home: str) -> None:
    job = create(output_model=f"{home}/plain")
    assert job.output_model == f"{home}/plain@{job.id}"
    kept = create(output_model=f"{home}/kept@v1")
    assert kept.output_model == f"{home}/kept@v1"
    with pytest.raises(ConflictError, match="409"):
        create(output_model=f"{home}/kept@v1")
    assert create(output_model=None).output_model is None


@covers("nemo GET /v1/customization/jobs")
def test_jobs_are_found_by_what_they_say(create: Any, nemo: NeMoMicroservices, services: Services, home: str) -> None:
    job = create(namespace=home, project="tool_calling")
    for condition in (
        {"project": "tool_calling"},
        {"base_model": services.base_model},
        {"dataset": f"{home}/rows"},
        {"dataset": f"hf://datasets/{home}/rows"},
        {"finetuning_type": "lora", "training_type": "sft"},
        {"epochs": 900, "batch_size": 4},
    ):
        found = nemo.customization.jobs.list(filter={"namespace": home, **condition}, sort="-created_at")  # type: ignore[typeddict-item]
        assert [one.id for one in found] == [job.id], condition
    assert nemo.customization.jobs.list(filter={"namespace": home, "status": "completed"}).data == []


@covers("nemo POST /v1/customization/jobs", JOB.format("GET"), JOB.format("GET") + "/status")
def test_what_cannot_be_meant_is_refused(create: Any, nemo: NeMoMicroservices, home: str) -> None:
    output = {"output_model": f"{home}/never@v1"}
    assert create(dataset=f"hf://datasets/{home}/rows", output_model=None).dataset == f"hf://datasets/{home}/rows"
    with pytest.raises(NotFoundError, match="no/such@v1"):
        create(config="no/such@v1", **output)
    with pytest.raises(NotFoundError, match="no/such"):
        create(dataset="no/such", **output)
    for changes in ({"epochs": 0}, {"training_type": "grpo"}, {"finetuning_type": "all_weights"}, {"min_learning_rate": 1}):
        with pytest.raises(UnprocessableEntityError):
            create(hyperparameters={**LORA, **changes}, **output)
    for look in (nemo.customization.jobs.retrieve, nemo.customization.jobs.status, nemo.customization.jobs.container_logs):
        with pytest.raises(NotFoundError):
            look("cust-none")
    # What was refused has taken no name.
    with pytest.raises(NotFoundError):
        nemo.models.retrieve(namespace=home, model_name="never@v1")


@covers("nemo POST /v1/customization/jobs", JOB.format("GET") + "/status")
def test_a_bad_row_is_the_reason(create: Any, nemo: NeMoMicroservices, services: Services, hub: HfApi, namespace: str) -> None:
    upload(hub, nemo, namespace, {"training/a.jsonl": [*training_rows(2), {"messages": []}]})
    job = create(dataset=f"{namespace}/rows", output_model=f"{namespace}/m@v1")
    last = follow(lambda: nemo.customization.jobs.status(job.id), seconds=600)[-1]
    assert last.status == "failed"
    assert "training/a.jsonl:3" in [log.detail for log in last.status_logs if log.detail][-1]
    if services.home:
        (entry,) = (nemo.customization.jobs.container_logs(job.id).entries or {}).values()
        text = "".join((entry.logs or {}).values())
        assert "training/a.jsonl:3" in text and "Traceback" not in text
    model = nemo.models.retrieve(namespace=namespace, model_name="m@v1")
    assert model.artifact is not None and model.artifact.status == "upload_failed"


@covers(
    *(f"nemo {method} /v1/customization/configs{path}" for method, path in
      [("POST", ""), ("GET", ""), ("GET", ONE), ("PATCH", ONE), ("DELETE", ONE)])
)  # fmt: skip
def test_configs(create: Any, nemo: NeMoMicroservices, services: Services, namespace: str) -> None:
    """A config as NVIDIA's blueprint makes it for itself: on the base's target, in a namespace of its own."""
    name = f"{services.base_model.rpartition('/')[2]}@v1.0.0+dfw"
    option: Any = {"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}
    config = nemo.customization.configs.create(
        name=name,
        namespace=namespace,
        target=f"{services.base_model}@2.0",
        max_seq_length=256,
        training_options=[option],
        training_precision="bf16",
        extra_body={"pod_spec": {"tolerations": []}},
    )
    with pytest.raises(ConflictError):
        nemo.customization.configs.create(
            name=name, namespace=namespace, target=f"{services.base_model}@2.0", max_seq_length=256, training_options=[option]
        )
    assert nemo.customization.configs.retrieve(name, namespace=namespace).id == config.id
    assert name in [one.name for one in nemo.customization.configs.list(filter={"namespace": namespace})]
    both = nemo.customization.configs.update(
        name, namespace=namespace, add_training_options=[{**option, "training_type": "dpo"}], max_seq_length=128
    )
    assert (len(both.training_options or []), both.max_seq_length) == (2, 128)
    less = nemo.customization.configs.update(
        name, namespace=namespace, remove_training_options=[{"training_type": "dpo", "finetuning_type": "lora"}]
    )
    assert [one.training_type for one in less.training_options or []] == ["sft"]

    def found(**conditions: Any) -> list[str | None]:
        return [one.name for one in nemo.customization.configs.list(filter={"namespace": namespace, **conditions})]  # type: ignore[typeddict-item]

    target = f"{services.base_model.rpartition('/')[2]}@2.0"
    by_option, by_target = {"training_type": "sft", "finetuning_type": "lora"}, {"target_base_model": services.base_model}
    assert found(**by_option) == found(**by_target, target_enabled=True) == found(target_name=target) == [name]
    assert found(training_type="dpo") == found(target_enabled=False) == found(target_base_model="meta/other") == []
    job = create(config=f"{namespace}/{name}", output_model=f"{namespace}/m@v1")
    assert job.config_snapshot.max_seq_length == 128
    nemo.customization.configs.delete(name, namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.customization.configs.retrieve(name, namespace=namespace)


@pytest.mark.usefixtures("local_home")  # elsewhere a new target is gigabytes to load
@covers("nemo POST /v1/customization/jobs", "nemo POST /v1/customization/targets", "nemo PATCH /v1/customization/targets" + ONE)
def test_a_target_that_is_not_enabled_is_not_trained(
    create: Any, nemo: NeMoMicroservices, services: Services, namespace: str
) -> None:
    body: Any = {"name": "off@2.0", "namespace": namespace, "num_parameters": 1, "precision": "bf16", "enabled": False}
    nemo.customization.targets.create(**body, model_path="off", base_model=services.base_model)
    option = {"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}
    config = {"target": f"{namespace}/off@2.0", "max_seq_length": 96, "training_options": [option]}
    with pytest.raises(UnprocessableEntityError, match="not enabled"):
        create(config=config, output_model=None)
    nemo.customization.targets.update("off@2.0", namespace=namespace, enabled=True)
    assert create(config=config, output_model=None).status == "created"


@covers("nemo POST /v1/customization/jobs")
def test_a_config_that_is_sent_along(create: Any, services: Services) -> None:
    option = {"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}
    inline = {"target": f"{services.base_model}@2.0", "max_seq_length": 96, "training_options": [option]}
    job = create(config=inline, output_model=None)
    assert job.config_snapshot.max_seq_length == 96 and job.config.max_seq_length == 96


@covers(
    *(f"nemo {method} /v1/customization/targets{path}" for method, path in
      [("POST", ""), ("GET", ""), ("GET", ONE), ("PATCH", ONE), ("DELETE", ONE)])
)  # fmt: skip
def test_targets(nemo: NeMoMicroservices, services: Services, namespace: str) -> None:
    base, _, name = services.base_model.partition("/")
    target = nemo.customization.targets.retrieve(f"{name}@2.0", namespace=base)
    assert target.num_parameters > 0 and target.status == "ready"
    made = nemo.customization.targets.create(
        name="other@2.0", namespace=namespace, model_path="other", num_parameters=1, precision="bf16", base_model="meta/other"
    )
    assert made.enabled is not None
    assert nemo.customization.targets.update("other@2.0", namespace=namespace, enabled=False).enabled is False
    assert [one.name for one in nemo.customization.targets.list(filter={"namespace": namespace})] == ["other@2.0"]
    nemo.customization.targets.delete("other@2.0", namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.customization.targets.retrieve("other@2.0", namespace=namespace)
