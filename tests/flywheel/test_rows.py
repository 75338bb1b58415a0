"""Rows: every shape read and written, bad rows told what is wrong, hostile input survived."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_rows import ARGUMENTS, TOOL, row, xlam

from flywheel.rows import (
    Row,
    RowError,
    check_row,
    normalise_tool,
    question_key,
    rows_from,
    to_nemo_eval,
    to_nemo_train,
    to_openai,
    to_xlam,
)


def test_sound_rows_have_no_problems() -> None:
    assert check_row(row()) == []
    assert check_row(row({"city": "Lyon"})) == []
    assert check_row(row(text="For how many people?")) == []


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Row([], []), "last message is not the assistant's"),
        (Row([{"role": "user", "content": "hi"}], []), "last message is not the assistant's"),
        (Row([{"role": "assistant", "content": "hi"}], []), "no question"),
        (Row([{"role": "user", "content": "hi"}, {"role": "assistant", "content": " "}], []), "answer is empty"),
        (Row(row().messages, [TOOL, TOOL]), "same name"),
        (row(name="book_flight"), "'book_flight', which is not on offer; the tools are book_table"),
        (row("Lyon"), "not a JSON object"),
        (row({}), "'city' is a required property"),
        (row({"city": 5}), "argument 'city': 5 is not of type 'string'"),
        (row({"city": "Lyon", "people": True}), "argument 'people'"),
        (row({"city": "Lyon", "dishes": ["soup", 1]}), "argument 'dishes.1'"),
        (row({"city": "Lyon", "town": "Lyon"}), "no argument 'town'; it takes city, people, dishes, terrace"),
    ],
)
def test_broken_rows_say_what_is_wrong(broken: Row, reason: str) -> None:
    assert any(reason in problem for problem in check_row(broken)), check_row(broken)


def test_tool_open_to_more_arguments_takes_them() -> None:
    parameters = {"type": "object", "properties": {}, "additionalProperties": {"type": "int"}}
    tool = normalise_tool({"name": "f", "parameters": parameters})
    good, bad = row({"x": 1}, name="f"), row({"x": "one"}, name="f")
    assert check_row(Row(good.messages, [tool])) == []
    assert "argument 'x'" in check_row(Row(bad.messages, [tool]))[0]


def test_hostile_pattern_is_never_run() -> None:
    parameters = {"type": "object", "properties": {"x": {"type": "string", "pattern": "(a+)+$"}}}
    tool = normalise_tool({"name": "f", "parameters": parameters})
    started = time.perf_counter()
    assert check_row(Row(row({"x": "a" * 5000 + "!"}, name="f").messages, [tool])) == []
    assert time.perf_counter() - started < 1


def test_row_properties() -> None:
    assert row().question == "A table for 4 in Lyon?"
    assert row().tool_names == ["book_table"]
    assert [(call.name, call.arguments) for call in row().calls] == [("book_table", ARGUMENTS)]
    assert row(text="no").calls == []
    reordered = dict(reversed(list(ARGUMENTS.items())))
    assert row().digest == row(reordered).digest and len({row(), row(reordered)}) == 1
    assert row().digest != row({"city": "Lyon"}).digest


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What's  up?", "what s UP", True),
        ("Straße, please!", "STRASSE please", True),
        ("5 * 3", "5 / 3", False),
        ("3.5 km", "3 5 km", False),
        ("is it -5 or 5", "is it 5 or 5", False),
        ("?", "!", False),
        ("कि", "का", False),
        ("", "", True),
    ],
)
def test_question_key(one: str, other: str, same: bool) -> None:
    assert (question_key(one) == question_key(other)) is same


def test_several_answers_are_several_calls_and_none_needs_text() -> None:
    two = [{"name": "book_table", "arguments": {"city": city}} for city in ("Lyon", "Nice")]
    (several,) = rows_from(xlam(answers=two))
    assert isinstance(several, Row) and [call.arguments["city"] for call in several.calls] == ["Lyon", "Nice"]
    (silent,) = rows_from(xlam(answers="[]"))
    assert isinstance(silent, RowError) and "'response'" in str(silent)
    (spoken,) = rows_from(xlam(answers=[], response="I cannot book planes."))
    assert isinstance(spoken, Row) and spoken.messages[-1] == {"role": "assistant", "content": "I cannot book planes."}


def dialogue() -> dict[str, Any]:
    """A call that answers the user, a sentence after the tool's result, and a text that answers the user."""
    call = {"id": "c1", "type": "function", "function": {"name": "book_table", "arguments": json.dumps(ARGUMENTS)}}
    return {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "A table for 4 in Lyon?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "{}"},
            {"role": "assistant", "content": "Booked."},
            {"role": "user", "content": "Thanks"},
            {"role": "assistant", "content": "You're welcome!"},
        ],
        "tools": [TOOL],
    }


def test_every_answer_to_the_user_is_a_row() -> None:
    call, thanks = rows_from(dialogue())
    assert isinstance(call, Row) and isinstance(thanks, Row)
    assert call.messages[0] == {"role": "system", "content": "Be brief."}
    assert call.calls[0].arguments == ARGUMENTS and "id" not in call.messages[-1]["tool_calls"][0]
    assert len(thanks.messages) == 7 and thanks.question == "Thanks" and thanks.calls == []
    assert thanks.messages[2]["tool_calls"][0] | {"id": "c1"} == thanks.messages[2]["tool_calls"][0]


