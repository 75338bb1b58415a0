"""Tool: schema and validation from one signature; running within bounds."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tools import Tool, ToolArgumentError, ToolContext, ToolError

Days = Annotated[int, Field(ge=1, le=9)]


def book(
    context: ToolContext,
    room: str,
    days: Days,
    price: float = 10.0,
    view: Literal["sea", "hill"] | None = None,
    pets: bool = False,
) -> dict[str, Any]:
    """Book a room.

    The long part is for programmers.

    Args:
        room: Which room
        days: For how
            many days
        price: Price of a night
        view: What to see
        pets: With a pet
    """
    return {"person": context.person, "room": room, "days": days, "price": price, "view": view, "pets": pets}


def plain(text: str) -> dict[str, Any]:
    """Say it.

    Args:
        text: What to say
    """
    return {"text": text}


BOOK = Tool.of(book, title="Book a room", examples=("Book room 7",), writes=True)


def made(function: Any, **changes: Any) -> Tool:
    return dataclasses.replace(Tool.of(plain, title="t", examples=("e",)), _function=function, **changes)


def run(tool: Tool, arguments: object, home: Path = Path("unused")) -> Any:
    return asyncio.run(tool.run(arguments, ToolContext("ann", home)))


def test_the_schema_is_what_the_signature_and_the_docstring_say() -> None:
    assert BOOK.schema == {
        "type": "function",
        "function": {
            "name": "book",
            "description": "Book a room.",
            "parameters": {
                "type": "object",
                "properties": {
                    "room": {"type": "string", "description": "Which room"},
                    "days": {"type": "integer", "description": "For how many days", "minimum": 1, "maximum": 9},
                    "price": {"type": "number", "description": "Price of a night", "default": 10.0},
                    "view": {"type": "string", "enum": ["sea", "hill"], "description": "What to see"},
                    "pets": {"type": "boolean", "description": "With a pet", "default": False},
                },
                "required": ["room", "days"],
                "additionalProperties": False,
            },
        },
    }


def test_a_changed_copy_of_the_schema_leaves_the_tool_alone() -> None:
    BOOK.schema["function"]["parameters"]["properties"].clear()
    assert "room" in BOOK.schema["function"]["parameters"]["properties"]


def test_arguments_come_back_as_given_and_an_integer_passes_for_a_float() -> None:
    assert BOOK.validate({"room": "7", "days": 3, "price": 12}) == {"room": "7", "days": 3, "price": 12.0}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"room": "7", "days": "3"}, "argument 'days': input should be a valid integer, not '3'"),
        ({"room": "7", "days": True}, "argument 'days'"),
        ({"room": "7", "days": 3.0}, "argument 'days'"),
        ({"room": "7", "days": 10}, "argument 'days': input should be less than or equal to 9, not 10"),
        ({"room": 7, "days": 3}, "argument 'room': input should be a valid string, not 7"),
        ({"room": "7"}, "argument 'days' is missing"),
        ({"room": "7", "days": 3, "view": None}, "argument 'view'"),
        ({"room": "7", "days": 3, "view": "moon"}, "'sea' or 'hill'"),
        ({"room": "7", "days": 3, "price": float("nan")}, "argument 'price'"),
        ({"room": "7", "days": 3, "context": "x"}, "'context' is no argument of book, which takes room, days, price, view, pets"),
        ({"room": "\ud800", "days": 3}, "argument 'room'"),
        ({1: 2}, "'room' is missing"),
        ("room=7", "must be an object with room, days, price, view, pets, not 'room=7'"),
        (None, "must be an object"),
        ([], "must be an object"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_and_says_where(arguments: object, says: str) -> None:
    with pytest.raises(ToolArgumentError) as caught:
        BOOK.validate(arguments)
    assert says in str(caught.value)
    assert str(caught.value).startswith("book: ")
    assert len(str(caught.value)) < 600


def test_a_huge_argument_does_not_come_back_in_the_error() -> None:
    with pytest.raises(ToolArgumentError) as caught:
        BOOK.validate({"room": "7", "days": "9" * 100_000, "x" * 100_000: 1})
    assert len(str(caught.value)) < 600


def test_a_function_must_describe_itself() -> None:
    def bare(text: str) -> dict[str, Any]:
        """Say it."""
        return {}

    def silent() -> dict[str, Any]:
        return {}

    for function in (bare, silent):
        with pytest.raises(TypeError, match=function.__name__):
            Tool.of(function, title="t", examples=())


def test_run_gives_the_context_and_measures_the_time() -> None:
    result = run(BOOK, {"room": "7", "days": 2})
    assert result.content == {"person": "ann", "room": "7", "days": 2, "price": 10.0, "view": None, "pets": False}
    assert result.error is None
    assert json.loads(result.text) == result.content
    assert 0 < result.duration_ms < 1000


def test_wrong_arguments_are_an_error_result() -> None:
    result = run(BOOK, {"room": "7"})
    assert (result.content, result.error) == (None, "book: argument 'days' is missing.")
    assert json.loads(result.text) == {"error": result.error}


def test_what_a_tool_refuses_is_its_error() -> None:
    def refusing(text: str) -> dict[str, Any]:
        raise ToolError("There is no room 7. Ask for 1 to 6.")

    assert run(made(refusing), {"text": "x"}).error == "There is no room 7. Ask for 1 to 6."


@pytest.mark.parametrize(
    "problem", [ValueError("/secret/path"), SystemExit(3), KeyboardInterrupt(), RecursionError(), TimeoutError()]
)
def test_a_raising_tool_is_an_error_without_details_and_a_log_entry(
    problem: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(text: str) -> dict[str, Any]:
        raise problem

    with caplog.at_level(logging.ERROR):
        result = run(made(raising), {"text": "x"})
    assert result.content is None
    assert result.error == f"plain failed unexpectedly ({type(problem).__name__}). Try again or ask differently."
    assert type(problem).__name__ in caplog.text


def test_a_hanging_tool_is_given_up_and_the_app_goes_on() -> None:
    def hanging(text: str) -> dict[str, Any]:
        time.sleep(1.5)
        return {}

    async def both() -> tuple[Any, Any, float]:
        context = ToolContext("ann", Path("unused"))
        start = time.perf_counter()
        slow, quick = await asyncio.gather(
            made(hanging, time_limit_s=0.2).run({"text": "x"}, context), made(plain).run({"text": "x"}, context)
        )
        return slow, quick, time.perf_counter() - start

    slow, quick, seconds = asyncio.run(both())
    assert slow.error == "plain took longer than 0.2 seconds and was given up. Try again in a moment."
    assert slow.duration_ms == pytest.approx(200, abs=190)
    assert quick.content == {"text": "x"}
    assert seconds < 1.4, "the loop waited for the hanging thread"


def test_a_hanging_writer_warns_that_it_may_have_written() -> None:
    tool = made(lambda text: time.sleep(0.6), time_limit_s=0.1, writes=True)
    assert "Check whether it was done" in run(tool, {"text": "x"}).error


def test_loading_data_does_not_count_against_the_time_limit() -> None:
    loaded: list[int] = []

    def load() -> None:
        time.sleep(0.3)
        loaded.append(1)

    assert run(made(plain, time_limit_s=0.1, _loads=load), {"text": "x"}).content == {"text": "x"}
    assert loaded == [1]


def test_data_that_cannot_be_loaded_is_an_error_result() -> None:
    def load() -> None:
        raise ImportError("/some/path")

    assert "failed unexpectedly (ImportError)" in run(made(plain, _loads=load), {"text": "x"}).error


def test_every_tool_has_five_seconds() -> None:
    assert BOOK.time_limit_s == 5


@pytest.mark.parametrize("letter", ["x", "é", '"', "\n", "😀"])
def test_an_oversize_result_is_cut_with_a_mark(letter: str) -> None:
    def chatty(text: str) -> dict[str, Any]:
        return {"page": letter * 50_000}

    result = run(made(chatty), {"text": "x"})
    assert len(result.text.encode()) <= 8 * 1024
    assert result.content["truncated"].startswith("the result has ")
    assert result.content["summary"] == f"The result is too long to show: {result.content['truncated']}."
    assert result.content["beginning"].startswith('{"page": "')
    assert len(result.content["beginning"]) > 1000


@pytest.mark.parametrize(("length", "kept"), [(17, 17), (50_000, 600)])
def test_an_oversize_result_keeps_its_summary(length: int, kept: int) -> None:
    result = run(made(lambda text: {"summary": "\x01" * length, "page": "y" * 50_000}), {"text": "x"})
    assert result.content["summary"] == "\x01" * kept
    assert len(result.text.encode()) <= 8 * 1024


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": object()}, {"x": {1, 2}}, {"x": "\ud800"}])
def test_a_result_that_is_not_json_is_an_error(value: dict[str, Any]) -> None:
    assert "cannot be passed on" in run(made(lambda text: value), {"text": "x"}).error


def test_the_default_clock_knows_its_time_zone() -> None:
    now = ToolContext("ann", Path("unused")).now()
    assert now.tzinfo is not None
    assert abs((now - datetime.now(UTC)).total_seconds()) < 5
