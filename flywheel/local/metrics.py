"""Scores for one evaluated answer, and the numbers that sum many of them up.

Pure: values in, numbers out. Knows how tool calls are compared. Does not know where answers come from, templates, or jobs.
"""

from __future__ import annotations

import json
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

TOOL_CALLING_SCORES = ("function_name_accuracy", "function_name_and_args_accuracy")
"""The scores of NVIDIA's `tool-calling` metric."""

CHECKS = ("equals", "==", "!=", "not equals", "contains", "not contains", "startswith", "endswith")
"""What the `string-check` metric can ask of two strings."""

_ORDER: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "equals": operator.eq, "!=": operator.ne, "not equals": operator.ne,
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
NUMBER_CHECKS = tuple(_ORDER)
"""What the `number-check` metric can ask of two numbers."""


class Call(NamedTuple):
    """One tool call in comparable form: its name, and its arguments as JSON with sorted keys."""

    name: str
    arguments: str


def read_calls(value: Any) -> list[Call]:
    """Tool calls from any form in use: a JSON string or a list, of `{function: {name, arguments}}` or `{name, arguments}`.

    Arguments may be an object or a JSON string of one; no arguments at all count as `{}`. None, "" and [] are no calls.
    Raises ValueError where a call cannot be read.
    """
    if isinstance(value, str):
        value = _parse(value, "tool calls") if value.strip() else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"tool calls must be a list, not {value!r:.80}")
    return [_read_call(item) for item in value]


def tool_calling_scores(expected: Sequence[Call], predicted: Any) -> dict[str, float]:
    """Score predicted calls (any form `read_calls` takes) against the expected ones; 0 or 1 for each of TOOL_CALLING_SCORES.

    The order of calls plays no part, their number does, and case matters. Where no call is expected, only a prediction without
    a call is right. A prediction that cannot be read is wrong in both.
    """
    try:
        calls = read_calls(predicted)
    except ValueError:
        return dict.fromkeys(TOOL_CALLING_SCORES, 0.0)
    names = Counter(call.name for call in calls) == Counter(call.name for call in expected)
    whole = Counter(calls) == Counter(expected)
    return dict(zip(TOOL_CALLING_SCORES, (float(names), float(whole)), strict=True))


def string_check(left: str, operation: str, right: str) -> float:
    """1 where the comparison named by `operation` (one of CHECKS) holds, else 0. Raises ValueError for an unknown operation."""
    match operation:
        case "equals" | "==":
            return float(left == right)
        case "not equals" | "!=":
            return float(left != right)
        case "contains":
            return float(right in left)
        case "not contains":
            return float(right not in left)
        case "startswith":
            return float(left.startswith(right))
        case "endswith":
            return float(left.endswith(right))
    raise ValueError(f"unknown string check {operation!r}; use one of {', '.join(CHECKS)}")


def number_check(check: Sequence[Any]) -> float:
    """1 where the check holds, else 0, also where a side is no number.

    check is `[left, one of NUMBER_CHECKS, right]`, or `["absolute difference", left, right, "epsilon", largest]`.
    """
    distance = len(check) == 5
    try:
        left, right = float(check[1 if distance else 0]), float(check[2])
    except (TypeError, ValueError):
        return 0.0
    return float(abs(left - right) <= float(check[4]) if distance else _ORDER[check[1]](left, right))


def summary(values: Iterable[float]) -> dict[str, Any]:
    """One score over all samples in the Evaluator's shape: `value` is the mean, `stats` holds count, sum, mean and nan_count.

    NaN values are counted apart and left out; the mean of nothing is 0.
    """
    everything = list(values)
    kept = [value for value in everything if not math.isnan(value)]
    total = math.fsum(kept)
    mean = total / len(kept) if kept else 0.0
    stats = {"count": len(kept), "sum": total, "mean": mean, "nan_count": len(everything) - len(kept)}
    return {"value": mean, "stats": stats}


def _read_call(item: Any) -> Call:
    function = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f"a tool call needs a function name, got {item!r:.80}")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parse(arguments, f"arguments of {function['name']!r}") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise ValueError(f"arguments of {function['name']!r} must be an object, not {arguments!r:.80}")
    try:
        return Call(function["name"], json.dumps(_canonical(arguments), sort_keys=True))
    except RecursionError:
        raise ValueError(f"arguments of {function['name']!r} are nested too deeply") from None


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} are not JSON: {text!r:.80}") from None


def _canonical(value: Any) -> Any:
    # JSON knows one kind of number: a ground truth of 3 and a prediction of 3.0 are the same call.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
