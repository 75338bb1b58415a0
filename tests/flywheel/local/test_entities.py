"""The Entity Store through NVIDIA's own SDK on a real port, and the lists that all services share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nemo_microservices
import pytest
from local_server import LocalServer, serve
from nemo_microservices import NeMoMicroservices

from flywheel.local import entities
from flywheel.local.matching import matches_filter, matches_search
from flywheel.local.state import Entity, Exists, Missing, NotJson, State, new_id, now


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "home")
    yield state
    state.close()


@pytest.fixture
def deleted_models() -> list[Entity]:
    return []


@pytest.fixture
def server(state: State, deleted_models: list[Entity]) -> Iterator[LocalServer]:
    with serve({"/nemo": [entities.router(state, deleted_models.append)]}) as server:
        yield server


@pytest.fixture
def requests() -> list[httpx.Request]:
    return []


@pytest.fixture
def nemo(server: LocalServer, requests: list[httpx.Request]) -> Iterator[NeMoMicroservices]:
    transport = httpx.Client(event_hooks={"request": [requests.append]})
    with NeMoMicroservices(
        base_url=server.url + "/nemo", inference_base_url=server.url + "/nim", http_client=transport
    ) as client:
        yield client


FILES = "hf://datasets/ns/rows"


def test_a_duplicate_is_refused_once(nemo: NeMoMicroservices, requests: list[httpx.Request]) -> None:
    nemo.datasets.create(name="rows", namespace="ns", files_url=FILES)
    requests.clear()
    with pytest.raises(nemo_microservices.ConflictError, match="Error code: 409"):
        nemo.datasets.create(name="rows", namespace="ns", files_url=FILES)
    assert len(requests) == 1


def test_a_namespace_from_birth_to_end(nemo: NeMoMicroservices) -> None:
    made = nemo.namespaces.create(id="xlam-tutorial-ns", description="d")
    assert (made.id, made.description, made.project, made.custom_fields) == ("xlam-tutorial-ns", "d", None, {})
    assert "name" not in made.to_dict()
    assert nemo.namespaces.retrieve("xlam-tutorial-ns").created_at == made.created_at
    changed = nemo.namespaces.update("xlam-tutorial-ns", project="p")
    assert (changed.description, changed.project) == ("d", "p")
    assert [row.id for row in nemo.namespaces.list()] == ["xlam-tutorial-ns"]
    with pytest.raises(nemo_microservices.ConflictError):
        nemo.namespaces.create(id="xlam-tutorial-ns")
    assert nemo.namespaces.delete("xlam-tutorial-ns").id == "xlam-tutorial-ns"
    with pytest.raises(nemo_microservices.NotFoundError):
        nemo.namespaces.retrieve("xlam-tutorial-ns")


def test_a_data_set_keeps_its_files_url(nemo: NeMoMicroservices) -> None:
    made = nemo.datasets.create(name="rows", namespace="ns", description="d", files_url=FILES, project="tool_calling")
    assert made.id is not None
    assert made.id.startswith("dataset-")
    read = nemo.datasets.retrieve("rows", namespace="ns")
    assert (read.files_url, read.project, read.namespace) == (FILES, "tool_calling", "ns")
    # A client may PATCH with the whole body it created with.
    again = nemo.datasets.update(
        "rows", namespace="ns", description="new", files_url=FILES, extra_body={"name": "rows", "namespace": "ns"}
    )
    assert (again.id, again.description, again.project) == (made.id, "new", "tool_calling")
    assert again.updated_at is not None
    assert made.updated_at is not None
    assert again.updated_at > made.updated_at
    with pytest.raises(nemo_microservices.UnprocessableEntityError, match="cannot be changed"):
        nemo.datasets.update("rows", namespace="ns", extra_body={"name": "other"})
    assert nemo.datasets.delete("rows", namespace="ns").id == made.id
    with pytest.raises(nemo_microservices.NotFoundError):
        nemo.datasets.delete("rows", namespace="ns")


def test_without_a_name_it_is_named_after_its_id(nemo: NeMoMicroservices) -> None:
    made = nemo.datasets.create(files_url=FILES)
    assert (made.name, made.namespace) == (made.id, "default")
    assert nemo.projects.create(name="p", namespace="ns").name == "p"


def test_version_signs_survive_in_a_model_path(
    nemo: NeMoMicroservices, requests: list[httpx.Request], deleted_models: list[Entity]
) -> None:
    name = "tool-llama-5m@v1.0.0+cpu"
    artifact: Any = {"files_url": "hf://models/ns/m", "status": "upload_completed", "backend_engine": "hugging_face"}
    nemo.models.create(name=name, namespace="ns", base_model="local/b", artifact=artifact, peft={"finetuning_type": "lora"})
    read = nemo.models.retrieve(name, namespace="ns")
    assert read.artifact is not None
    assert (read.name, read.artifact.status, read.artifact.backend_engine) == (name, "upload_completed", "hugging_face")
    assert requests[-1].url.raw_path.decode() == f"/nemo/v1/models/ns/{name}"
    assert nemo.models.update(name, namespace="ns", description="d").peft == read.peft
    nemo.models.delete(name, namespace="ns")
    assert [entity["name"] for entity in deleted_models] == [name]


def test_lists_walk_to_the_empty_page(nemo: NeMoMicroservices, requests: list[httpx.Request]) -> None:
    for number in range(25):
        nemo.datasets.create(name=f"d{number:02}", namespace="ns", files_url=FILES)
    requests.clear()
    assert [row.name for row in nemo.datasets.list(page_size=10, sort="name")] == [f"d{number:02}" for number in range(25)]
    assert len(requests) == 4
    first = nemo.datasets.list(page_size=10)
    assert [row.name for row in first.data][:2] == ["d24", "d23"]
    assert first.pagination is not None
    assert first.pagination.to_dict() == {
        "page": 1,
        "page_size": 10,
        "current_page_size": 10,
        "total_pages": 3,
        "total_results": 25,
    }


def test_models_are_filtered_and_searched_through_the_sdk(nemo: NeMoMicroservices) -> None:
    nemo.models.create(name="base", namespace="local")
    nemo.models.create(name="a@v1", namespace="ns", base_model="local/base", peft={"finetuning_type": "lora"}, project="p")
    nemo.models.create(name="b@v1", namespace="ns", base_model={"name": "local/base"}, peft={"finetuning_type": "lora_merged"})

    def names(**options: Any) -> list[str | None]:
        return [row.name for row in nemo.models.list(sort="name", **options)]

    assert names(filter={"namespace": "ns"}) == ["a@v1", "b@v1"]
    assert names(filter={"base_model": "local/base"}) == ["a@v1", "b@v1"]
    assert names(filter={"base_model": {"name": "local/base"}}) == ["a@v1", "b@v1"]
    assert names(filter={"peft": True}) == ["a@v1", "b@v1"]
    assert names(filter={"peft": False}) == ["base"]
    assert names(filter={"peft": {"finetuning_type": "lora"}}) == ["a@v1"]
    assert names(filter={"project": "p", "namespace": "ns"}) == ["a@v1"]
    assert names(filter={"created_at": {"gte": "2020-01-01", "lte": "2999-01-01"}}) == ["a@v1", "b@v1", "base"]
    assert names(filter={"created_at": {"gte": "2999-01-01T00:00:00Z"}}) == []
    assert names(search={"name": ["A@", "bas"]}) == ["a@v1", "base"]


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=x", "page=-1", "page_size=0", "page_size=100000", "page=99999999999999999999", "sort=secret", "filter[]=1"]
    + ["filter[a]=1&filter[a][b]=2", "filter[a][b]=2&filter[a]=1", "filter[a", "filter[a][b][c][d][e]=1"],
)
def test_a_query_that_cannot_be_meant_is_refused(server: LocalServer, query: str) -> None:
    answer = httpx.get(f"{server.url}/nemo/v1/datasets?{query}")
    assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (422, True)


def test_bad_bodies_name_the_field(server: LocalServer) -> None:
    address = server.url + "/nemo/v1/datasets"
    for body, field in (
        ({"name": "x"}, "files_url"),
        ({"name": "a/b", "files_url": FILES}, "name"),
        ({"name": "..", "files_url": FILES}, "name"),
        ({"name": "x", "namespace": "", "files_url": FILES}, "namespace"),
        ({"name": "x", "files_url": "h" * 3000}, "files_url"),
    ):
        (problem,) = httpx.post(address, json=body).json()["detail"]
        assert problem["loc"] == ["body", field]
    for content in (b"{", b"[]", b'{"files_url": "\\ud800"}'):
        assert httpx.post(address, content=content, headers={"content-type": "application/json"}).status_code == 422
    assert httpx.get(address).json()["data"] == []


def test_an_unknown_route_and_method_answer_in_json(server: LocalServer) -> None:
    assert httpx.get(server.url + "/nemo/v1/none").json()["detail"] == "Not Found"
    assert httpx.put(server.url + "/nemo/v1/datasets").status_code == 405


def test_state_survives_a_restart(tmp_path: Path) -> None:
    first = State(tmp_path)
    made = first.create("dataset", "ns", "d", {"files_url": FILES})
    first.close()
    second = State(tmp_path)
    assert second.get("dataset", "ns", "d") == made
    assert second.get_by_id("dataset", made["id"]) == made
    second.close()


def test_jobs_share_names_and_are_updated_by_id(state: State) -> None:
    first, second = (state.create("customization_job", "ns", "same", {"status": "created", "n": 1}) for _ in range(2))
    changed = state.update_by_id("customization_job", first["id"], {"status": "running", "id": "forged", "created_at": "never"})
    assert (changed["status"], changed["id"], changed["created_at"], changed["n"]) == (
        "running",
        first["id"],
        first["created_at"],
        1,
    )
    assert state.get("customization_job", "ns", "same") == second
    assert state.delete("customization_job", "ns", "same")
    assert state.get("customization_job", "ns", "same") == changed
    assert not state.delete_by_id("customization_job", second["id"])
    with pytest.raises(Missing):
        state.update_by_id("customization_job", second["id"], {})


def test_what_json_cannot_carry_is_not_stored(state: State) -> None:
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(NotJson):
            state.create("dataset", "ns", "d", {"x": value})
    assert state.get("dataset", "ns", "d") is None


def test_a_failed_transaction_leaves_nothing(state: State) -> None:
    with pytest.raises(Exists), state.transaction():
        state.create("dataset", "ns", "a", {})
        state.create("dataset", "ns", "a", {})
    assert state.list("dataset") == ([], 0)


def test_threads_do_not_lose_each_others_writes(state: State) -> None:
    state.create("customization_job", "ns", "j", {"count": 0})

    def add() -> None:
        for _ in range(20):
            with state.transaction():
                job = state.get("customization_job", "ns", "j") or {}
                state.update("customization_job", "ns", "j", {"count": job["count"] + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (state.get("customization_job", "ns", "j") or {})["count"] == 80


def test_ids_and_dates_are_nvidias() -> None:
    assert new_id("evaluation_result").startswith("evaluation_result-")
    assert len({new_id("customization_job") for _ in range(100)}) == 100
    assert len(now()) == len("2025-06-20T03:56:39.123456")


JOB = {
    "status": "completed",
    "dataset": "ns/rows",
    "hyperparameters": {"epochs": 2, "training_type": "sft"},
    "config_snapshot": {"base_model": "local/b"},
    "target": {"namespace": "ns", "name": "t"},
    "enabled": True,
    "best": None,
}


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"status": "completed"}, True),
        ({"status": "failed,completed"}, True),
        ({"status": "failed"}, False),
        ({"epochs": "2"}, True),
        ({"epochs": {"gte": "3"}}, False),
        ({"epochs": {"gte": "x"}}, False),
        ({"training_type": "sft", "base_model": "local/b"}, True),
        ({"dataset": "rows"}, True),
        ({"dataset": {"name": "ns/rows"}}, True),
        ({"target": "ns/t"}, True),
        ({"target": {"name": "t", "namespace": "other"}}, False),
        ({"enabled": "true"}, True),
        ({"best": "false"}, True),
        ({"unknown": "x"}, False),
        ({"unknown": {"x": "y"}}, False),
        ({}, True),
    ],
)
def test_filters(wanted: dict[str, Any], holds: bool) -> None:
    assert matches_filter(JOB, wanted) is holds


def test_search_finds_parts_of_words() -> None:
    assert matches_search(JOB, {"dataset": "OWS,absent"})
    assert not matches_search(JOB, {"dataset": "absent"})
    assert not matches_search(JOB, {"unknown": "x"})
