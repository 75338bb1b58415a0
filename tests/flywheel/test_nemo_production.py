"""Our client of the NeMo services where NVIDIA's differ from the local platform, or answer badly: against a hand-made server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from flywheel import stages
from flywheel.errors import PlatformError
from flywheel.history import RunRecords
from flywheel.nemo import Nemo
from flywheel.nemo import jobs as module
from flywheel.promote import Registry
from flywheel.settings import NVIDIA_BASE_MODEL, Settings
from flywheel.store import Store
from flywheel.transport import Patience, PlatformAway
from tests.fakes import Reply, ScriptedServices

HYPERPARAMETERS = {"training_type": "sft", "finetuning_type": "lora", "epochs": 2}
CONFIG = {"namespace": "meta", "name": "llama-3.2-1b-instruct@v1.0.0+80GB", "training_options": []}
FILE = {"type": "file", "oid": "0" * 40, "size": 1, "path": "a.jsonl"}


@pytest.fixture
def services() -> Iterator[ScriptedServices]:
    """The server."""
    with ScriptedServices() as running:
        yield running


@pytest.fixture
def settings(services: ScriptedServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name it."""
    monkeypatch.setattr(module, "CREATION_PAUSES", (0.01, 0.01))
    return Settings(home=tmp_path, base_model=NVIDIA_BASE_MODEL).with_urls(services.url, services.url, services.url)


@pytest.fixture
def nemo(settings: Settings) -> Iterator[Nemo]:
    """A client of it that does not wait long."""
    with closing(Nemo(settings, Patience(1.0, 5.0, 0))) as client:
        yield client


def hub(services: ScriptedServices, mode: str = "regular") -> None:
    """A Data Store that takes one file of one data set, and the Entity Store's part in it."""
    commit = {"success": True, "commitOid": "0" * 40, "commitUrl": "", "hookOutput": ""}
    asked = {"files": [{"path": "a.jsonl", "uploadMode": mode, "shouldIgnore": False}]}
    services.on("POST /v1/hf/api/repos/create", (200, {"url": "datasets/flywheel/data"}))
    services.on("POST /v1/hf/api/datasets/flywheel/data/preupload/main", (200, asked))
    services.on("POST /v1/hf/api/datasets/flywheel/data/commit/main", (200, commit))
    services.on("GET /v1/hf/api/datasets/flywheel/data/tree/main", (200, [FILE]))
    services.on("POST /v1/datasets", (200, {"name": "data", "namespace": "flywheel", "files_url": "hf://datasets/flywheel/data"}))


def test_an_empty_commit_url_is_no_failure_if_the_files_arrived(services: ScriptedServices, nemo: Nemo) -> None:
    hub(services)
    assert nemo.upload("data", {"a.jsonl": b"1"}) == "hf://datasets/flywheel/data"
    services.on("GET /v1/hf/api/datasets/flywheel/data/tree/main", (200, []))
    with pytest.raises(PlatformError, match=r"'a.jsonl'.*did not arrive"):
        nemo.upload("data", {"a.jsonl": b"1"})


@pytest.mark.parametrize(
    "reply",
    [
        (409, {"detail": "the repository exists"}),
        (200, {"url": ""}),
        (201, {"name": "data"}),
        (200, {"url": "http://elsewhere/x/y/z/a"}),
    ],
)
def test_a_repo_that_exists_or_has_no_address_is_uploaded_to(services: ScriptedServices, nemo: Nemo, reply: Reply) -> None:
    hub(services)
    services.on("POST /v1/hf/api/repos/create", reply)
    assert nemo.upload("data", {"a.jsonl": b"1"}) == "hf://datasets/flywheel/data"
    assert "POST /v1/hf/api/datasets/flywheel/data/commit/main" in services.heard


def test_a_repo_that_is_refused_is_a_sentence(services: ScriptedServices, nemo: Nemo) -> None:
    hub(services)
    services.on("POST /v1/hf/api/repos/create", (403, {"detail": "no namespace of yours"}))
    with pytest.raises(PlatformError, match=r"Data Store at http.*refused to upload.*'flywheel/data'.*HTTP 403"):
        nemo.upload("data", {"a.jsonl": b"1"})


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the hub client's own use of httpx
def test_large_files_go_by_lfs_without_xet(services: ScriptedServices, nemo: Nemo) -> None:
    """The real Data Store asks for LFS; the hub's Xet, which the new client prefers, it does not have."""
    hub(services, "lfs")
    content, oid = b"1", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    upload = {"upload": {"href": f"{services.url}/blob", "header": {}}}
    batch = {"transfer": "basic", "objects": [{"oid": oid, "size": 1, "actions": upload}]}
    services.on("POST /v1/hf/datasets/flywheel/data.git/info/lfs/objects/batch", (200, batch))
    services.on("PUT /blob", (200, {}))
    assert nemo.upload("data", {"a.jsonl": content}) == "hf://datasets/flywheel/data"
    assert "PUT /blob" in services.heard and not [request for request in services.heard if "xet" in request]
    services.on("PUT /blob", (507, {"detail": "disk full"}))
    with pytest.raises(PlatformAway, match=r"Data Store at http.*failed to upload the data set 'flywheel/data'.*disk full.*507"):
        nemo.upload("data", {"a.jsonl": content})
    services.on("PUT /blob", (413, {"detail": "too large"}))
    with pytest.raises(PlatformError, match="refused to upload the data set 'flywheel/data'.*too large.*413"):
        nemo.upload("data", {"a.jsonl": content})


