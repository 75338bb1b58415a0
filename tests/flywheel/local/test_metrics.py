"""Scores of tool calls: order, form and kind of number play no part; names, values and the number of calls do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.local.metrics import Call, number_check, read_calls, string_check, summary, tool_calling_scores

CASES: list[tuple[str, Any, Any, tuple[float, float]]] = [
    ("the same", [("f", {"a": 1})], [("f", {"a": 1})], (1, 1)),
    ("another value", [("f", {"a": 1})], [("f", {"a": 2})], (1, 0)),
    ("another name", [("f", {"a": 1})], [("g", {"a": 1})], (0, 0)),
    ("case matters", [("f", {"a": "Rome"})], [("f", {"a": "rome"})], (1, 0)),
    ("a call too many", [("f", {})], [("f", {}), ("f", {})], (0, 0)),
    ("a call too few", [("f", {}), ("g", {})], [("f", {})], (0, 0)),
    ("another order", [("f", {"a": 1}), ("g", {})], [("g", {}), ("f", {"a": 1})], (1, 1)),
    ("swapped arguments", [("f", {"a": 1}), ("g", {"a": 2})], [("f", {"a": 2}), ("g", {"a": 1})], (1, 0)),
    ("key order", [("f", {"a": 1, "b": {"x": 1, "y": 2}})], [("f", {"b": {"y": 2, "x": 1}, "a": 1})], (1, 1)),
    ("a whole number as a float", [("f", {"a": 3})], [("f", {"a": 3.0})], (1, 1)),
    ("a number is no truth value", [("f", {"a": 1})], [("f", {"a": True})], (1, 0)),
    ("a number is no text", [("f", {"a": 1})], [("f", {"a": "1"})], (1, 0)),
    ("list order", [("f", {"a": [1, 2]})], [("f", {"a": [2, 1]})], (1, 0)),
    ("an argument too many", [("f", {"a": 1})], [("f", {"a": 1, "b": None})], (1, 0)),
    ("no call, rightly", [], [], (1, 1)),
    ("no call, wrongly", [("f", {})], [], (0, 0)),
    ("a call where none is right", [], [("f", {})], (0, 0)),
]


def truth(calls: list[tuple[str, Any]]) -> list[Call]:
    return read_calls([{"type": "function", "function": {"name": name, "arguments": value}} for name, value in calls])


def prediction(calls: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": "c", "type": "function", "function": {"name": name, "arguments": json.dumps(value)}} for name, value in calls]


@pytest.mark.parametrize(("expected", "predicted", "scores"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_tool_calling(expected: Any, predicted: Any, scores: tuple[float, float]) -> None:
    assert tuple(tool_calling_scores(truth(expected), prediction(predicted)).values()) == scores


@pytest.mark.parametrize(
    "predicted",
    [
        "not json",
        [{"function": {"name": "f", "arguments": "{broken"}}],
        [{"function": {"name": "f", "arguments": "[1]"}}],
        [{"function": {}}],
        ["f"],
        {"name": "f"},
        [{"function": {"name": "f", "arguments": "[" * 100_000}}],
        [{"function": {"name": "f", "arguments": '{"a":' * 900 + "1" + "}" * 900}}],
    ],
)
def test_a_prediction_that_cannot_be_read_is_wrong(predicted: Any) -> None:
    expected = truth([("f", {})])
    assert set(tool_calling_scores(expected, predicted).values()) <= {0.0}
    assert set(tool_calling_scores([], predicted).values()) == {0.0}


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]", "null"])
def test_no_calls_in_every_form(nothing: Any) -> None:
    assert read_calls(nothing) == []


def test_calls_in_every_form_read_alike() -> None:
    forms: list[Any] = [
        [{"name": "f", "arguments": {"a": 1}}],
        [{"name": "f", "arguments": '{"a": 1.0}'}],
        [{"function": {"name": "f", "arguments": {"a": 1}}, "id": "x", "type": "function"}],
        '[{"function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]',
    ]
    assert {tuple(read_calls(form)) for form in forms} == {(Call("f", '{"a": 1}'),)}
    assert read_calls([{"name": "f"}]) == read_calls([{"name": "f", "arguments": ""}]) == [Call("f", "{}")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
calls = st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), json_values, max_size=3)), max_size=4)


@given(calls, st.randoms())
def test_every_call_equals_itself_in_any_order(made: list[tuple[str, Any]], chance: Any) -> None:
    shuffled = chance.sample(made, len(made))
    assert set(tool_calling_scores(truth(made), prediction(shuffled)).values()) == {1.0}


@given(json_values)
def test_no_prediction_makes_scoring_fail(value: Any) -> None:
    scores = tool_calling_scores(truth([("f", {})]), value)
    assert set(scores) == {"function_name_accuracy", "function_name_and_args_accuracy"}


@pytest.mark.parametrize(
    ("left", "operation", "right", "score"),
    [
        ("ab", "equals", "ab", 1),
        ("ab", "equals", "a", 0),
        ("ab", "!=", "a", 1),
        ("ab", "contains", "b", 1),
        ("ab", "not contains", "b", 0),
        ("ab", "startswith", "a", 1),
        ("ab", "endswith", "a", 0),
    ],
)
def test_string_check(left: str, operation: str, right: str, score: float) -> None:
    assert string_check(left, operation, right) == score


@pytest.mark.parametrize(
    ("check", "score"),
    [
        (["3", "==", "3.0"], 1),
        (["3", ">", "3"], 0),
        (["3", ">=", "3"], 1),
        (["two", "!=", "2"], 0),  # no number is not another number
        (["absolute difference", "3.05", "3", "epsilon", 0.1], 1),
        (["absolute difference", "3.2", "3", "epsilon", 0.1], 0),
    ],
)
def test_number_check(check: list[Any], score: float) -> None:
    assert number_check(check) == score


def test_an_unknown_string_check_is_named() -> None:
    with pytest.raises(ValueError, match="'resembles'.*contains"):
        string_check("a", "resembles", "b")


def test_summary() -> None:
    assert summary([1, 0, 1, float("nan")]) == {
        "value": pytest.approx(2 / 3),
        "stats": {"count": 3, "sum": 2.0, "mean": pytest.approx(2 / 3), "nan_count": 1},
    }
    assert summary([])["value"] == 0.0
