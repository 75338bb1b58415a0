"""A turn that does not go straight through: somebody has to agree first, the model server dies, somebody presses Stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from chat_app.events import ConfirmationNeeded, Event, TextDelta, ToolCalled
from chat_app.turn import resume_turn, run_turn
from flywheel.errors import NotFound, StorageError
from tests.chat_app.turn_room import (
    ADD,
    Room,
    alone,
    ask,
    awaited,
    calls,
    decide,
    finished,
    kinds,
    shown,
)
from tests.fakes import NimReply

# writing tools -------------------------------------------------------------------------------------------------------


def test_a_writing_tool_runs_after_a_yes_and_once(room: Room) -> None:
    turn_id, call = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    assert room.notes() == "" and call.status == "awaiting" and call.result == {"written": "milk"}, "a preview, nothing written"
    assert room.store.turn(turn_id).status == "awaiting" and room.store.calls(turn_id) == [call]
    events = decide(room, turn_id, True, "I noted milk.")
    assert kinds(events) == ["ToolCalled", "ToolReturned", "TextDelta", "Finished"]
    assert room.notes() == "milk\n" and finished(events).answer == "I noted milk."
    assert [one.status for one in room.store.calls(turn_id)] == ["done"]
    with pytest.raises(NotFound, match="awaits no confirmation"):
        decide(room, turn_id, True)
    assert room.notes() == "milk\n"


def test_two_windows_that_say_yes_at_once(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    room.nim.enqueue("Noted.", "Noted.")

    async def work() -> list[Any]:
        async def yes() -> list[Event]:
            return [event async for event in resume_turn(room, turn_id, "ann", True)]

        return list(await asyncio.gather(yes(), yes(), return_exceptions=True))

    outcomes = alone(room, work)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NotFound", "list"]
    assert room.notes() == "milk\n"


def test_a_no_writes_nothing(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    events = decide(room, turn_id, False, "All right.")
    assert kinds(events) == ["ToolReturned", "TextDelta", "Finished"]
    assert room.notes() == "" and finished(events).answer == "All right."
    (call,) = room.store.calls(turn_id)
    assert (call.status, call.result) == ("declined", None)
    assert "declined" in room.nim.requests[1]["messages"][-1]["content"] and room.nim.requests[1]["tool_choice"] == "none"


def test_a_yes_after_a_restart(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'), ADD)))
    room.reopen()
    assert room.store.interrupt_running() == 0
    events = decide(room, turn_id, True, "Noted, and it is 3.")
    turn = finished(events)
    assert room.notes() == "milk\n" and [call.status for call in room.store.calls(turn_id)] == ["done", "done"]
    assert [message["role"] for message in turn.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [verdict["stage"] for verdict in turn.verdicts][:2] == ["input", "tool_call"], "what was before the restart is kept"


def test_a_tool_that_is_gone_after_the_restart(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    del room.tools["note"]
    events = decide(room, turn_id, True, "")
    assert "no longer there" in finished(events).answer


def test_only_its_person_may_decide(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    with pytest.raises(NotFound):
        decide(room, turn_id, True, person="bob")
    assert room.notes() == "" and room.store.turn(turn_id).status == "awaiting"


def test_nobody_is_asked_to_agree_to_the_impossible(room: Room) -> None:
    events = ask(room, "note it", calls(("note", '{"text": "impossible"}')), "There is no room.")
    assert kinds(events) == ["ToolReturned", "TextDelta", "Finished"]
    assert "no room" in room.nim.requests[1]["messages"][-1]["content"]


def test_two_writing_calls_are_asked_for_one_by_one(room: Room) -> None:
    turn_id, first = awaited(ask(room, "notes", calls(("note", '{"text": "milk"}'), ("note", '{"text": "eggs"}'))))
    again, second = awaited(decide(room, turn_id, True))
    assert (again, first.arguments, second.arguments) == (turn_id, {"text": "milk"}, {"text": "eggs"})
    events = decide(room, turn_id, False, "I noted the milk only.")
    assert room.notes() == "milk\n" and finished(events).status == "answered"


# the model server ----------------------------------------------------------------------------------------------------


def test_a_server_that_dies_in_mid_answer(room: Room) -> None:
    events = ask(room, "hello", NimReply("One sentence. And then", ending="cut"))
    turn = finished(events)
    assert kinds(events) == ["TextDelta", "Finished"] and shown(events) == "One sentence."
    assert turn.status == "failed" and turn.answer.startswith("One sentence.\n\nThe connection to the model server broke off")


def test_an_unknown_model_names_the_way_out(room: Room) -> None:
    turn = finished(ask(room, "hello", NimReply(status=404, body="{}")))
    assert turn.status == "failed" and "'base' is not loaded" in turn.answer and "Wheel" in turn.answer


def test_a_call_that_ran_is_kept_when_the_server_then_dies(room: Room) -> None:
    turn = finished(ask(room, "?", calls(ADD), NimReply(status=404, body="{}")))
    assert turn.status == "failed" and [call.status for call in room.store.calls(turn.id)] == ["done"]
    assert [message["role"] for message in turn.messages] == ["user", "assistant", "tool"]


def test_the_model_is_chosen_once_for_a_turn(room: Room) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    room.registry.begin("other-base")
    decide(room, turn_id, True, "Noted.")
    ask(room, "hello", "Hi.")
    assert [request["model"] for request in room.nim.requests] == ["base", "base", "other-base"]


# stopping ------------------------------------------------------------------------------------------------------------


async def first(events: AsyncIterator[Event], kind: type[Event]) -> Event:
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("way", ["closed", "cancelled"])
def test_stop_in_mid_answer_keeps_what_was_shown(room: Room, way: str) -> None:
    conversation = room.store.create_conversation("ann")
    room.nim.enqueue(NimReply("One sentence. And then", ending="hang"))

    async def close() -> None:
        async with aclosing(run_turn(room, conversation, "hello")) as events:
            await first(events, TextDelta)

    async def cancel() -> None:
        begun = asyncio.Event()

        async def consume() -> None:
            async for _ in run_turn(room, conversation, "hello"):
                begun.set()

        task = asyncio.create_task(consume())
        await begun.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    alone(room, close if way == "closed" else cancel)
    (turn,) = room.store.turns(conversation.id)
    assert (turn.status, turn.answer) == ("stopped", "One sentence.") and turn.finished_at
    assert turn.messages[-1] == {"role": "assistant", "content": "One sentence."}
    assert room.nim.disconnected.wait(5), "the server's work was ended too"


@pytest.mark.parametrize("after", [0.0, 0.001, 0.003, 0.01, 0.03])
def test_stop_at_any_moment_leaves_no_turn_running(room: Room, after: float) -> None:
    conversation = room.store.create_conversation("ann")
    room.nim.enqueue(calls(ADD), NimReply("Done. And", ending="hang"))

    async def work() -> None:
        async def consume() -> None:
            async for _ in run_turn(room, conversation, "hello"):
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    alone(room, work)
    assert [turn.status for turn in room.store.turns(conversation.id)] in ([], ["stopped"])


@pytest.mark.parametrize("after", [0.0, 0.001, 0.005, 0.02])
def test_stop_right_after_a_yes(room: Room, after: float) -> None:
    turn_id, _ = awaited(ask(room, "note milk", calls(("note", '{"text": "milk"}'))))
    room.nim.enqueue(NimReply("Noted. And", ending="hang"))

    async def work() -> None:
        async def consume() -> None:
            async for _ in resume_turn(room, turn_id, "ann", True):
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    alone(room, work)
    status = room.store.turn(turn_id).status
    (call,) = room.store.calls(turn_id)
    assert status == "stopped" or (status, call.status, room.notes()) == ("awaiting", "awaiting", "")
    assert (call.status == "done") <= (room.notes() == "milk\n")


def test_stop_while_a_tool_runs(room: Room) -> None:
    conversation = room.store.create_conversation("ann")
    room.nim.enqueue(calls(("slow", "{}")))
    room.tools["slow"] = replace(room.tools["slow"], time_limit_s=5)

    async def work() -> None:
        called = asyncio.Event()

        async def consume() -> None:
            async for event in run_turn(room, conversation, "go"):
                if isinstance(event, ToolCalled):
                    called.set()

        task = asyncio.create_task(consume())
        await called.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    alone(room, work)
    (turn,) = room.store.turns(conversation.id)
    (call,) = room.store.calls(turn.id)
    assert turn.status == "stopped" and call.status == "failed" and "stopped while it ran" in (call.error or "")


def test_leaving_at_the_question_keeps_it_open(room: Room) -> None:
    conversation = room.store.create_conversation("ann")
    room.nim.enqueue(calls(("note", '{"text": "milk"}')))

    async def work() -> None:
        async with aclosing(run_turn(room, conversation, "note milk")) as events:
            await first(events, ConfirmationNeeded)

    alone(room, work)
    (turn,) = room.store.turns(conversation.id)
    assert turn.status == "awaiting"
    assert finished(decide(room, turn.id, True, "Noted.")).status == "answered"


def test_a_store_that_cannot_be_written_says_so(room: Room) -> None:
    conversation = room.store.create_conversation("ann")
    room.store.database.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageError):
        ask(room, "hello", conversation=conversation)
    assert room.nim.requests == []
