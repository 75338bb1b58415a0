"""What a reviewer fills in, without a page: forms made from a tool's schema, and drafts of the right answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app.ui import forms
from chat_app.ui.review_draft import CALLS, MAX_CALLS, RIGHT, TEXT, Draft, first_reply, response_of
from flywheel.errors import InputError
from tests.chat_app.view_material import CLOCK, EVIL, JSON, SILENT, WEATHER, calling, tool, turn

# forms ---------------------------------------------------------------------------------------------------------------

LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
NUMBERS = st.integers(-(2**53), 2**53)
KINDS: dict[str, tuple[dict[str, Any], st.SearchStrategy[Any]]] = {
    "string": ({"type": "string"}, st.text(min_size=1)),
    "silent": ({}, st.text(min_size=1)),
    "nullable": ({"type": ["null", "string"]}, st.text(min_size=1)),
    "integer": ({"type": "integer"}, NUMBERS),
    "number": ({"type": "number"}, st.floats(-1e15, 1e15) | NUMBERS),
    "boolean": ({"type": "boolean"}, st.booleans()),
    "enum": ({"type": "string", "enum": ["a", "b c", "ü"]}, st.sampled_from(["a", "b c", "ü"])),
    "numbers to choose": ({"type": "integer", "enum": [1, 2, 30]}, st.sampled_from([1, 2, 30])),
    "strings": ({"type": "array", "items": {"type": "string"}}, st.lists(LINE, min_size=1)),
    "integers": ({"type": "array", "items": {"type": "integer"}}, st.lists(NUMBERS, min_size=1)),
    "objects": ({"type": "array", "items": {"type": "object"}}, st.lists(st.dictionaries(st.text(), NUMBERS), min_size=1)),
    "object": ({"type": "object"}, st.dictionaries(st.text(), JSON)),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_value_survives_the_form(kind: str, data: st.DataObject) -> None:
    schema, values = KINDS[kind]
    value = data.draw(values)
    field = forms.field("x", schema, True, value, "field-0-x", "draft-1-0-x")
    again = field.preprocess(field.postprocess(field.value))
    form = tool("f", ("x",), x=schema)
    assert forms.arguments_of(form, [again]) == {"x": value} == forms.readable_arguments(form, [again])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["word", 7, 7.5, True, [1, "a"], {"a": 1}, None, EVIL], ids=repr)
def test_whatever_a_model_wrote_its_form_opens(kind: str, wrong: Any) -> None:
    field = forms.field("x", KINDS[kind][0], True, wrong, "field-0-x", "draft-1-0-x")
    field.preprocess(field.postprocess(field.value))  # as the page does; raises where the form could not be shown or read
    assert field.elem_id == "field-0-x"


def test_fields_are_named_and_bounded() -> None:
    bounded = {"type": "integer", "minimum": 1950, "maximum": 2100, "description": "Which"}
    year = forms.field("year", bounded, True, 2026, "e", "k")
    assert (year.label, year.info, year.minimum, year.maximum) == ("year *", "Which", 1950, 2100)
    assert forms.field("year", {"type": "integer"}, False, None, "e", "k").label == "year"


def test_an_empty_field_is_left_out_and_a_needed_one_is_named() -> None:
    assert forms.arguments_of(WEATHER, ["Oslo", ""]) == {"city": "Oslo"}
    with pytest.raises(InputError, match="get_weather: 'city' is needed"):
        forms.arguments_of(WEATHER, ["", "today"])
    assert forms.readable_arguments(WEATHER, [None, "today"]) == {"date": "today"}
    assert forms.arguments_of(SILENT, []) == {} == forms.arguments_of({"function": {"name": "f"}}, [])  # type: ignore[typeddict-item,arg-type]


@pytest.mark.parametrize("text", ["{", "nonsense", "[" * 100_000, '{"a": NaN}', "9" * 5000], ids=lambda text: text[:9])
def test_broken_json_in_a_field_is_named(text: str) -> None:
    form = tool("f", x={"type": "object"}, y={"type": "string"})
    with pytest.raises(InputError, match="'x' is "):
        forms.arguments_of(form, [text, "kept"])
    assert forms.readable_arguments(form, [text, "kept"]) == {"y": "kept"}


# drafts --------------------------------------------------------------------------------------------------------------


def test_a_draft_starts_from_the_first_thing_the_model_said() -> None:
    asked = turn().messages
    answered = {"role": "assistant", "content": "It rains."}
    called = turn(messages=[*asked, calling(("get_weather", {"city": "Oslo"})), answered])
    assert first_reply(called)["tool_calls"][0] == {
        "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}},
    }  # fmt: skip
    assert Draft.of(called).calls == [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
    spoke = Draft.of(turn(messages=[*asked, answered]))
    assert (spoke.text, spoke.calls) == ("It rains.", [{"name": "get_weather", "arguments": {}}])
    assert first_reply(turn(answer="It failed."))["content"] == "It failed."


def test_a_draft_of_calls_that_cannot_be_shown() -> None:
    asked = turn().messages
    unknown = Draft.of(turn(messages=[*asked, calling(("no_such_tool", {}), ("local_time", "not an object"))]))
    assert unknown.calls == [{"name": "local_time", "arguments": {}}]
    assert Draft.of(turn(tools=[])).calls == []


def test_a_draft_changes_shape_and_keeps_what_was_typed() -> None:
    draft = Draft([WEATHER, CLOCK, SILENT], [{"name": "get_weather", "arguments": {}}], "")
    typed = draft.filled(["get_weather", "Oslo", "today"], lenient=True)
    clock = typed.with_tool(0, "local_time")
    assert clock.calls == [{"name": "local_time", "arguments": {"city": "Oslo"}}] and clock.key != draft.key
    two = clock.with_call()
    assert [made["name"] for made in two.calls] == ["local_time", "get_weather"]
    half = two.filled(["local_time", "Bergen", "get_weather", "", "tomorrow"], lenient=True)
    assert half.calls[1]["arguments"] == {"date": "tomorrow"} and half.key == two.key
    with pytest.raises(InputError, match="'city' is needed"):
        two.filled(["local_time", "Bergen", "get_weather", "", "tomorrow"])
    assert two.without(0).calls == [{"name": "get_weather", "arguments": {}}]
    with pytest.raises(InputError, match="the model saw no tool 'x'"):
        draft.with_tool(0, "x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "no call in it"),
        ("7", "each call must be"),
        ('[{"name": "local_time"}]', "each call must be"),
        ('{"name": "local_time", "arguments": "{}"}', "each call must be"),
        ('{"name": "rm", "arguments": {}}', "the model saw no tool 'rm'"),
        ('{"name": "local_time", "arguments": {"city": NaN}}', "not finite"),
        (json.dumps([{"name": "list_reminders", "arguments": {}}] * (MAX_CALLS + 1)), "6 calls in it"),
    ],
    ids=lambda text: text[:20],
)
def test_broken_calls_as_json_are_named(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Draft.of(turn()).with_json(text)


def test_calls_as_json() -> None:
    one = Draft.of(turn()).with_json('{"name": "local_time", "arguments": {"city": "Oslo"}, "id": "extra"}')
    assert one.calls == [{"name": "local_time", "arguments": {"city": "Oslo"}}]


def test_the_response_that_a_form_makes() -> None:
    asked, draft = turn(), Draft.of(turn())
    assert response_of(RIGHT, asked, draft, []) is None
    assert response_of(TEXT, asked, draft, [" Hello. "]) == {"role": "assistant", "content": "Hello."}
    with pytest.raises(InputError, match="write the words"):
        response_of(TEXT, asked, draft, ["  "])
    made = response_of(CALLS, asked, draft, ["get_weather", "Oslo", None])
    assert made is not None and made["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": {"city": "Oslo"}}
