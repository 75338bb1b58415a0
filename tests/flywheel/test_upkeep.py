"""Beside the runs: who hears what happened, what is kept of old runs, and how large a log may grow."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from lamps import lamp_row
from wheel_turned import turn_wheel

from flywheel.__main__ import main
from flywheel.errors import Conflict, InputError
from flywheel.events import Events
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.nemo import Nemo
from flywheel.platform import rotate
from flywheel.promote import Registry
from flywheel.retain import Policy as RetentionPolicy
from flywheel.retain import Retention
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from flywheel.webhook import PAUSE, SIGNATURE, Policy, Webhook
from tests.fakes import ScriptedServices

SECRET = "a secret of the test"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.store_path)
    Registry(opened.database).begin(LOCAL_BASE_MODEL)
    Ledger(opened.database).add_import("lamps.jsonl", "0" * 64, enumerate(map(lamp_row, range(30)), 1), [], "ann")
    yield opened
    opened.close()


class Listener:
    """Another service: keeps what it was sent, and answers with `status`."""

    def __init__(self) -> None:
        self.status, self.bodies, self.signatures = 204, list[bytes](), list[str | None]()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                listener.signatures.append(self.headers[SIGNATURE])
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.policy = Policy(f"http://127.0.0.1:{self.server.server_port}/hook")

    def said(self) -> list[tuple[object, ...]]:
        names = ("event", "run", "status", "outcome", "model")
        return [tuple(json.loads(body)[name] for name in names) for body in self.bodies]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    threading.Thread(target=listening.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield listening
    listening.server.shutdown()
    listening.server.server_close()


def test_what_happened_is_told_once_and_signed(store: Store, settings: Settings, listener: Listener) -> None:
    hook = Webhook(store.database, SECRET, lambda: listener.policy)
    model, _ = turn_wheel(settings, store)
    Registry(store.database).roll_back(person="ann", reason="people complain")
    assert (hook.deliver(), hook.deliver()) == (3, 0)
    assert listener.said() == [
        ("run ended", "run-1", "succeeded", "promoted", model),
        ("promote", "run-1", "succeeded", "promoted", model),
        ("rollback", None, None, None, LOCAL_BASE_MODEL),
    ]
    signed = [f"sha256={hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()}" for body in listener.bodies]
    assert listener.signatures == signed
    assert not any(word in body for body in listener.bodies for word in (b"ann", b"rita", b"complain", b"better"))


def test_what_was_not_taken_comes_again_after_growing_pauses_and_a_restart(
    store: Store, settings: Settings, listener: Listener
) -> None:
    RunRecords(store.database).create("run-1", "ann")
    RunRecords(store.database).finish("run-1", "failed", error="ann did it")
    listener.status, moment = 503, datetime.now(UTC) + timedelta(seconds=1)
    hook = Webhook(store.database, SECRET, lambda: listener.policy)
    assert hook.deliver(moment) == 0
    hook.deliver(moment + PAUSE / 2)
    assert len(listener.bodies) == 1
    hook.deliver(moment + PAUSE * 1.1)
    hook.deliver(moment + PAUSE * 2.2)
    assert len(listener.bodies) == 2  # the second pause is twice the first
    listener.status = 200
    with closing(Store(settings.store_path)) as again:
        assert Webhook(again.database, SECRET, lambda: listener.policy).deliver(moment + PAUSE * 3.2) == 1
    assert len({json.loads(body)["id"] for body in listener.bodies}) == 1
    assert listener.said()[-1] == ("run ended", "run-1", "failed", None, None)


def test_without_an_address_nothing_is_saved_up(store: Store, settings: Settings, listener: Listener) -> None:
    turn_wheel(settings, store)
    assert Webhook(store.database, "", lambda: Policy()).deliver() == 0
    assert Webhook(store.database, "", lambda: listener.policy).deliver() == 0 and not listener.bodies


@pytest.mark.parametrize("address", ["http://example.com/hook", "ftp://127.0.0.1/hook", "hook", "https://"])
def test_an_address_that_would_carry_it_in_the_clear_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="webhook in"):
        Policy(address).address()


def test_everybody_sees_what_happened_since_they_looked(store: Store, settings: Settings) -> None:
    events = Events(store.database)
    turn_wheel(settings, store)
    seen = events.unseen("ann")
    assert [(event.kind, event.outcome) for event in seen] == [("promote", "promoted"), ("ended", "promoted")]
    events.seen("ann", seen[0].id)
    events.seen("ann", 0)
    registry = Registry(store.database)
    registry.roll_back(person="ann", reason="x")
    registry.reject(str(seen[0].model), person="ann", reason="it is slow")
    rejected, rolled_back = events.unseen("ann")
    assert (rolled_back.kind, rejected.kind, rejected.error) == ("rollback", "rejected", "rejected by ann: it is slow")
    assert len(events.unseen("bob")) == 4


def turn_often(settings: Settings, store: Store, count: int) -> list[str]:
    """So many runs, each of which put its model live."""
    for number in range(count):
        Ledger(store.database).add_import(f"{number}", "0" * 64, [(1, lamp_row(100 + number))], [], "ann")
        turn_wheel(settings, store, f"run-{number}")
    return [f"run-{number}" for number in range(count)]


def test_of_old_runs_the_record_stays(store: Store, settings: Settings) -> None:
    turn_often(settings, store, 5)
    records = RunRecords(store.database)
    records.create("run-waits", "ann")
    records.finish("run-waits", "succeeded", outcome="waiting")
    store.database.update("runs", "run-waits", {"created_at": "2020-01-01T00:00:00+00:00", "candidate": "x/waits@v1"})
    keep_one = Retention(settings, store, lambda: RetentionPolicy(runs=1))
    # run-4 is new and serves, run-3 is what a roll-back brings, run-waits may still serve
    assert [run.id for run in keep_one.leaving()] == ["run-0", "run-1", "run-2"]
    assert Retention(settings, store, RetentionPolicy).leaving() == []
    assert Retention(settings, store, lambda: RetentionPolicy(runs=0)).leaving() == []
    with ScriptedServices() as services:
        model, dataset = "/v1/models/flywheel/tool-llama-5m-run-0@v1", "/v1/datasets/flywheel/run-0"
        gone = (200, {"id": "x", "deleted_at": "2026-01-01T00:00:00", "message": "deleted"})
        for request in (f"DELETE {model}", f"DELETE {dataset}", "DELETE /v1/hf/api/repos/delete"):
            services.on(request, gone)
        with closing(Nemo(settings.with_urls(*[services.url] * 3))) as nemo:
            for run in keep_one.leaving():  # of the others the services know nothing any more
                keep_one.remove(run, nemo)
        assert {f"DELETE {model}", f"DELETE {dataset}"} <= set(services.heard)
    assert not (settings.home / "datasets" / "run-0").exists() and (settings.home / "datasets" / "run-3").exists()
    removed = records.run("run-0")
    assert removed.removed_at and removed.outcome == "promoted" and Ledger(store.database).dataset("run-0")
    assert keep_one.leaving() == []


def test_nothing_rolls_back_to_a_model_that_is_gone(store: Store, settings: Settings) -> None:
    turn_often(settings, store, 2)
    store.database.update("runs", "run-0", {"removed_at": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(Conflict, match="nothing served before"):
        Registry(store.database).roll_back(person="ann", reason="x")


def test_the_command_says_first_what_would_go(store: Store, settings: Settings) -> None:
    turn_often(settings, store, 4)
    (settings.home / "policy.toml").write_text("[retention]\nruns = 1\n")
    said = CliRunner().invoke(main, ["retain", "--dry-run", "--json"])
    assert json.loads(said.stdout) == {"dry_run": True, "runs": ["run-0", "run-1"]}
    assert RunRecords(store.database).run("run-0").removed_at is None


def test_a_log_that_grew_too_large_is_moved_aside_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "platform.log"
    rotate(log, 10)
    with open(log, "ab", buffering=0) as writer:
        writer.write(b"first lines\n")
        rotate(log, 100)
        assert log.stat().st_size == 12
        rotate(log, 10)
        writer.write(b"next\n")
    assert log.read_bytes() == b"next\n" and (tmp_path / "platform.1.log").read_bytes() == b"first lines\n"
    assert os.stat(tmp_path / "platform.1.log").st_mode & 0o777 == 0o600
