"""The reviewers' desk."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feedback import TOOLS, WEATHER, calling, finished_turn, saying

from flywheel.errors import Conflict, InputError, NotFound, StorageError
from flywheel.ledger import Ledger
from flywheel.review import Filter, ReviewDesk
from flywheel.review.policy import Policy
from flywheel.store import Store

OSLO = calling(("get_weather", {"city": "Oslo"}))
TIME = calling(("local_time", {"city": "Oslo"}))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "flywheel.db")
    yield opened
    opened.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store.database)


@pytest.fixture
def desk(store: Store, ledger: Ledger) -> ReviewDesk:
    """With one reviewer for each turn, and every silent turn in the queue."""
    return ReviewDesk(store, ledger, Policy(silent_share=1, second_share=0))


def test_the_queue_begins_with_what_people_complained_about(store: Store, desk: ReviewDesk) -> None:
    silent = finished_turn(store, "silent", saying("words"))
    liked = finished_turn(store, "liked", OSLO, saying("sunny"))
    blocked = finished_turn(store, "blocked", status="blocked")
    failed = finished_turn(store, "failed", OSLO, call_status="failed")
    refused = finished_turn(store, "refused", OSLO, call_status="refused")
    disliked, worse = (finished_turn(store, text, TIME, OSLO, call_status="failed") for text in ("disliked", "worse"))
    store.begin_turn(store.create_conversation("ann"), "still running", tools=[], model="m", context=[])
    store.rate("ann", liked.id, "up")
    store.rate("ann", disliked.id, "down", ["wrong_tool", "bad_answer"])
    store.rate("ann", worse.id, "down")
    queue = desk.queue()
    assert [(item.question, item.reason) for item in queue] == [
        ("worse", "thumb down; tool call failed"),
        ("disliked", "thumb down: wrong tool, bad answer; tool call failed"),
        ("refused", "tool call refused"),
        ("failed", "tool call failed"),
        ("blocked", "blocked by a rail"),
        ("liked", "thumb up"),
        ("silent", "not rated: a random sample"),
    ]
    first, last = queue[0], queue[-1]
    assert (first.turn_id, first.called, first.person) == (worse.id, "local_time, get_weather", "ann")
    assert (first.model, first.created_at) == (worse.model, worse.created_at)
    assert (last.turn_id, last.called, last.verdict) == (silent.id, "no tool", None)
    assert {blocked.id, failed.id, refused.id} == {item.turn_id for item in queue[2:5]}
    assert [item.question for item in desk.queue(limit=2)] == ["worse", "disliked"]


def test_a_withdrawn_thumb_is_no_thumb(store: Store, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", saying("a"))
    store.rate("ann", turn.id, "down", ["other"])
    store.rate("ann", turn.id, None)
    assert [item.reason for item in desk.queue()] == ["not rated: a random sample"]


def test_what_was_decided_leaves_the_queue_until_a_new_complaint(store: Store, desk: ReviewDesk) -> None:
    turns = [finished_turn(store, str(number), OSLO) for number in range(4)]
    for turn in turns[:2]:
        store.rate("ann", turn.id, "down")
    desk.approve(turns[0].id, "rita", None)
    desk.reject(turns[1].id, "rita")
    desk.skip(turns[2].id, "rita")
    assert [item.question for item in desk.queue()] == ["3"]
    assert {item.question: item.verdict for item in desk.queue(Filter(decided=True))} == {
        "0": "approved", "1": "rejected", "2": "skipped", "3": None
    }  # fmt: skip
    store.rate("ann", turns[0].id, "down", ["wrong_arguments"])
    assert [(item.question, item.verdict) for item in desk.queue()] == [("0", "approved"), ("3", None)]


def test_an_item_has_everything_about_a_turn(store: Store, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO, saying("sunny"))
    rating = store.rate("ann", turn.id, "down", ["wrong_tool"], "I asked for the time")
    item = desk.item(turn.id)
    assert (item.turn, item.ratings, item.review) == (turn, [rating], None)
    assert [(call.name, call.arguments) for call in item.calls] == [("get_weather", {"city": "Oslo"})]
    with pytest.raises(NotFound):
        desk.item("turn-nowhere")


def test_a_tools_schema_is_the_one_that_the_model_saw(store: Store, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO)
    assert desk.tool_schema(turn, "get_weather") == WEATHER
    with pytest.raises(NotFound, match="it saw 'get_weather', 'local_time', 'add'"):
        desk.tool_schema(turn, "launch")


def test_a_correction_becomes_the_row_to_learn(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    context = ({"role": "user", "content": "hi"}, saying("hello"))
    turn = finished_turn(store, "What time is it in Oslo?", OSLO, saying("sunny"), context=context)
    made = ledger.example(desk.approve(turn.id, "rita", TIME))
    assert made.row.messages == [*context, {"role": "user", "content": "What time is it in Oslo?"}, TIME]
    assert made.row.tools == TOOLS
    assert (made.source, made.person, made.reviewer, made.turn_id) == ("correction", "ann", "rita", turn.id)
    review = desk.item(turn.id).review
    assert review and (review.verdict, review.response_override, review.example_id) == ("approved", TIME, made.id)


def test_several_calls_or_words_may_be_right(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    both = calling(("get_weather", {"city": "Oslo"}), ("add", {"a": 1, "b": 2.5}))
    for right in (both, saying("I cannot do that.")):
        turn = finished_turn(store, "q", TIME, saying("x"))
        assert desk.problems(turn, right) == []
        assert ledger.example(desk.approve(turn.id, "rita", right)).row.messages[-1] == right


def test_what_the_model_said_first_is_what_an_approved_thumb_up_teaches(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    calls = OSLO["tool_calls"]
    with_ids = {"role": "assistant", "content": "let me see", "tool_calls": [{"id": "call-1", **calls[0]}]}
    turn = finished_turn(store, "Weather in Oslo?", with_ids, saying("sunny"))
    made = ledger.example(desk.approve(turn.id, "rita", None))
    assert made.source == "thumb_up" and made.row.messages[-1] == OSLO
    spoken = finished_turn(store, "Thanks", saying("You are welcome."))
    assert ledger.example(desk.approve(spoken.id, "rita", None)).row.messages[-1] == saying("You are welcome.")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (calling(("launch", {})), "'launch', which is not on offer"),
        (calling(("get_weather", {})), "'city' is a required property"),
        (calling(("get_weather", {"city": 3})), "3 is not of type 'string'"),
        (calling(("get_weather", {"city": "Oslo", "when": "now"})), "no argument 'when'"),
        (calling(("get_weather", {"city": "Oslo"}), ("add", {"a": 1})), "'b' is a required property"),
        (saying("  "), "neither a tool call nor text"),
        ({"role": "user", "content": "hi"}, "no assistant message"),
        ({"role": "assistant", "tool_calls": "get_weather"}, "not JSON"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": [1]}}]}, "must be an object"),
        ({"role": "assistant", "tool_calls": [{"nonsense": 1}]}, "name and arguments"),
        (calling(("add", {"a": math.inf, "b": 1})), "not finite"),
        (saying("half \ud800"), "half a character"),
    ],
)
def test_a_wrong_correction_is_refused_with_its_reason(
    store: Store, ledger: Ledger, desk: ReviewDesk, response: dict[str, Any], reason: str
) -> None:
    turn = finished_turn(store, "q", OSLO)
    assert reason in "; ".join(desk.problems(turn, response))
    with pytest.raises(InputError, match=reason):
        desk.approve(turn.id, "rita", response)
    assert ledger.examples() == [] and store.latest_review(turn.id) is None


def test_arguments_written_as_text_are_understood(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO)
    call = {"function": {"name": "local_time", "arguments": '{"city": "Oslo"}'}}
    raw = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert ledger.example(desk.approve(turn.id, "rita", raw)).row.messages[-1] == TIME


def test_a_wrong_or_blocked_answer_cannot_be_approved_as_it_is(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    invented = finished_turn(store, "a", calling(("launch", {})), call_status="refused")
    silent = finished_turn(store, "b", status="failed")
    blocked = finished_turn(store, "c", saying("rude words"), status="blocked")
    for turn, reason in ((invented, "not on offer"), (silent, "the model said nothing"), (blocked, "a rail blocked the answer")):
        with pytest.raises(InputError, match=reason):
            desk.approve(turn.id, "rita", None)
    assert ledger.examples() == []
    desk.approve(blocked.id, "rita", saying("kind words"))
    assert len(ledger.examples()) == 1


def test_rejecting_takes_an_earlier_approval_back_and_skipping_does_not(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO)
    approved = desk.approve(turn.id, "rita", TIME)
    desk.skip(turn.id, "rob")
    assert [one.id for one in ledger.examples()] == [approved]
    review = desk.item(turn.id).review
    assert review and review.verdict == "approved"
    desk.reject(turn.id, "rob")
    assert ledger.examples() == []
    assert desk.approve(turn.id, "rita", TIME) == approved
    assert [one.id for one in ledger.examples()] == [approved]


def test_a_turn_that_is_under_way_cannot_be_decided(store: Store, desk: ReviewDesk) -> None:
    turn = store.begin_turn(store.create_conversation("ann"), "q", tools=TOOLS, model="m", context=[])
    with pytest.raises(Conflict, match="still under way"):
        desk.approve(turn.id, "rita", TIME)
    for decide in (desk.reject, desk.skip):
        with pytest.raises(Conflict, match="still under way"):
            decide(turn.id, "rita")


def test_on_a_full_disk_nothing_of_an_approval_is_kept(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO)
    (pages,) = store.database.query("PRAGMA page_count")
    store.database.query(f"PRAGMA max_page_count = {pages['page_count']}")
    with pytest.raises(StorageError, match="nothing of this change was kept"):
        desk.approve(turn.id, "rita", saying("x" * 100_000))
    assert ledger.examples() == [] and store.latest_review(turn.id) is None


def test_an_approval_that_cannot_be_recorded_leaves_no_example(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = finished_turn(store, "q", OSLO)
    store.database.execute("CREATE TRIGGER broken BEFORE INSERT ON reviews BEGIN SELECT RAISE(ABORT, 'broken'); END")
    with pytest.raises(sqlite3.IntegrityError):
        desk.approve(turn.id, "rita", TIME)
    assert ledger.examples() == []
    store.database.execute("DROP TRIGGER broken")
    approved = desk.approve(turn.id, "rita", TIME)
    store.database.execute("CREATE TRIGGER broken BEFORE INSERT ON reviews BEGIN SELECT RAISE(ABORT, 'broken'); END")
    with pytest.raises(sqlite3.IntegrityError):
        desk.reject(turn.id, "rita")
    assert [one.id for one in ledger.examples()] == [approved]


def multiply(store: Store, table: str, count: int, **changed: str) -> None:
    """Copy the table's only row so often; changed: column → SQL over the number i."""
    columns = [row["name"] for row in store.database.query(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(name, name) for name in columns)
    numbers = f"WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count})"
    store.database.execute(f"{numbers} INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, numbers")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(sort="oldest"),
        Filter(sort="newest"),
        Filter(reason="thumb_down"),
        Filter(tool="get_weather"),
        Filter(text="q 49"),
    ],
    ids=lambda wanted: str({name: value for name, value in vars(wanted).items() if value}),
)
def test_the_queue_stays_quick_among_many_turns(crowded: ReviewDesk, wanted: Filter) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        found = crowded.queue(wanted, reviewer="rita")
        seconds.append(time.perf_counter() - started)
    assert len(found) == 100 and min(seconds) < 0.1, seconds


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewDesk]:
    """50,000 turns, all of them waiting."""
    store = Store(tmp_path_factory.mktemp("crowded") / "flywheel.db")
    desk = ReviewDesk(store, Ledger(store.database), Policy(second_share=0))
    store.rate("ann", finished_turn(store, "q", OSLO, saying("x" * 2000)).id, "down", ["other"])
    desk.queue()
    moment = "strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i, 'unixepoch') || '+00:00'"
    multiply(store, "turns", 50_000, id="'turn-' || i", position="i + 1", question="'q ' || i", finished_at=moment)
    multiply(store, "review_queue", 50_000, turn_id="'turn-' || i", rank="i % 7", question="'q ' || i", moment=moment)
    store.database.execute("DELETE FROM review_stale")
    yield desk
    store.close()


def test_a_turn_comes_into_the_queue_within_milliseconds(store: Store, desk: ReviewDesk) -> None:
    for number in range(200):
        finished_turn(store, f"q{number}", OSLO, saying("x"))
    started = time.perf_counter()
    assert len(desk.queue(limit=300)) == 200
    assert time.perf_counter() - started < 200 * 0.02