def test_one_bad_turn_leaves_the_others() -> None:
    raw = dialogue()
    raw["messages"][2]["tool_calls"][0]["function"]["arguments"] = "{}"
    bad, good = rows_from(raw)
    assert isinstance(bad, RowError) and str(bad).startswith("message 3: ") and isinstance(good, Row)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"messages": "x", "tools": []}, "'messages' is text that is not JSON"),
        ({"messages": {}, "tools": []}, "must be a list"),
        ({"messages": [3]}, "message 1 must be an object"),
        ({"messages": [{"role": "function", "content": "x"}]}, "role 'function'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content must be text"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no assistant message answers"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": 3}]}]}, "message 1: a call must be an object"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "x"}]}]}, "arguments of 'f' are text"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": 3}]}]}, "must be an object, not int"),
        ({"messages": [], "tools": [{}]}, "a tool needs a name"),
        ({"messages": [], "tool_calls": []}, "the answer is empty"),
        ({"query": "x", "answers": 3}, "'answers' must be a list"),
    ],
)
def test_broken_records_say_what_is_wrong(raw: Any, reason: str) -> None:
    (found,) = rows_from(raw)
    assert isinstance(found, RowError) and reason in str(found)


def reread(raw: dict[str, Any]) -> list[Row | RowError]:
    return rows_from(json.loads(json.dumps(raw)))


def test_round_trips() -> None:
    call, thanks = (item for item in rows_from(dialogue()) if isinstance(item, Row))
    for item in (row(), row(text="For how many?"), call):
        assert reread(to_openai(item)) == [item]
        assert reread(to_nemo_train(item)) == [item]
    assert isinstance(to_openai(call)["messages"][2]["tool_calls"][0]["function"]["arguments"], str)
    assert reread(to_nemo_train(thanks)) == [call, thanks]


def test_answers_that_nobody_approved_do_not_come_back() -> None:
    """An exported dialogue gives its last answer only, though another answer to the user stands before it."""
    _, thanks = rows_from(dialogue())
    assert isinstance(thanks, Row) and reread(to_openai(thanks)) == [thanks]


def test_nemo_evaluation_rows() -> None:
    assert to_nemo_eval(row()) == {
        "messages": [{"role": "user", "content": "A table for 4 in Lyon?"}],
        "tools": [TOOL],
        "tool_calls": [{"type": "function", "function": {"name": "book_table", "arguments": ARGUMENTS}}],
    }
    assert reread(to_nemo_eval(row())) == [row()]
    assert to_nemo_eval(row(text="For how many?"))["tool_calls"] == []
    _, thanks = rows_from(dialogue())
    assert isinstance(thanks, Row)
    sent = to_nemo_eval(thanks)["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == ARGUMENTS


def test_nemo_training_rows_carry_objects() -> None:
    answer = to_nemo_train(row())["messages"][-1]
    expected = {"type": "function", "function": {"name": "book_table", "arguments": ARGUMENTS}}
    assert answer == {"role": "assistant", "content": "", "tool_calls": [expected]}


def test_xlam_rows_carry_text_and_only_where_they_fit() -> None:
    written = to_xlam(row())
    assert written is not None and set(written) == {"query", "tools", "answers"}
    assert json.loads(written["answers"]) == [{"name": "book_table", "arguments": ARGUMENTS}]
    (flat,) = json.loads(written["tools"])
    assert flat["parameters"]["city"] == {"description": "Where", "type": "str"}
    assert flat["parameters"]["people"]["type"] == "int, optional"
    assert reread(written) == [row()]
    assert to_xlam(row(text="no")) is None
    _, thanks = rows_from(dialogue())
    assert isinstance(thanks, Row) and to_xlam(thanks) is None


def test_xlam_keeps_what_only_json_schema_can_say() -> None:
    properties = {
        "unit": {"type": "string", "enum": ["km", "mi"]},
        "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "points": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}},
        "names": {"type": ["string", "null"]},
    }
    raw = {"name": "f", "parameters": {"type": "object", "properties": properties, "required": ["unit", "points"]}}
    item = Row(row({"unit": "km", "points": [{"x": 1}]}, name="f").messages, [normalise_tool(raw)])
    written = to_xlam(item)
    assert written is not None
    (back,) = reread(written)
    assert isinstance(back, Row) and back.calls == item.calls
    described = {name: {"description": "", **value} for name, value in properties.items()}
    assert back.tools[0]["function"]["parameters"] == {"type": "object", "properties": described, "required": ["unit", "points"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = "type properties items required enum anyOf allOf $ref pattern multipleOf minimum default".split()
SCHEMA = st.recursive(
    JSON | st.sampled_from(["str", "List[", "Dict[str, int]", "]", "#", "#/properties", "int, optional", "a|b|", "Union[]"]),
    lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)
CALL: st.SearchStrategy[Any] = st.fixed_dictionaries({"name": st.sampled_from(["f", "g"]), "arguments": JSON})
CALLS = JSON | st.lists(st.fixed_dictionaries({"function": CALL}) | CALL, max_size=2)
RECORD = st.fixed_dictionaries(
    {"tools": JSON | st.lists(st.fixed_dictionaries({"name": st.just("f"), "parameters": SCHEMA}), max_size=2)},
    optional={
        "query": JSON | st.text(),
        "answers": JSON | st.lists(CALL, max_size=2),
        "response": JSON,
        "messages": JSON
        | st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "assistant", "tool", "x"]), "content": JSON},
                optional={"tool_calls": CALLS, "weight": JSON},
            ),
            max_size=4,
        ),
        "tool_calls": CALLS,
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECORD | JSON)
def test_no_record_raises_and_every_row_is_sound(raw: Any) -> None:
    for item in rows_from(raw):
        if isinstance(item, Row):
            assert check_row(item) == []
            assert reread(to_openai(item))[-1:] == [item]
            assert reread(to_nemo_eval(item)) == [item] or not item.calls
            to_xlam(item)
        else:
            assert str(item)
