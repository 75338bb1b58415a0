"""The chat's feedback at Intake: told from the store's outbox, heard back as ratings and proposals, on the local platform."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from feedback import calling, finished_turn, saying
from nemo_microservices import NeMoMicroservices, NotFoundError

from flywheel.__main__ import main
from flywheel.database import Database, new_id
from flywheel.erase import Eraser
from flywheel.errors import Conflict
from flywheel.intake import IntakeSync, IntakeWorker, nobody_else
from flywheel.intake_client import NoIntake
from flywheel.ledger import Ledger
from flywheel.proposals import Proposals
from flywheel.review import ReviewDesk
from flywheel.settings import Settings
from flywheel.store import Store, Turn
from tests.conftest import Platform
from tests.fakes import ScriptedServices

OSLO, ROME = calling(("get_weather", {"city": "Oslo"})), calling(("get_weather", {"city": "Rome"}))


@pytest.fixture
def here(settings: Settings, platform: Platform) -> Settings:
    """A state folder of its own, a namespace of its own, and the session's platform."""
    return replace(settings.with_urls(*platform[:3]), namespace=new_id("ns"))


@pytest.fixture
def store(here: Settings) -> Iterator[Store]:
    with closing(Store(here.store_path)) as opened:
        yield opened


@pytest.fixture
def sync(here: Settings, store: Store) -> IntakeSync:
    return IntakeSync(here, store)


@pytest.fixture(scope="module")
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    """Another tool of NVIDIA's on the same Intake."""
    with NeMoMicroservices(base_url=platform.nemo_url, max_retries=0) as client:
        yield client


def desk(store: Store) -> ReviewDesk:
    return ReviewDesk(store, Ledger(store.database))


def rated(store: Store, question: str = "How warm is Rome?", person: str = "ann") -> Turn:
    """A turn that called for the wrong town, rated down."""
    turn = finished_turn(store, question, OSLO, saying("It is cold in Oslo."), person=person)
    store.rate(person, turn.id, "down", ["wrong_arguments"], "I said Rome")
    return turn


def entry_of(nemo: NeMoMicroservices, turn: Turn) -> dict[str, Any]:
    return nemo.intake.entries.retrieve(f"external:{turn.id}").to_dict(mode="json")


def test_what_people_said_is_told_once_and_every_change_follows(
    here: Settings, store: Store, sync: IntakeSync, nemo: NeMoMicroservices
) -> None:
    finished_turn(store, "Never rated", saying("Hello"))
    turn = rated(store)
    assert sync.sync().told == 1
    entry = entry_of(nemo, turn)
    told = {key: value for key, value in entry["user_rating"].items() if value is not None}
    assert told == {"thumb": "down", "opinion": "I said Rome", "categories": {"wrong_arguments": "wrong arguments"}}
    assert (entry["context"]["app"], entry["context"]["user_id"]) == (f"{here.namespace}/chat", "ann")
    request, message = entry["data"]["request"], entry["data"]["response"]["choices"][0]["message"]
    assert request["messages"] == [{"role": "user", "content": "How warm is Rome?"}] and request["tools"] == turn.tools
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert entry["custom_fields"]["answer"] == "It is cold in Oslo."
    assert sync.sync().to_dict() == dict.fromkeys(sync.sync().to_dict(), 0)

    desk(store).approve(turn.id, "rita", ROME)
    assert sync.sync().told == 1
    (event,) = entry_of(nemo, turn)["events"]
    corrected = event["response_override"]["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(corrected["arguments"]) == {"city": "Rome"} and event["created_by"]["user"] == "rita"
    config: Any = {"filters": {"context": {"app": f"{here.namespace}/chat"}}, "format_options": {"row_transformation": "chat"}}
    (row,) = nemo.intake.export.preview(config=config).data
    assert row["messages"][-1]["tool_calls"][0]["function"]["arguments"] == {"city": "Rome"}  # what NVIDIA's tools would train on

    store.rate("ann", turn.id, None)
    desk(store).reject(turn.id, "rita")
    assert sync.sync().told == 1
    entry = entry_of(nemo, turn)
    assert not any(entry["user_rating"].values()) and not entry["events"][0]["response_override"]


def test_what_was_said_before_intake_was_there_is_told_too_and_a_crash_in_between_does_no_harm(
    here: Settings, store: Store, sync: IntakeSync, nemo: NeMoMicroservices
) -> None:
    turn = rated(store)
    sync.sync()
    desk(store).approve(turn.id, "rita", ROME)
    with closing(sqlite3.connect(here.store_path)) as raw:  # as if the power had failed before the entry was noted
        raw.execute("DELETE FROM intake_entries")
        # ... and as in a file of an earlier version
        for name in ("outbox", "entries", "events", "cursor"):
            raw.execute(f"DROP TABLE intake_{name}")
        raw.execute("DROP TABLE proposals")
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%intake%'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.execute("DELETE FROM _sqlite_migrations WHERE name = 'm007_intake'")
        raw.commit()
    with closing(Store(here.store_path)) as opened:
        assert IntakeSync(here, opened).sync().told == 1
    assert len(entry_of(nemo, turn)["events"]) == 1


def test_what_others_say_at_intake_comes_back_as_ratings_and_proposals(
    store: Store, sync: IntakeSync, nemo: NeMoMicroservices
) -> None:
    turn = rated(store)
    sync.sync()
    override: Any = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}]}}]}  # fmt: skip
    wrong: Any = {"choices": [{"message": {"role": "assistant", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "rm", "arguments": "{}"}}]}}]}  # fmt: skip
    nemo.intake.entries.events.create(
        f"external:{turn.id}",
        events=[
            {"event_type": "user_feedback", "thumb": "up", "opinion": "<b>fine</b>", "created_by": {"user": "rex"}},
            {
                "event_type": "reviewer_annotation",
                "thumb": "down",
                "response_override": override,
                "created_by": {"user": "labeler"},
            },
            {"event_type": "reviewer_annotation", "response_override": wrong, "created_by": {"user": "labeler"}},
            {"event_type": "user_action", "action": "copied"},
        ],
    )
    done = sync.sync()
    assert (done.ratings, done.proposals, done.left_out, done.told) == (2, 1, 1, 0)
    by = {rating.person: (rating.thumb, rating.opinion) for rating in store.turn_ratings(turn.id)}
    assert by == {"ann": ("down", "I said Rome"), "intake:rex": ("up", "<b>fine</b>"), "intake:labeler": ("down", "")}
    assert not any(sync.sync().to_dict().values())

    (proposal,) = Proposals(store.database).open(turn.id)
    assert proposal.person == "intake:labeler" and proposal.response["tool_calls"][0]["function"]["arguments"] == {"city": "Rome"}
    assert not Ledger(store.database).examples()  # never an example by itself
    (item,) = desk(store).queue()
    assert item.reason == "thumb down: wrong arguments; somebody proposed a correction; thumb up"
    desk(store).approve(turn.id, "rita", proposal.response)
    assert not Proposals(store.database).open(turn.id) and len(Ledger(store.database).examples()) == 1

    nemo.intake.entries.update(f"external:{turn.id}", user_rating={"thumb": "up", "rewrite": "It is warm in Rome."})
    done = sync.sync()
    assert (done.ratings, done.proposals) == (1, 1)
    assert Proposals(store.database).open(turn.id)[0].response == {"role": "assistant", "content": "It is warm in Rome."}
    assert desk(store).queue(), "a proposal after the decision brings the turn back"


