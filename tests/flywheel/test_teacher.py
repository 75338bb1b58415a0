"""The teacher's suggestion, asked of the real local NIM through NVIDIA's LangChain client."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.errors import InputError, PlatformError
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store, Turn
from flywheel.teacher import suggest
from tests.conftest import Platform

CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the current time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    store = Store(tmp_path / "flywheel.db")
    begun = store.begin_turn(store.create_conversation("ann"), "get the time in Paris", tools=[CLOCK], model="m", context=[])
    store.close()
    return begun


def test_a_teacher_suggests_a_call_or_words(platform: Platform, turn: Turn, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, teacher_model=LOCAL_BASE_MODEL, teacher_url=f"{platform.nim_url}/v1")
    reply = suggest(settings, turn)
    assert reply["role"] == "assistant"
    calls = [call["function"] for call in reply.get("tool_calls", ())]
    assert all(call["name"] == "get_time" and isinstance(call["arguments"]["city"], str) for call in calls)
    assert calls or reply["content"]


def test_no_teacher_and_an_absent_one_are_said_plainly(turn: Turn, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="TEACHER_MODEL"):
        suggest(Settings(home=tmp_path), turn)
    with pytest.raises(PlatformError, match="'gone' did not answer"):
        suggest(Settings(home=tmp_path, teacher_model="gone", teacher_url="http://127.0.0.1:9/v1"), turn)
