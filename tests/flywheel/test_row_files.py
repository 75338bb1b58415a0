"""Files of rows: every layout read, bad rows named by line, bad files refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_rows import ARGUMENTS, row, xlam

from flywheel.errors import InputError
from flywheel.json_records import MAX_RECORD_CHARS
from flywheel.rows import (
    read_hub,
    read_rows,
    to_nemo_train,
)


def write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


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
