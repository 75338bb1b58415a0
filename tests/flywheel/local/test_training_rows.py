"""Which rows the Customizer takes, and how it names those it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.local.training_rows import BadRows, TrainingRow, checked_template, read_row, read_rows, split_rows

TOOL = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}}
USER = {"role": "user", "content": "hello"}


def row(**fields: Any) -> TrainingRow:
    return read_row(json.dumps(fields).encode(), "training/a.jsonl:1")


def calling(name: str = "f", arguments: Any = None) -> dict[str, Any]:
    function = {"name": name, "arguments": {} if arguments is None else arguments}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def test_a_row_as_nvidias_notebook_writes_it() -> None:
    sloppy = {"name": "f", "parameters": {"type": "object", "properties": {"n": {"type": "string", "default": 5}}}}
    found = row(messages=[USER, calling(arguments={"n": 1})], tools=[{"type": "function", "function": sloppy}])
    assert found.messages[-1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"n": 1}}
    assert found.tools[0]["function"]["name"] == "f"


def test_arguments_as_a_string_become_an_object() -> None:
    found = row(messages=[USER, calling(arguments='{"n": 1}')], tools=[TOOL])
    assert found.messages[-1]["tool_calls"][0]["function"]["arguments"] == {"n": 1}


def test_text_answers_with_and_without_tools() -> None:
    answer = {"role": "assistant", "content": "hi"}
    assert row(messages=[USER, answer]).tools == []
    assert row(messages=[USER, answer], tools=[TOOL]).tools == [TOOL]


def test_prompt_and_completion_become_a_turn() -> None:
    assert [message["content"] for message in row(prompt="a", completion="b").messages] == ["a", "b"]


def test_a_config_may_name_the_two_fields() -> None:
    line = json.dumps({"input": "a", "output": "b"}).encode()
    assert [message["content"] for message in read_row(line, "", template="Q: {input} A: {output}").messages] == ["a", "b"]
    with pytest.raises(ValueError, match="names two fields"):
        checked_template("{input}")


def test_a_legacy_conversation_becomes_messages() -> None:
    turns = [{"from": "User", "value": "a"}, {"from": "Assistant", "value": "b"}]
    roles = [(message["role"], message["content"]) for message in row(system="s", conversations=turns).messages]
    assert roles == [("system", "s"), ("user", "a"), ("assistant", "b")]


def test_shared_tools_serve_rows_that_bring_none() -> None:
    line = json.dumps({"messages": [USER, calling()]}).encode()
    assert read_row(line, "", [TOOL]).tools == [TOOL]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff{}", "not UTF-8"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "needs 'messages'"),
        (b'{"messages": []}', "needs 'messages'"),
        (b'{"messages": [{"role": "king"}]}', "role"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "must be the assistant's"),
        (b'{"messages": [{"role": "assistant", "content": ""}]}', "nothing to learn"),
        (b'{"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}', "image"),
        (b'{"prompt": 1, "completion": "x"}', "must be strings"),
        (json.dumps({"messages": [USER, calling("g")], "tools": [TOOL]}).encode(), "'g', which is not among the tools"),
        (json.dumps({"messages": [USER, calling()]}).encode(), "offered .none."),
        (json.dumps({"messages": [USER, calling(arguments="{")], "tools": [TOOL]}).encode(), "not JSON"),
        (json.dumps({"messages": [USER, calling(arguments=[1])], "tools": [TOOL]}).encode(), "must be an object"),
        (json.dumps({"messages": [USER, calling()], "tools": [{}]}).encode(), "needs a function with a name"),
        (json.dumps({"messages": [USER, calling()], "tools": "f"}).encode(), "'tools' must be a list"),
    ],
)
def test_an_unfit_row_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_row(line, "")


def test_all_unfit_rows_are_named_by_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    folder.mkdir()
    good = json.dumps({"messages": [USER, {"role": "assistant", "content": "hi"}]})
    (folder / "b.jsonl").write_text(f"{good}\n\nnonsense\n{good}\n[]\n", encoding="utf-8")
    (folder / "a.jsonl").write_text("{}\n", encoding="utf-8")
    (folder / "notes.txt").write_text("not a row", encoding="utf-8")
    with pytest.raises(BadRows) as raised:
        read_rows(folder, read_row)
    lines = str(raised.value).splitlines()
    assert lines[0] == "3 of 5 rows cannot be trained on:"
    assert [line.split(": ")[0] for line in lines[1:]] == ["training/a.jsonl:1", "training/b.jsonl:3", "training/b.jsonl:5"]


def test_files_are_merged_in_order_of_name(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    folder.mkdir()
    for name in ("b", "a"):
        line = json.dumps({"prompt": name, "completion": "x"})
        (folder / f"{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    assert [(found.messages[0]["content"], found.where) for found in read_rows(folder, read_row)] == [
        ("a", "training/a.jsonl:1"),
        ("b", "training/b.jsonl:1"),
    ]


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (9, 1), (100, 10)])
def test_split(count: int, held_out: int) -> None:
    rows = [TrainingRow([], [], str(i)) for i in range(count)]
    kept, held = split_rows(rows, 0.1, seed=1)
    assert len(held) == held_out
    assert sorted(row.where for row in kept + held) == sorted(row.where for row in rows)
    assert split_rows(rows, 0.1, seed=1) == (kept, held)
