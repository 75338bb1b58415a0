"""The export route: who may take feedback away, what cannot be meant, and that every export is on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chat_app import exports
from chat_app.doorkeeper import Doorkeeper
from chat_app.reception import Reception
from chat_app.settings import Settings
from flywheel.audit import Audit
from flywheel.people import LOCAL_PERSON, People, Role
from flywheel.sessions import Sessions
from flywheel.settings import Settings as FlywheelSettings
from flywheel.store import Store
from tests.chat_app.people_room import COOKIE, PASSWORD
from tests.flywheel.feedback import finished_turn, saying

ROUTE = "/export/feedback"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "flywheel.db")) as opened:
        turn = finished_turn(opened, "How warm is it?", saying("It is warm."))
        opened.rate("ann", turn.id, "up", [], "+1")
        yield opened


@pytest.fixture
def app(store: Store, tmp_path: Path) -> FastAPI:
    settings = Settings(flywheel=FlywheelSettings(home=tmp_path))
    services: Any = SimpleNamespace(store=store, audit=Audit(store.database), settings=settings)
    made = FastAPI()
    made.include_router(exports.router(services))
    made.add_middleware(Doorkeeper, reception=Reception(settings, store.database))
    return made


def test_it_is_streamed_as_a_file_and_recorded(app: FastAPI, store: Store) -> None:
    client = TestClient(app)
    table = client.get(ROUTE, params={"shape": "csv", "person": "ann"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8" and table.headers["cache-control"] == "no-store"
    assert table.headers["content-disposition"] == 'attachment; filename="feedback-csv.csv"' and "'+1" in table.text
    assert json.loads(client.get(ROUTE, params={"shape": "openai"}).text)["messages"][-1]["content"] == "It is warm."
    assert client.get(ROUTE, params={"shape": "openai", "thumb": "down"}).text == ""
    written = [(line.person, line.action, line.subject, line.detail) for line in Audit(store.database).entries()][::-1]
    assert written[0] == (LOCAL_PERSON.name, "export feedback", "ann", {"shape": "csv"})
    assert written[2][3] == {"shape": "openai", "thumb": "down"} and len(written) == 3


@pytest.mark.parametrize(
    "query", ["", "shape=xml", "shape=csv&since=yesterday", "shape=csv&thumb=sideways", "shape=csv&verdict=x"]
)
def test_what_cannot_be_meant_is_refused_and_nothing_recorded(app: FastAPI, store: Store, query: str) -> None:
    assert TestClient(app).get(f"{ROUTE}?{query}").status_code == 422
    assert Audit(store.database).entries() == []


@pytest.mark.parametrize("role, status", [("end_user", 403), ("reviewer", 200), ("developer", 200)])
def test_reviewers_and_developers_only(app: FastAPI, store: Store, role: Role, status: int) -> None:
    people = People(store.database)
    people.add("pat", [role], PASSWORD, by="a test")
    assert TestClient(app).get(f"{ROUTE}?shape=csv").status_code == 401
    cookies = {COOKIE: Sessions(store.database, people).begin(people.find("pat"), "a test")}
    answer = TestClient(app, cookies=cookies).get(f"{ROUTE}?shape=csv")
    assert answer.status_code == status and ("warm" in answer.text) is (status == 200)
    exported = [line.person for line in Audit(store.database).entries() if line.action == "export feedback"]
    assert exported == (["pat"] if status == 200 else [])