@pytest.mark.parametrize("answer", [(503, {"detail": "upstream timed out"}), (429, {"detail": "slowly"})])
def test_a_training_that_was_taken_though_the_answer_was_an_error_is_not_submitted_twice(
    services: ScriptedServices, settings: Settings, answer: Reply
) -> None:
    jobs: list[dict[str, Any]] = []

    def create(_: Message) -> Reply:
        jobs.append({"id": "cust-1", "output_model": "flywheel/m@v1", "status": "created"})
        return answer

    services.on("GET /v1/customization/configs", (200, {"data": [CONFIG]}))
    services.on("GET /v1/customization/jobs", lambda _: (200, {"data": jobs}))
    services.on("POST /v1/customization/jobs", create)
    with closing(Nemo(settings)) as nemo:  # as patient as it is in production: other requests are sent again
        assert nemo.create_training("run-1", "run-1", "flywheel/m@v1", HYPERPARAMETERS) == "cust-1"
    assert services.heard.count("POST /v1/customization/jobs") == len(jobs) == 1


def test_a_training_is_submitted_again_while_the_service_is_away_and_not_when_it_refuses(
    services: ScriptedServices, nemo: Nemo
) -> None:
    post, replies = "POST /v1/customization/jobs", [(502, "<html>bad gateway</html>"), (200, {"id": "cust-2"})]
    services.on("GET /v1/customization/configs", (200, {"data": [CONFIG]}))
    services.on("GET /v1/customization/jobs", (200, {"data": []}))
    services.on(post, lambda _: replies.pop(0))
    assert nemo.create_training("run-1", "run-1", "flywheel/m@v1", HYPERPARAMETERS) == "cust-2"
    services.on(post, (503, {"detail": "no"}))
    with pytest.raises(PlatformAway, match="failed to train 'flywheel/m@v1'"):
        nemo.create_training("run-1", "run-1", "flywheel/m@v1", HYPERPARAMETERS)
    assert services.heard.count(post) == 2 + 3
    services.on(post, (409, {"detail": "the output model exists"}))
    with pytest.raises(PlatformError, match="refused.*the output model exists"):
        nemo.create_training("run-1", "run-1", "flywheel/m@v1", HYPERPARAMETERS)
    assert services.heard.count(post) == 2 + 3 + 1


@pytest.mark.parametrize(
    ("told", "option", "held"),
    [
        ({"elapsed_time": 90.0}, {"num_gpus": 2, "num_nodes": 3}, 540.0),
        ({"elapsed_time": 90.0}, {"num_gpus": 1}, 90.0),
        ({}, {"num_gpus": 1}, None),
        ({"elapsed_time": 90.0}, None, None),
    ],
)
def test_gpu_seconds_are_what_the_job_held_and_none_where_the_service_does_not_tell(
    services: ScriptedServices, nemo: Nemo, told: dict[str, Any], option: dict[str, int] | None, held: float | None
) -> None:
    snapshot = {"config_snapshot": {"base_model": NVIDIA_BASE_MODEL, "training_option": option}} if option else {}
    services.on("GET /v1/customization/jobs/cust-1/status", (200, {"status": "completed", "percentage_done": 100.0} | told))
    services.on("GET /v1/customization/jobs/cust-1", (200, {"id": "cust-1", "status": "completed"} | snapshot))
    assert nemo.training("cust-1").took.get("gpu_seconds") == held


