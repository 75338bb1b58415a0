"""What people said is kept: conversations, turns, ratings; on a full disk, from two processes, after kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils
from feedback import TOOLS, calling, finished_turn, saying

from flywheel.errors import NotFound, StorageError
from flywheel.history import RunRecords
from flywheel.migrations import MIGRATIONS
from flywheel.promote import Registry
from flywheel.store import Store, ToolCall


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "flywheel.db")
    yield opened
    opened.close()


def fill_disk(store: Store) -> None:
    """No further page may be allocated on this connection, as on a full disk."""
    (pages,) = store.database.query("PRAGMA page_count")
    store.database.query(f"PRAGMA max_page_count = {pages['page_count']}")


def test_a_turn_is_kept_with_all_that_came_of_it(store: Store) -> None:
    conversation = store.create_conversation("ann")
    context = [{"role": "user", "content": "hello"}, saying("hi")]
    turn = store.begin_turn(conversation, "Weather in Oslo?", tools=TOOLS, model="m", context=context)
    assert (turn.status, turn.position, turn.finished_at) == ("running", 1, None)
    call = ToolCall("call-1", turn.id, 0, "get_weather", {"city": "Oslo"}, "proposed", None, None, None)
    store.save_call(call)
    store.save_call(ToolCall(**vars(call) | {"status": "done", "result": {"degrees": 3}, "duration_ms": 12.5}))
    messages = [*turn.messages, calling(("get_weather", {"city": "Oslo"}))]
    verdicts = [{"stage": "input", "ok": True}]
    store.save_turn(turn.id, status="answered", messages=messages, answer="3 °C", verdicts=verdicts, timings={"model": 4.5})
    kept = store.turn(turn.id)
    assert (kept.context, kept.tools, kept.messages, kept.verdicts) == (context, TOOLS, messages, verdicts)
    assert kept.finished_at is not None and kept.timings == {"model": 4.5}
    (made,) = store.calls(turn.id)
    assert (made.status, made.result, made.arguments) == ("done", {"degrees": 3}, {"city": "Oslo"})
    assert store.conversation(conversation.id, "ann").title == "Weather in Oslo?"


def test_nobody_sees_or_rates_what_is_another_persons(store: Store) -> None:
    turn = finished_turn(store, "secret", saying("words"), person="ann")
    with pytest.raises(NotFound):
        store.conversation(turn.conversation_id, "bob")
    with pytest.raises(NotFound):
        store.rate("bob", turn.id, "up")
    assert store.conversations("bob") == [] and len(store.conversations("ann")) == 1
    assert store.ratings(turn.conversation_id, "bob") == {}


def test_conversations_without_a_turn_are_not_listed_and_the_newest_comes_first(store: Store) -> None:
    store.create_conversation("ann")
    first, second = (finished_turn(store, text, saying("x")) for text in ("one", "two"))
    assert [c.id for c in store.conversations("ann")] == [second.conversation_id, first.conversation_id]


def test_a_rating_belongs_to_a_person_and_a_turn(store: Store) -> None:
    turn = finished_turn(store, "q", saying("a"))
    first = store.rate("ann", turn.id, "down", ["wrong_tool", "other"], "not what I asked")
    again = store.rate("ann", turn.id, "up")
    assert store.ratings(turn.conversation_id, "ann") == {turn.id: again}
    assert (again.created_at, again.categories, again.opinion) == (first.created_at, [], "")
    assert again.updated_at > first.updated_at
    store.rate("ann", turn.id, None)
    assert store.ratings(turn.conversation_id, "ann") == {} and store.turn_ratings(turn.id) == []
    assert len(store.database.query("SELECT * FROM ratings")) == 1
    with pytest.raises(ValueError, match="unknown categories"):
        store.rate("ann", turn.id, "down", ["made up"])
    with pytest.raises(NotFound):
        store.rate("ann", "turn-nowhere", "down")


@pytest.mark.parametrize("opinion", ["'; DROP TABLE ratings; --", "<script>alert(1)</script>", "half a \ud800", "nul \0"])
def test_a_hostile_comment_is_only_text(store: Store, opinion: str) -> None:
    turn = finished_turn(store, "q", saying("a"))
    store.rate("ann", turn.id, "down", ["other"], opinion)
    assert store.turn_ratings(turn.id)[0].opinion == opinion.replace("\ud800", "?")


def test_only_one_window_gets_a_turn_that_awaits(store: Store) -> None:
    conversation = store.create_conversation("ann")
    turn = store.begin_turn(conversation, "q", tools=[], model="m", context=[])
    with pytest.raises(NotFound):
        store.claim_awaiting(turn.id, "ann")
    store.save_turn(turn.id, status="awaiting", messages=turn.messages, answer="", verdicts=[], timings={})
    with pytest.raises(NotFound):
        store.claim_awaiting(turn.id, "bob")
    assert store.claim_awaiting(turn.id, "ann").status == "running"
    with pytest.raises(NotFound):
        store.claim_awaiting(turn.id, "ann")


def test_what_a_dead_process_left_running_is_stopped_and_what_awaits_is_not(store: Store) -> None:
    conversation = store.create_conversation("ann")
    running, awaiting = (store.begin_turn(conversation, text, tools=[], model="m", context=[]) for text in "ab")
    store.save_turn(awaiting.id, status="awaiting", messages=[], answer="", verdicts=[], timings={})
    assert store.interrupt_running() == 1
    assert [turn.status for turn in store.turns(conversation.id)] == ["stopped", "awaiting"]
    assert store.turn(running.id).finished_at is not None


def test_the_newest_review_counts(store: Store) -> None:
    turn = finished_turn(store, "q", saying("a"))
    assert store.latest_review(turn.id) is None
    store.record_review(turn.id, "rita", "skipped")
    store.record_review(turn.id, "rob", "rejected", saying("b"))
    latest = store.latest_review(turn.id)
    assert latest and (latest.verdict, latest.reviewer, latest.response_override) == ("rejected", "rob", saying("b"))


def test_the_file_is_private_and_says_so_when_it_cannot_be_opened(tmp_path: Path) -> None:
    store = Store(tmp_path / "flywheel.db")
    store.close()
    assert stat.S_IMODE((tmp_path / "flywheel.db").stat().st_mode) == 0o600
    with pytest.raises(StorageError, match="check the folder's space and permissions"):
        Store(tmp_path / "nowhere" / "flywheel.db")
    (tmp_path / "garbage.db").write_bytes(b"not a database" * 400)
    with pytest.raises(StorageError, match="garbage"):
        Store(tmp_path / "garbage.db")


@pytest.mark.parametrize("stop_before", ["m002_ledger", "m003_queue"])
def test_a_file_of_an_earlier_version_opens(tmp_path: Path, stop_before: str) -> None:
    path = tmp_path / "old.db"
    old = sqlite_utils.Database(path)
    MIGRATIONS.apply(old, stop_before=stop_before)
    old["conversations"].insert({"id": "conv-1", "person": "ann", "title": "kept", "created_at": "2026-01-01"})
    old.close()
    store = Store(path)
    assert store.conversation("conv-1", "ann").title == "kept"
    turn = finished_turn(store, "q", saying("a"), conversation=store.conversation("conv-1", "ann"))
    store.rate("ann", turn.id, "up")
    store.close()
    Store(path).close()


def test_runs_of_before_there_were_several_candidates_keep_theirs(tmp_path: Path) -> None:
    old = sqlite_utils.Database(tmp_path / "old.db")
    MIGRATIONS.apply(old, stop_before="m013_comparison")
    moment = {"created_at": "2026-01-01"}
    run = {"requested_by": "dev", "status": "running", "stages": "{}", "progress": "{}"} | moment
    old["runs"].insert({"id": "run-1", "job_id": "cust-1", "candidate": "m@v1", "recipe": "dpo"} | run)
    old["runs"].insert({"id": "run-2"} | run)
    old["datasets"].insert({"id": "run-1", "digest": "d", "manifest": "{}"} | moment)
    old["models"].insert({"id": "m@v1", "base_model": "base", "run_id": "run-1", "status": "candidate"} | moment)
    old.close()
    store = Store(tmp_path / "old.db")
    first, second = (RunRecords(store.database).run(name) for name in ("run-1", "run-2"))
    assert first.candidates == {"dpo": {"model": "m@v1", "job_id": "cust-1"}} and second.candidates == {}
    (model,) = Registry(store.database).models()
    assert (model.dataset_id, model.reason) == ("run-1", None)
    assert store.database.query("SELECT run_id FROM datasets") == [{"run_id": "run-1"}]
    store.close()


def test_a_full_disk_is_said_and_nothing_half_kept(store: Store) -> None:
    turn = finished_turn(store, "q", saying("a"))
    fill_disk(store)
    with pytest.raises(StorageError, match="full; nothing of this change was kept"):
        for _ in range(50):
            store.save_turn(turn.id, status="answered", messages=[], answer="x" * 100_000, verdicts=[], timings={})
    with pytest.raises(StorageError), store.database.transaction():
        store.rate("ann", turn.id, "down", ["other"], "small")
        store.record_review(turn.id, "rita", "rejected", saying("y" * 1_000_000))
    assert store.turn_ratings(turn.id) == [] and store.latest_review(turn.id) is None
    assert store.turn(turn.id).answer == "a"
    store.database.query("PRAGMA max_page_count = 1000000")
    assert store.rate("ann", turn.id, "down").thumb == "down"


def test_a_failure_inside_a_transaction_undoes_all_of_it(store: Store) -> None:
    turn = finished_turn(store, "q", saying("a"))
    with pytest.raises(RuntimeError), store.database.transaction():
        store.rate("ann", turn.id, "up")
        raise RuntimeError
    with pytest.raises(sqlite3.IntegrityError):
        store.record_review("turn-nowhere", "rita", "skipped")
    assert store.turn_ratings(turn.id) == []


OPEN_AT_ONCE = """
import sys
from pathlib import Path
from flywheel.store import Store
print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(sys.argv[1]))
conversation = store.create_conversation(sys.argv[2])
for number in range(40):
    turn = store.begin_turn(conversation, f"q {number}", tools=[], model="m", context=[])
    store.rate(sys.argv[2], turn.id, "up")
