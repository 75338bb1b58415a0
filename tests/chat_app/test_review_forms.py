"""What a reviewer fills in, without a browser: forms made from a tool's schema, drafts of the right answer, and differences."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_app.ui import forms
from chat_app.ui.review_difference import MISSING, as_html, differences
from chat_app.ui.review_draft import CALLS, MAX_CALLS, RIGHT, TEXT, Draft, first_reply
from flywheel.errors import InputError
from tests.chat_app.view_material import CLOCK, EVIL, JSON, SILENT, WEATHER, calling, tool, turn
from tests.flywheel.feedback import saying


class Browser(HTMLParser):
    """Reads a form as the page's script does: (path, text) of every field that is not switched off."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.fields: list[tuple[list[str], str]] = []
        self.attributes: list[dict[str, str | None]] = []
        self._off = self._template = 0
        self._open: tuple[str, list[str]] | None = None
        self.feed(form)

    def handle_starttag(self, name: str, given: list[tuple[str, str | None]]) -> None:
        attributes = dict(given)
        self.attributes.append(attributes)
        if name == "div" and (self._off or "hidden" in attributes):
            self._off += 1
        if name == "template":
            self._template += 1
        if self._off or self._template:
            return
        if name == "option" and self._open and "selected" in attributes:
            self.fields[-1] = (self.fields[-1][0], attributes.get("value") or "\0")
        if "data-path" in attributes:
            self.fields.append((json.loads(attributes["data-path"] or ""), attributes.get("value") or ""))
            self._open = (name, []) if name in ("textarea", "select") else None

    def handle_data(self, text: str) -> None:
        if self._open and not self._off and not self._template:
            path, held = self.fields[-1]
            if self._open[0] == "textarea":
                self.fields[-1] = (path, text.removeprefix("\n"))
            elif held == "\0":
                self.fields[-1] = (path, text)

    def handle_endtag(self, name: str) -> None:
        self._off -= name == "div" and self._off > 0
        self._template -= name == "template"
        if self._open and name == self._open[0]:
            path, held = self.fields[-1]
            self.fields[-1] = (path, held.replace("\0", ""))
            self._open = None


