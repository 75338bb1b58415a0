"""The Entity Store's refusals on a real port, and the state and filters behind the lists that all services share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_server import LocalServer, serve

from flywheel.local import entities
from flywheel.local.matching import matches_filter, matches_search
from flywheel.local.state import Exists, Missing, NotJson, State, new_id, now


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path / "home")
    yield state
    state.close()


@pytest.fixture
def server(state: State) -> Iterator[LocalServer]:
    with serve({"/nemo": [entities.router(state)]}) as server:
        yield server


FILES = "hf://datasets/ns/rows"


def test_names_are_given_and_never_changed(server: LocalServer) -> None:
    address = server.url + "/nemo/v1/datasets"
    made = httpx.post(address, json={"files_url": FILES}).json()
    assert (made["name"], made["namespace"]) == (made["id"], "default")
    refused = httpx.patch(f"{address}/default/{made['name']}", json={"name": "other"})
    assert (refused.status_code, "cannot be changed" in refused.json()["detail"]) == (422, True)
    changed = httpx.patch(f"{address}/default/{made['name']}", json={"description": "d"}).json()
    assert (changed["id"], changed["created_at"], changed["updated_at"] > made["updated_at"]) == (
        made["id"],
        made["created_at"],
        True,
    )


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
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    for value in (float("nan"), float("inf"), "\ud800", deep):
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
