"""Which model serves: one row, moved together with its history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.database import Database, now
from flywheel.errors import Conflict, NotFound, StorageError
from flywheel.history import RunRecords
from flywheel.promote import Model, Registry


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "flywheel.db")
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database) -> Registry:
    made = Registry(database)
    made.begin("base")
    for name in "abc":
        made.add(Model(name, "base", None, "candidate", now()))
    return made


def test_nothing_serves_before_the_beginning(database: Database) -> None:
    with pytest.raises(NotFound, match="no model serves yet"):
        Registry(database).served()


def test_the_base_serves_first_and_beginning_again_changes_nothing(registry: Registry) -> None:
    assert registry.served().model == "base"
    registry.promote("a", person="dev", reason="better")
    assert registry.begin("base").model == "a"
    assert [move.kind for move in registry.promotions()] == ["promote", "first"]


def test_another_base_model_serves_in_place_of_adapters_that_do_not_fit_it(registry: Registry) -> None:
    registry.promote("a", person="dev", reason="better")
    assert registry.begin("other base").model == "other base"
    assert "base model changed from 'base'" in registry.promotions()[0].reason


def test_promoting_moves_the_row_and_keeps_history(registry: Registry, database: Database) -> None:
    records = RunRecords(database)
    records.create("run-1", "dev")
    records.note("run-1", candidate="a")
    assert registry.promote("a", person="dev", reason="passed", run_id="run-1")
    assert not registry.promote("a", person="dev", reason="passed", run_id="run-1")
    assert registry.model("a").status == "promoted" and records.run("run-1").outcome == "promoted"
    newest, oldest = registry.promotions()
    assert (newest.model, newest.previous, newest.kind, newest.run_id) == ("a", "base", "promote", "run-1")
    assert (oldest.model, oldest.previous, oldest.kind) == ("base", None, "first")
    assert newest.created_at == registry.served().since
    registry.promote("base", person="dev", reason="back")
    assert registry.model("base").status == "base"


def test_an_unknown_model_is_named_with_those_that_exist(registry: Registry) -> None:
    with pytest.raises(NotFound, match="no model 'x'; known are 'c', 'b', 'a', 'base'"):
        registry.promote("x", person="dev", reason="typo")
    assert registry.served().model == "base"


def test_rolling_back_walks_back_one_model_at_a_time(registry: Registry) -> None:
    for name in "abc":
        registry.promote(name, person="dev", reason="better")
    assert [registry.roll_back(person="dev", reason="worse") for _ in range(3)] == ["b", "a", "base"]
    with pytest.raises(Conflict, match="nothing served before 'base'"):
        registry.roll_back(person="dev", reason="worse")
    registry.promote("c", person="dev", reason="better")
    assert registry.roll_back(person="dev", reason="worse") == "base"


def test_a_rejected_model_is_set_aside_but_never_one_that_serves(registry: Registry, database: Database) -> None:
    records = RunRecords(database)
    records.create("run-1", "dev")
    records.note("run-1", candidate="a")
    registry.reject("a", person="dev", reason="odd answers")
    assert registry.model("a").status == "rejected"
    run = records.run("run-1")
    assert (run.outcome, run.error) == ("rejected", "rejected by dev: odd answers")
    registry.promote("b", person="dev", reason="better")
    for name in ("b", "base"):
        with pytest.raises(Conflict):
            registry.reject(name, person="dev", reason="no")
    assert registry.model("b").status == "promoted"


def test_a_full_disk_leaves_the_old_model_serving(registry: Registry, database: Database) -> None:
    (pages,) = database.query("PRAGMA page_count")
    database.query(f"PRAGMA max_page_count = {pages['page_count']}")
    with pytest.raises(StorageError):
        registry.promote("a", person="dev", reason="x" * 1_000_000)
    assert registry.served().model == "base" and registry.model("a").status == "candidate"
    assert len(registry.promotions()) == 1


def test_whoever_looks_sees_exactly_one_served_model_that_history_knows(registry: Registry, database: Database) -> None:
    other = Database(database.path)
    done = threading.Event()

    def move() -> None:
        for name in "abcabcabcabc":
            registry.promote(name, person="dev", reason="better")
        done.set()

    mover = threading.Thread(target=move)
    mover.start()
    seen = []
    while not done.is_set() or not seen:
        rows = other.query("SELECT s.model, (SELECT model FROM promotions ORDER BY id DESC LIMIT 1) AS last FROM served s")
        seen.append(len(rows) == 1 and rows[0]["model"] == rows[0]["last"])
    mover.join()
    other.close()
    assert all(seen) and len(registry.promotions()) == 13