def test_a_turn_that_is_gone_goes_there_too(store: Store, sync: IntakeSync, nemo: NeMoMicroservices) -> None:
    turn = rated(store)
    sync.sync()
    for table in ("ratings", "tool_calls"):
        store.database.execute(f"DELETE FROM {table} WHERE turn_id = ?", (turn.id,))
    store.database.execute("DELETE FROM turns WHERE id = ?", (turn.id,))
    assert sync.sync().deleted == 1
    with pytest.raises(NotFoundError):
        entry_of(nemo, turn)


def test_erasing_a_person_reaches_intake(here: Settings, store: Store, sync: IntakeSync, nemo: NeMoMicroservices) -> None:
    from flywheel.promote import Registry

    Registry(store.database).begin(here.base_model)
    mine, other = rated(store), rated(store, "How warm is Lima?", "bob")
    sync.sync()
    with nobody_else(here, 0), pytest.raises(Conflict, match="Intake"):
        Eraser(here, store, patience=0.1).erase("ann")
    erased = Eraser(here, store).erase("ann")
    assert erased.counts["intake_entries"] == 1 and not erased.remaining
    with pytest.raises(NotFoundError):
        entry_of(nemo, mine)
    assert entry_of(nemo, other)["context"]["user_id"] == "bob"
    away = here.with_urls("http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:9")
    assert Eraser(away, store).erase("bob").remaining[-1].endswith(f"/v1/intake/entries/external:{other.id}")
    assert sync.sync().deleted == 2  # what could not be deleted then
    with pytest.raises(NotFoundError):
        entry_of(nemo, other)


def test_without_intake_or_services_all_waits_and_the_log_says_so_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(settings.store_path)) as store, ScriptedServices() as nothing:
        rated(store)
        there = settings.with_urls(nothing.url, nothing.url, nothing.url)
        with pytest.raises(NoIntake, match="no Intake at"):
            IntakeSync(there, store).sync()
        worker = IntakeWorker(settings.with_urls(*["http://127.0.0.1:9"] * 3), store, period=0.01)
        with caplog.at_level(logging.WARNING, "flywheel.intake"):
            assert worker.once() is None and worker.once() is None
            worker.start()
            worker.stop()
        assert sum("feedback waits for Intake" in line for line in caplog.messages) == 1
        assert store.database.query("SELECT count(*) AS n FROM intake_outbox") == [{"n": 1}]


def test_an_entry_that_is_refused_holds_up_no_other(store: Store, sync: IntakeSync, nemo: NeMoMicroservices) -> None:
    bad, good = rated(store), rated(store, "How warm is Lima?")
    Database.update(store.database, "turns", bad.id, {"model": ""})  # Intake wants a name
    done = sync.sync()
    assert (done.told, done.refused) == (1, 1)
    assert entry_of(nemo, good)["external_id"] == good.id
    store.database.update("turns", bad.id, {"model": "m"})
    assert sync.sync().told == 1


def test_the_command_tells_what_it_did(here: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rated(store)
    for name, value in {"NEMO_URL": here.nemo_url, "NDS_URL": here.nds_url, "NIM_URL": here.nim_url}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("NMS_NAMESPACE", here.namespace)
    result = CliRunner().invoke(main, ["intake", "sync", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["told"] == 1
    assert "0 entries told" in CliRunner().invoke(main, ["intake", "sync"]).stdout
