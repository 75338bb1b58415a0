"""The previous model's second look, against a scripted model server: what it is asked, when, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chat_app.second_look import SecondLook
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.promote import Model, Registry
from flywheel.review import ReviewDesk
from flywheel.review.policy import Policy
from flywheel.review.second_looks import SecondLooks
from flywheel.store import Store
from tests.fakes import NimReply, ScriptedNim
from tests.flywheel.feedback import calling, finished_turn, saying

BASE = "local/tool-llama-5m"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "flywheel.db")) as opened:
        yield opened


def test_where_the_previous_model_says_otherwise_a_reviewer_looks(store: Store) -> None:
    registry = Registry(store.database)
    registry.begin("older")
    looks = SecondLooks(store, registry, Policy(second_look_share=1))
    with ScriptedNim() as nim:
        settings = SimpleNamespace(flywheel=SimpleNamespace(nim_url=nim.url, api_key=""))
        services: Any = SimpleNamespace(second_looks=looks, registry=registry, settings=settings)
        worker = SecondLook(services)
        alike, otherwise = (finished_turn(store, text, calling(("get_weather", {"city": "Oslo"}))) for text in ("q1", "q2"))
        words = finished_turn(store, "q3", saying("Hello."))
        assert worker.look_once() is None  # nothing served before
        registry.add(Model(BASE, "older", None, "candidate", "2026-01-01T00:00:00+00:00"))
        registry.promote(BASE, person="dora", reason="better")
        same = NimReply(calls=(("get_weather", '{"city": "Oslo"}'),))
        nim.enqueue("Hi!", NimReply(calls=(("get_weather", '{"city": "Bergen"}'),)), same)
        assert [worker.look_once() for _ in range(4)] == [False, True, False, None]
        assert [sent["model"] for sent in nim.requests] == ["older"] * 3
        assert [sent["messages"][-1]["content"] for sent in nim.requests] == [words.question, otherwise.question, alike.question]
    (item,) = ReviewDesk(store, Ledger(store.database), Policy(silent_share=0)).queue()
    assert (item.turn_id, item.reason) == (otherwise.id, "older says otherwise")


def test_it_waits_while_anybody_asks_or_a_model_is_trained(store: Store) -> None:
    registry = Registry(store.database)
    registry.begin(BASE)
    looks = SecondLooks(store, registry, Policy())
    assert looks.idle()
    finished_turn(store, "just now", saying("Yes."))
    assert not looks.idle()
    store.database.execute("UPDATE turns SET created_at = '2026-01-01', finished_at = '2026-01-01'")
    assert looks.idle()
    RunRecords(store.database).create("run-1", "dora")
    assert not looks.idle()