def filled(schema: Any, arguments: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """What the page would send of an untouched form."""
    return {tuple(path): text for path, text in Browser(forms.call_form(schema, arguments, 0)).fields}


def sent(*calls: tuple[str, dict[str, Any]], text: str = "", **more: Any) -> str:
    """What the page sends; fields by name, or by path written with dots."""
    made = [{"name": name, "fields": [[path.split("."), value] for path, value in fields.items()]} for name, fields in calls]
    return json.dumps({"calls": made, "text": text, **more})


# forms ---------------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1)
NUMBERS = st.integers(-(2**53), 2**53)
ADDRESS = {"type": "object", "properties": {"street": {"type": "string"}, "floor": {"type": "integer"}}, "required": ["street"]}
KINDS: dict[str, tuple[dict[str, Any], st.SearchStrategy[Any]]] = {
    "string": ({"type": "string"}, TEXTS),
    "anything": ({}, JSON.filter(lambda value: value is not None)),
    "nullable": ({"anyOf": [{"type": "null"}, {"type": "string"}]}, TEXTS),
    "integer": ({"type": "integer"}, NUMBERS),
    "number": ({"type": "number"}, st.floats(-1e15, 1e15) | NUMBERS),
    "boolean": ({"type": "boolean"}, st.booleans()),
    "enum": ({"type": "string", "enum": ["a", "b c", "ü", "5"]}, st.sampled_from(["a", "b c", "ü", "5"])),
    "numbers to choose": ({"type": "integer", "enum": [1, 2, 30]}, st.sampled_from([1, 2, 30])),
    "date": ({"type": "string", "format": "date"}, st.dates().map(str)),
    "moment": ({"type": "string", "format": "date-time"}, st.datetimes().map(lambda value: value.isoformat())),
    "strings": ({"type": "array", "items": {"type": "string"}}, st.lists(TEXTS)),
    "integers": ({"type": "array", "items": {"type": "integer"}}, st.lists(NUMBERS)),
    "nested": (ADDRESS, st.fixed_dictionaries({"street": TEXTS}, optional={"floor": NUMBERS})),
    "list of objects": (
        {"type": "array", "items": ADDRESS},
        st.lists(st.fixed_dictionaries({"street": TEXTS}, optional={"floor": NUMBERS})),
    ),
    "lists in lists": ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, st.lists(st.lists(NUMBERS))),
    "free object": ({"type": "object"}, st.dictionaries(st.text(), JSON, min_size=1)),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_a_value_survives_the_form(kind: str, data: st.DataObject) -> None:
    schema, values = KINDS[kind]
    value = data.draw(values)
    form = tool("f", ("x",) if data.draw(st.booleans()) else (), x=schema)
    again = filled(form, {"x": value})
    assert forms.arguments_of(form, again) == {"x": value} == forms.arguments_of(form, again, lenient=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["word", 7, 7.5, True, [1, "a"], {"a": 1}, None, EVIL, "{{evil}} ${evil}"], ids=repr)
def test_whatever_a_model_wrote_its_form_opens_and_is_data(kind: str, wrong: Any) -> None:
    form = forms.call_form(tool("f", ("x",), x=KINDS[kind][0]), {"x": wrong}, 0)
    assert "<script" not in form and "<img" not in form and "${" not in form and "{{" not in form
    assert [tuple(path) for path, _ in Browser(form).fields][:1] == [("x",)]


def test_fields_are_named_described_and_bounded() -> None:
    bounded = {"type": "integer", "minimum": 1950, "maximum": 2100, "description": "Which"}
    form = forms.call_form(tool("f", ("year",), year=bounded, day={"type": "string", "format": "date"}), {"year": 2026}, 0)
    year, day = (
        next(given for given in Browser(form).attributes if given.get("id") == f"in-0-{name}") for name in ("year", "day")
    )
    assert (year["min"], year["max"], year["value"], year["aria-describedby"]) == ("1950", "2100", "2026", "info-0-year")
    assert '<label for="in-0-year">year *</label>' in form and "Which</small>" in form and day["type"] == "date"


def test_an_optional_parameter_is_left_out_unless_it_is_switched_on() -> None:
    off, on = (forms.call_form(WEATHER, {"city": "Oslo"} | more, 0) for more in ({}, {"date": "today"}))
    switches = [next(g for g in Browser(form).attributes if g.get("id") == "give-0-date") for form in (off, on)]
    assert "checked" not in switches[0] and "checked" in switches[1]
    assert [path for path, _ in Browser(off).fields] == [["city"]]
    assert [path for path, _ in Browser(on).fields] == [["city"], ["date"]]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "'city' is needed; fill it in"),
        ({"city": ""}, "'city' is needed; fill it in"),
        ({"city": "Oslo", "days": "soon"}, "'days' must be a whole number, not 'soon'"),
        ({"city": "Oslo", "days": "2.5"}, "'days' must be a whole number"),
        ({"city": "Oslo", "days": "9"}, "'days' must be at most 7"),
        ({"city": "Oslo", "on": "yesterday"}, "'on' must be a date such as 2026-11-24"),
        ({"city": "Oslo", "unit": "kelvin"}, "'unit' must be one of celsius, fahrenheit"),
        ({"city": "Oslo", "more": "no colon"}, "write `name: value` on each line"),
        ({"city": "Oslo", "where": "{}"}, "'street' is needed"),
    ],
)
def test_what_cannot_be_read_is_named_and_left_out_while_it_is_written(fields: dict[str, str], problem: str) -> None:
    form = tool(
        "weather", ("city",), city={"type": "string"}, days={"type": "integer", "maximum": 7}, where=ADDRESS,
        on={"type": "string", "format": "date"}, unit={"enum": ["celsius", "fahrenheit"]}, more={"type": "object"},
    )  # fmt: skip
    given = {(name,): text for name, text in fields.items()}
    with pytest.raises(InputError, match="weather: ") as refused:
        forms.arguments_of(form, given)
    assert problem in str(refused.value)
    kept = forms.arguments_of(form, given, lenient=True)
    assert kept == {name: text for name, text in fields.items() if name == "city" and text} | (
        {"where": {}} if "where" in fields else {}
    )