"""


@pytest.mark.slow
def test_processes_that_open_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "flywheel.db"
    people = ["ann", "bob", "cy"]
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen([*command, person], text=True, **pipes) for person in people]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    store = Store(path)
    found = store.database.query("SELECT person, count(*) AS n FROM ratings GROUP BY person ORDER BY person")
    store.close()
    assert found == [{"person": person, "n": 40} for person in people]


RATE_FOR_EVER = """
import os, sys
from pathlib import Path
from flywheel.store import Store
for line in sys.stdin:
    child = os.fork()  # for speed only: the modules are imported once
    if child:
        os.waitpid(child, 0)
        print("dead", flush=True)
        continue
    store = Store(Path(sys.argv[1]))
    conversation = store.create_conversation("ann")
    print(os.getpid(), flush=True)
    while True:
        turn = store.begin_turn(conversation, "q", tools=[], model="m", context=[])
        store.rate("ann", turn.id, "down", ["wrong_tool"], turn.id)
        print(turn.id, flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_no_rating_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "flywheel.db"
    acknowledged: list[str] = []
    command = [sys.executable, "-c", RATE_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        assert writers.stdin and writers.stdout
        for kill in range(30):
            writers.stdin.write("next\n")
            writers.stdin.flush()
            writer = int(writers.stdout.readline())
            acknowledged += [writers.stdout.readline().strip() for _ in range(1 + kill % 7)]
            os.kill(writer, signal.SIGKILL)
            acknowledged += [line.strip() for line in iter(writers.stdout.readline, "dead\n")]
    store = Store(path)
    rated = {row["turn_id"]: row for row in store.database.query("SELECT * FROM ratings")}
    store.close()
    assert len(acknowledged) >= 100 and set(acknowledged) <= rated.keys()
    assert all((rated[turn]["thumb"], rated[turn]["opinion"]) == ("down", turn) for turn in acknowledged)
    assert len(rated) - len(acknowledged) <= 30