def test_an_evaluation_is_submitted_once_and_cancelled_even_if_it_ended_meanwhile(services: ScriptedServices, nemo: Nemo) -> None:
    jobs: list[dict[str, Any]] = []

    def create(_: Message) -> Reply:
        jobs.append({"id": "eval-1", "description": "run-1/candidate", "status": "running"})
        return 504, "gateway timeout"

    services.on("GET /v1/evaluation/jobs", lambda _: (200, {"data": jobs}))
    services.on("POST /v1/evaluation/jobs", create)
    services.on("POST /v1/evaluation/jobs/eval-1/cancel", (409, {"detail": "it has ended"}))
    assert nemo.create_evaluation("run-1", "candidate", "m", "hf://datasets/flywheel/run-1/a", 1) == "eval-1" and len(jobs) == 1
    nemo.cancel_evaluations("run-1")
    assert "POST /v1/evaluation/jobs/eval-1/cancel" in services.heard


def test_the_config_that_trains_lora_is_taken(services: ScriptedServices, nemo: Nemo) -> None:
    full = {"training_type": "sft", "finetuning_type": "all_weights", "num_gpus": 1, "micro_batch_size": 1}
    other = CONFIG | {"name": "llama-3.2-1b-instruct@v0", "training_options": [full]}
    lora = CONFIG | {"training_options": [full, full | {"finetuning_type": "lora"}]}
    services.on("GET /v1/customization/configs", (200, {"data": [other, lora]}))
    assert nemo.customization_config() == "meta/llama-3.2-1b-instruct@v1.0.0+80GB"
    with pytest.raises(PlatformError, match="no customization config .* that offers dpo with LoRA"):
        nemo.customization_config("dpo")
    services.on("GET /v1/customization/configs", (200, {"data": [other]}))
    with pytest.raises(PlatformError, match="no customization config"):
        nemo.customization_config()


@pytest.mark.parametrize("code", [409, 422])
def test_namespaces_that_exist_are_known_by_either_code(services: ScriptedServices, nemo: Nemo, code: int) -> None:
    services.on("POST /v1/namespaces", (code, {"detail": "exists"}))
    services.on("GET /v1/namespaces/flywheel", (200, {"id": "flywheel"}))
    services.on("POST /v1/datastore/namespaces", (code, {"detail": "exists"}))
    services.on("GET /v1/datastore/namespaces/flywheel", (201, {"namespace": "flywheel"}))
    nemo.ensure_namespace()
    assert "POST /v1/namespaces" in services.heard and "POST /v1/datastore/namespaces" in services.heard


def test_a_namespace_that_is_refused_is_not_taken_for_one_that_exists(services: ScriptedServices, nemo: Nemo) -> None:
    services.on("POST /v1/namespaces", (422, {"detail": "no such name"}))
    with pytest.raises(PlatformError, match="Entity Store.*refused.*no such name.*422"):
        nemo.ensure_namespace()
    services.on("POST /v1/namespaces", (200, {"id": "flywheel"}))
    services.on("POST /v1/datastore/namespaces", (422, {"detail": "not so"}))
    with pytest.raises(PlatformError, match="Data Store.*refused.*not so.*422"):
        nemo.ensure_namespace()


def test_a_web_page_instead_of_a_service_is_a_sentence(services: ScriptedServices, nemo: Nemo) -> None:
    page = (200, "<html>Welcome</html>")
    for request in (
        "GET /v1/customization/configs",
        "GET /v1/models",
        "GET /v1/customization/jobs/cust-1/status",
        "GET /v1/evaluation/jobs/e",
    ):
        services.on(request, page)
    for ask in (nemo.customization_configs, nemo.model_ids, lambda: nemo.training("cust-1"), lambda: nemo.evaluation("e")):
        with pytest.raises(PlatformError, match="answered what cannot be read"):
            ask()


def test_a_job_may_be_completed_long_before_nim_lists_its_adapter(
    services: ScriptedServices, nemo: Nemo, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.01)
    listed = [{"id": NVIDIA_BASE_MODEL, "object": "model", "created": 0, "owned_by": "system"}]
    looks: list[int] = []

    def models(_: Message) -> Reply:
        looks.append(1)
        adapter = [listed[0] | {"id": "flywheel/m@v1"}] if len(looks) > 3 else []
        return (503, {"detail": "loading"}) if len(looks) == 2 else (200, {"object": "list", "data": listed + adapter})

    services.on("GET /v1/customization/jobs/cust-1/status", (200, {"status": "completed", "percentage_done": 100.0}))
    services.on("GET /v1/models", models)
    with closing(Store(settings.store_path)) as store:
        records = RunRecords(store.database)
        run_id = records.create("run-1", "somebody").id
        records.note_candidate(run_id, "sft", job_id="cust-1", model="flywheel/m@v1")
        records.begin_stage(run_id, "train")
        asyncio.run(stages.Stages(settings, store, nemo).watch_training(run_id))
        assert Registry(store.database).model("flywheel/m@v1").status == "candidate"
        assert records.run(run_id).stages["train"]["status"] == "done"
    assert len(looks) == 4
