"""A person's own conversations: found, renamed, deleted; turns retried, edited, taken back; what the flywheel keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils
from feedback import calling, finished_turn, saying

from flywheel.conversations import Conversations
from flywheel.errors import Conflict, InputError, NotFound
from flywheel.ledger import Ledger
from flywheel.migrations import MIGRATIONS
from flywheel.review import ReviewDesk
from flywheel.store import UNTITLED, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "flywheel.db")
    yield opened
    opened.close()


@pytest.fixture
def mine(store: Store) -> Conversations:
    return Conversations(store)


def test_conversations_are_found_by_title_question_and_answer(store: Store, mine: Conversations) -> None:
    sky = finished_turn(store, "The colour of the sky?", saying("100% blue_ish"))
    dwarves = finished_turn(store, "How many dwarves?", saying("Seven."))
    finished_turn(store, "Blue whales?", saying("Big."), person="bob")
    mine.rename(dwarves.conversation_id, "ann", "  Snow\n White ")

    def found(text: str) -> list[str]:
        return [conversation.title for conversation in mine.find("ann", text)]

    assert found("") == ["Snow White", "The colour of the sky?"]
    assert found("SNOW") == found("dwarves") == found("seven") == ["Snow White"]
    assert found("100%") == found("blue_") == found("BLUE") == ["The colour of the sky?"]
    assert found("%") == ["The colour of the sky?"] and found("1_0") == found("whales") == []
    finished_turn(store, "And at night?", saying("Black."), conversation=store.conversation(sky.conversation_id, "ann"))
    assert found(" ") == ["The colour of the sky?", "Snow White"], "the one last spoken in comes first"


def test_only_its_person_may_touch_a_conversation(store: Store, mine: Conversations) -> None:
    turn = finished_turn(store, "secret", saying("words"))
    for attempt in (
        lambda: mine.rename(turn.conversation_id, "bob", "mine now"),
        lambda: mine.delete(turn.conversation_id, "bob"),
        lambda: mine.set_aside(turn.id, "bob", "undone"),
    ):
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(InputError, match="write a few words"):
        mine.rename(turn.conversation_id, "ann", " \n")
    assert mine.rename(turn.conversation_id, "ann", "x" * 99).title == "x" * 60


def test_a_deleted_conversation_is_gone_for_its_person_and_stays_with_the_flywheel(store: Store, mine: Conversations) -> None:
    turn = finished_turn(store, "Weather?", saying("No idea."))
    store.rate("ann", turn.id, "down", ["bad_answer"])
    mine.delete(turn.conversation_id, "ann")
    assert mine.find("ann", "") == mine.find("ann", "Weather") == store.conversations("ann") == []
    with pytest.raises(NotFound):
        store.conversation(turn.conversation_id, "ann")
    assert [item.turn_id for item in ReviewDesk(store, Ledger(store.database)).queue()] == [turn.id]
    assert [rating.thumb for rating in store.turn_ratings(turn.id)] == ["down"]


def test_a_turn_asked_again_makes_room_and_stays_in_the_queue(store: Store, mine: Conversations) -> None:
    first = finished_turn(store, "One?", saying("1"))
    thread = store.conversation(first.conversation_id, "ann")
    second = finished_turn(store, "Two?", saying("3"), conversation=thread)
    store.rate("ann", second.id, "down")
    assert [turn.id for turn in mine.set_aside(second.id, "ann", "retried")] == [second.id]
    third = finished_turn(store, "Two?", saying("2"), conversation=thread)
    assert [(turn.id, turn.position) for turn in store.turns(thread.id)] == [(first.id, 1), (third.id, 3)]
    assert store.turn(second.id).set_aside == "retried" and store.turn_ratings(second.id)[0].thumb == "down"
    assert second.id in [item.turn_id for item in ReviewDesk(store, Ledger(store.database)).queue()]
    with pytest.raises(NotFound, match="no longer part"):
        mine.set_aside(second.id, "ann", "retried")


def test_an_earlier_turn_takes_those_after_it_along(store: Store, mine: Conversations) -> None:
    first = finished_turn(store, "One?", saying("1"))
    thread = store.conversation(first.conversation_id, "ann")
    finished_turn(store, "Two?", saying("2"), conversation=thread)
    assert len(mine.set_aside(first.id, "ann", "edited")) == 2
    assert store.turns(thread.id) == [] and store.conversation(thread.id, "ann").title == UNTITLED
    finished_turn(store, "Uno?", saying("1"), conversation=thread)
    assert store.conversation(thread.id, "ann").title == "Uno?"


def test_a_title_given_by_hand_stays(store: Store, mine: Conversations) -> None:
    turn = finished_turn(store, "One?", saying("1"))
    mine.rename(turn.conversation_id, "ann", "Numbers")
    mine.set_aside(turn.id, "ann", "edited")
    finished_turn(store, "Two?", saying("2"), conversation=store.conversation(turn.conversation_id, "ann"))
    assert store.conversation(turn.conversation_id, "ann").title == "Numbers"


@pytest.mark.parametrize("delete", [True, False])
def test_what_waits_for_a_yes_waits_no_more(store: Store, mine: Conversations, delete: bool) -> None:
    made = calling(("add_reminder", {"text": "milk"}))
    turn = finished_turn(store, "Remind me", made, status="awaiting", call_status="awaiting")
    if delete:
        mine.delete(turn.conversation_id, "ann")
    else:
        mine.set_aside(turn.id, "ann", "undone")
    with pytest.raises(NotFound):
        store.claim_awaiting(turn.id, "ann")
    assert [call.status for call in store.calls(turn.id)] == ["declined"]
    assert store.turn(turn.id).status == "stopped" and store.turn(turn.id).finished_at is not None


def test_a_turn_under_way_is_not_taken_back(store: Store, mine: Conversations) -> None:
    turn = store.begin_turn(store.create_conversation("ann"), "Long?", tools=[], model="m", context=[])
    with pytest.raises(Conflict, match="still coming"):
        mine.set_aside(turn.id, "ann", "undone")
    assert store.turn(turn.id).set_aside is None


def test_a_store_from_before_opens(tmp_path: Path) -> None:
    old = sqlite_utils.Database(tmp_path / "flywheel.db")
    MIGRATIONS.apply(old, stop_before="m009_chat")
    old["conversations"].insert({"id": "c", "person": "ann", "title": "Old", "created_at": "2026-01-01T00:00:00+00:00"})
    columns = {"context": "[]", "tools": "[]", "messages": "[]", "verdicts": "[]", "timings": "{}", "answer": "Yes."}
    columns |= {"conversation_id": "c", "person": "ann", "question": "Old?", "model": "m", "status": "answered"}
    old["turns"].insert({"id": "t", "position": 1, "created_at": "2026-01-01T00:00:00+00:00", "finished_at": None, **columns})
    old.conn.commit()
    old.close()
    store = Store(tmp_path / "flywheel.db")
    assert [conversation.title for conversation in Conversations(store).find("ann", "yes")] == ["Old"]
    assert [turn.question for turn in store.turns("c")] == ["Old?"]
    store.close()
