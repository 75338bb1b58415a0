"""Rows: every shape read and written, bad rows named by line, bad files refused, hostile input survived."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.errors import InputError
from flywheel.json_records import MAX_RECORD_CHARS
from flywheel.rows import (
    Row,
    RowError,
    check_row,
    normalise_tool,
    question_key,
    read_hub,
    read_rows,
    rows_from,
    to_nemo_eval,
    to_nemo_train,
    to_openai,
    to_xlam,
)
from flywheel.tool_schemas import SchemaError

XLAM_TOOL = {
    "name": "book_table",
    "description": "Book a table",
    "parameters": {
        "city": {"description": "Where", "type": "str"},
        "people": {"description": "How many", "type": "int, optional", "default": "2"},
        "dishes": {"description": "What", "type": "List[str], optional"},
        "terrace": {"description": "Outside", "type": "bool", "default": False},
    },
}
TOOL = normalise_tool(XLAM_TOOL)
ARGUMENTS = {"city": "Lyon", "people": 4, "dishes": ["soup"]}


def row(arguments: Any = None, name: str = "book_table", text: str = "", question: str = "A table for 4 in Lyon?") -> Row:
    calls = [{"type": "function", "function": {"name": name, "arguments": ARGUMENTS if arguments is None else arguments}}]
    answer: dict[str, Any] = {"role": "assistant", "content": text} | ({} if text else {"tool_calls": calls})
    return Row([{"role": "user", "content": question}, answer], [TOOL])


def xlam(**changes: Any) -> dict[str, Any]:
    answers = [{"name": "book_table", "arguments": ARGUMENTS}]
    return {"query": "A table for 4 in Lyon?", "tools": [XLAM_TOOL], "answers": answers} | changes


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_xlam_tool_becomes_openai_tool() -> None:
    assert TOOL == {
        "type": "function",
        "function": {
            "name": "book_table",
            "description": "Book a table",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where"},
                    "people": {"type": "integer", "description": "How many", "default": "2"},
                    "dishes": {"type": "array", "items": {"type": "string"}, "description": "What"},
                    "terrace": {"type": "boolean", "description": "Outside", "default": False},
                },
                "required": ["city"],
            },
        },
    }
    assert normalise_tool(TOOL) == TOOL
    assert normalise_tool(TOOL["function"]) == TOOL


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("Float (optional)", {"type": "number"}),
        ("str, default: 'x'", {"type": "string"}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("Tuple[int, str]", {"type": "array", "items": {"type": ["integer", "string"]}}),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Set[float]", {"type": "array", "items": {"type": "number"}}),
        ("Dict[str, List[int]]", {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}),
        ("dict", {"type": "object"}),
        ("Optional[int]", {"type": ["integer", "null"]}),
        ("Union[int, str], optional", {"type": ["integer", "string"]}),
        ("str | None", {"type": ["string", "null"]}),
        ("typing.List[Dict]", {"type": "array", "items": {"type": "object"}}),
        ("any", {}),
        ("Callable[[float], float]", {}),
        ("a flux capacitor", {}),
        (["string", "null"], {"type": ["string", "null"]}),
        (7, {}),
    ],
)
def test_types_as_people_write_them(written: Any, schema: dict[str, Any]) -> None:
    tool = normalise_tool({"name": "f", "parameters": {"x": {"type": written}}})
    assert tool["function"]["parameters"]["properties"]["x"] == schema


def test_parameters_named_like_keywords_stay_parameters() -> None:
    tool = normalise_tool({"name": "f", "parameters": {"type": {"type": "str"}, "properties": {"type": "List[str]"}}})
    assert set(tool["function"]["parameters"]["properties"]) == {"type", "properties"}


def test_sloppy_schema_is_tidied() -> None:
    raw = {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {
                "n": {"type": "number", "minimum": "three", "multipleOf": 0, "required": True, "default": "many"},
                "kind": {"enum": "not a list", "type": "str"},
                "place": {"$ref": "#/$defs/Place"},
                "far": {"$ref": "https://example.com/schema.json"},
            },
            "required": ["n", "missing", 3, "n"],
            "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
        },
    }
    parameters = normalise_tool(raw)["function"]["parameters"]
    assert parameters["properties"] == {
        "n": {"type": "number", "default": "many"},
        "kind": {"type": "string"},
        "place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "far": {},
    }
    assert parameters["required"] == ["n"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"x": {"$ref": "#"}}},
        {"$ref": "#"},
        {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}},
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/0"}},
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)},
        },
    ],
    ids=["recursive", "itself", "one to itself", "billion laughs"],
)
def test_endless_schema_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        normalise_tool({"name": "f", "parameters": parameters})


@pytest.mark.parametrize("raw", [None, 5, {}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 200}, {"function": {"name": 3}}])
def test_tool_without_usable_name_is_refused(raw: Any) -> None:
    with pytest.raises(SchemaError, match="tool"):
        normalise_tool(raw)


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


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("layout", ["lines", "array", "pretty array", "pretty object", "with a byte-order mark"])
def test_reads_xlam(tmp_path: Path, as_text: bool, layout: str) -> None:
    raw = xlam()
    if as_text:
        raw |= {key: json.dumps(raw[key]) for key in ("tools", "answers")}
    text = {
        "lines": json.dumps(raw),
        "array": json.dumps([raw]),
        "pretty array": json.dumps([raw], indent=2),
        "pretty object": json.dumps(raw, indent=2),
        "with a byte-order mark": "\ufeff" + json.dumps(raw),
    }[layout]
    found = read_rows(write(tmp_path / "rows.json", text))
    assert found.problems == []
    assert [item for _, item in found.rows] == [row()]
    assert found.rows[0][0] == (2 if layout == "pretty array" else 1)


def test_several_answers_are_several_calls_and_none_needs_text() -> None:
    two = [{"name": "book_table", "arguments": {"city": city}} for city in ("Lyon", "Nice")]
    (several,) = rows_from(xlam(answers=two))
    assert isinstance(several, Row) and [call.arguments["city"] for call in several.calls] == ["Lyon", "Nice"]
    (silent,) = rows_from(xlam(answers="[]"))
    assert isinstance(silent, RowError) and "'response'" in str(silent)
    (spoken,) = rows_from(xlam(answers=[], response="I cannot book planes."))
    assert isinstance(spoken, Row) and spoken.messages[-1] == {"role": "assistant", "content": "I cannot book planes."}


def test_bad_rows_are_named_by_line_and_the_good_ones_go_in(tmp_path: Path) -> None:
    lines = [xlam(), "", "{not json", 5, xlam(answers=[{"name": "nope", "arguments": {}}]), {"text": "x"}, xlam(query="Another?")]
    lines += ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": 99999999999999999999}', '{"a": ' + "9" * 5000 + "}"]
    lines += ["[" * 100 + "]" * 100, "[" * 100_000, '"' + "x" * MAX_RECORD_CHARS + '"']
    found = read_rows(write(tmp_path / "rows.jsonl", *lines))
    assert [line for line, _ in found.rows] == [1, 7]
    assert [problem.line for problem in found.problems] == [3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]
    reasons = ["not JSON", "must be a JSON object", "'nope'", "its keys are text", "finite", "finite", "surrogate", "64 bits"]
    reasons += ["cannot be read", "nested", "cannot be read", "longer than"]
    for problem, reason in zip(found.problems, reasons, strict=True):
        assert reason in problem.reason


def test_array_elements_are_named_by_line(tmp_path: Path) -> None:
    text = "[\n" + ",\n".join(json.dumps(item) for item in [xlam(), xlam(query=3), xlam()]) + ",\n{broken\n]"
    found = read_rows(write(tmp_path / "rows.json", text))
    assert [line for line, _ in found.rows] == [2, 4]
    assert found.problems[0] == (3, "element 2: 'query' must be text, not int")
    assert found.problems[1].line == 5 and "not JSON from here on" in found.problems[1].reason


@pytest.mark.parametrize("cut", ["", ",", ' {"x": 1}', "] trailing"])
def test_array_that_ends_badly_keeps_what_came_before(tmp_path: Path, cut: str) -> None:
    found = read_rows(write(tmp_path / "rows.json", "[" + json.dumps(xlam()) + cut))
    assert len(found.rows) == 1 and len(found.problems) == 1 and "not JSON" in found.problems[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"[]", "no rows"),
        (b"[", "cannot be read"),
        (b"name,age\nAda,36\n", "cannot be read"),
        (b"PK\x03\x04\x00\x00", "zero bytes"),
        ('{"query": "Zürich"}'.encode("latin-1"), "not UTF-8 (line 1"),
        (json.dumps(xlam()).encode("utf-16"), "zero bytes"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_rows(tmp_path / "rows.jsonl")
    assert reason in str(refused.value) and "rows.jsonl" in str(refused.value)


def test_folder_missing_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        read_rows(tmp_path)
    with pytest.raises(InputError, match="no file"):
        read_rows(tmp_path / "missing.jsonl")
    with pytest.raises(InputError):
        read_rows(Path("nul\0byte"))
    with (tmp_path / "huge.jsonl").open("wb") as file:
        file.truncate(200_000_001)
    with pytest.raises(InputError, match="larger than 200 MB"):
        read_rows(tmp_path / "huge.jsonl")


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


@pytest.mark.slow
def test_reads_a_folder_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [to_nemo_train(row(question=f"Table {n}?")) for n in range(5)] + [{"messages": [], "tools": []}]
    rows[1]["messages"][-1]["tool_calls"][0]["function"]["arguments"] = {"city": "Nice", "terrace": True}
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", *rows)
    found = read_hub(str(folder))
    assert [line for line, _ in found.rows] == [1, 2, 3, 4, 5] and [problem.line for problem in found.problems] == [6]
    assert found.rows[1][1].calls[0].arguments == {"city": "Nice", "terrace": True}
    assert found.rows[2][1].calls[0].arguments == ARGUMENTS
    assert len(read_hub(str(folder), limit=2).rows) == 2
    with pytest.raises(InputError, match="split 'nope'"):
        read_hub(str(folder), split="nope")
    with pytest.raises(InputError, match="missing"):
        read_hub(str(tmp_path / "missing"))


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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_file_raises_anything_but_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    try:
        found = read_rows(path)
    except InputError as error:
        assert "rows.jsonl" in str(error)
    else:
        assert found.rows or found.problems