def test_items_are_added_and_removed_by_their_paths() -> None:
    form = tool("f", x={"type": "array", "items": ADDRESS})
    fields = {("x",): "[]", ("x", "0"): "{}", ("x", "0", "street"): "A", ("x", "7"): "{}", ("x", "7", "street"): "B"}
    assert forms.arguments_of(form, fields) == {"x": [{"street": "A"}, {"street": "B"}]}
    assert '"#1#"' in forms.call_form(form, {"x": []}, 0).replace("&quot;", '"')  # the template from which the page adds


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
    assert "<img" not in Draft(turn().tools, [], EVIL).html(TEXT)


def test_another_tool_keeps_what_was_typed_under_the_same_name() -> None:
    weather = turn(tools=[WEATHER, CLOCK, SILENT])
    fields = {"city": "Oslo", "date": "today"}
    assert Draft.from_page(weather, sent(("local_time", fields)), lenient=True).calls == [
        {"name": "local_time", "arguments": {"city": "Oslo"}}
    ]
    more = Draft.from_page(weather, sent(("get_weather", fields), add=True), lenient=True)
    assert more.calls == [{"name": "get_weather", "arguments": fields}, {"name": "get_weather", "arguments": {}}]
    full = Draft.from_page(weather, sent(*[("list_reminders", {})] * MAX_CALLS, add=True))
    assert len(full.calls) == MAX_CALLS and "add-call" not in full.html(CALLS) and "add-call" in more.html(CALLS)


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 100_000, '{"calls": 1}', '{"calls": [{"name": "x"}]}', '{"calls": [[1]]}',
                                  '{"calls": [{"name": "local_time", "fields": [1]}]}'], ids=lambda text: text[:20])  # fmt: skip
def test_what_no_page_of_ours_sends_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="reload the page"):
        Draft.from_page(turn(), text)


def test_the_response_that_a_form_makes() -> None:
    asked = turn()
    assert Draft.of(asked).response(RIGHT) is None
    assert Draft.from_page(asked, sent(text=" Hello. ")).response(TEXT) == {"role": "assistant", "content": "Hello."}
    with pytest.raises(InputError, match="write the words"):
        Draft.from_page(asked, sent(text="  ")).response(TEXT)
    with pytest.raises(InputError, match="there is no call"):
        Draft.from_page(asked, sent()).response(CALLS)
    with pytest.raises(InputError, match="the model saw no tool 'rm'"):
        Draft.from_page(asked, sent(("rm", {})))
    made = Draft.from_page(asked, sent(("get_weather", {"city": "Oslo"}))).response(CALLS)
    assert made is not None and made["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": {"city": "Oslo"}}


# differences ---------------------------------------------------------------------------------------------------------


def test_the_difference_is_told_argument_by_argument() -> None:
    said = calling(("book", {"day": "today", "seats": 2, "who": {"name": "Ann"}, "tags": [1]}))
    corrected = calling(("book", {"day": "tomorrow", "seats": 2, "who": {"name": "Ann", "age": 4}}))
    assert [(one.argument, one.change, one.before, one.after) for one in differences(said, corrected)] == [
        ("day", "changed", "today", "tomorrow"),
        ("seats", "same", 2, 2),
        ("who.name", "same", "Ann", "Ann"),
        ("tags", "left out", [1], MISSING),
        ("who.age", "added", MISSING, 4),
    ]


def test_other_tools_more_calls_and_words() -> None:
    one, two = calling(("add", {"a": 1})), calling(("sub", {"a": 1}), ("add", {}))
    assert [(made.call, made.change) for made in differences(one, two)] == [
        ("sub", "changed"),
        ("sub", "added"),
        ("add", "added"),
    ]
    assert [made.change for made in differences(two, one)][-1] == "left out"
    assert differences(saying("a"), saying("b"))[0].change == "changed"
    assert "The same as what the model said" in as_html(differences(one, one))
    shown = as_html(differences(one, calling((EVIL, {EVIL: EVIL}))))
    assert "<img" not in shown and "<script" not in shown
    assert differences(calling(("f", {"x": True})), calling(("f", {"x": 1})))[0].change == "changed"
