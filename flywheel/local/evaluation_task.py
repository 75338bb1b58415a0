"""One row of an evaluation: the request that its templates make of it, and the scores of the answer.

Knows templates and metrics. Knows neither inference nor jobs. Templates come from a client and rows from people: both are
rendered in a sandbox, and what is rendered is data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flywheel.local.evaluation import Task, ToolCallingMetric
from flywheel.local.metrics import TOOL_CALLING_SCORES, read_calls, string_check, tool_calling_scores

Row = Mapping[str, Any]
Scores = dict[str, dict[str, float]]
"""Metric → score → value."""

_STRUCTURED = ("messages", "tools")


class TaskError(ValueError):
    """A template does not fit a row; the text says which and why."""


def request_body(task: Task, row: Row) -> dict[str, Any]:
    """The chat completion request for one row, without model and sampling. Raises TaskError.

    Every string of the template is rendered; messages, tools and whatever else renders to a JSON object or list is read as such.
    Tools that the row does not have, and tool_choice with them, are left out.
    """
    body = {key: _rendered(value, {"item": row}, key) for key, value in task.params.template.items()}
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise TaskError(f"the template of 'messages' must render to a JSON list that is not empty, not {body['messages']!r:.80}")
    if not body.get("tools"):
        body.pop("tools", None)
        body.pop("tool_choice", None)
    return {key: value for key, value in body.items() if value is not None}


def scored(task: Task, row: Row, response: Mapping[str, Any] | None) -> Scores:
    """The scores of one answer (a chat completion, or None where none came: all 0). Raises TaskError."""
    message = response["choices"][0]["message"] if response else {}
    sample = {"output_text": message.get("content") or "", "response": response or {"choices": [{"message": {}}]}}
    scores: Scores = {}
    for name, metric in task.metrics.items():
        if isinstance(metric, ToolCallingMetric):
            calls = _text(metric.params.tool_calls_ground_truth, {"item": row}, f"{name}.tool_calls_ground_truth", strict=True)
            try:
                expected = read_calls(calls)
            except ValueError as error:
                raise TaskError(f"the ground truth of {name!r} cannot be read: {error}") from error
            predicted = tool_calling_scores(expected, message.get("tool_calls"))
            scores[name] = predicted if response else dict.fromkeys(TOOL_CALLING_SCORES, 0.0)
        else:
            left, operation, right = metric.params.check
            texts = [_text(part, {"item": row, "sample": sample}, f"{name}.check") for part in (left, right)]
            scores[name] = {"string-check": string_check(texts[0], operation, texts[1]) if response else 0.0}
    return scores


def _rendered(value: Any, context: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _rendered(item, context, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, context, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    text = _text(value, context, where)
    if where in _STRUCTURED or (value.lstrip().startswith("{{") and text.lstrip()[:1] in ("{", "[")):
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            raise TaskError(f"the template of {where!r} renders to {text!r:.80}, not to JSON; end it with | tojson") from None
    return text


def _text(template: str, context: Mapping[str, Any], where: str, *, strict: bool = False) -> str:
    try:
        return (_STRICT if strict else _LENIENT).from_string(template).render(context)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise TaskError(f"the template of {where!r} cannot be rendered: {error}") from error


def _environment(undefined: type[Undefined]) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=undefined)
    environment.filters["tojson"] = _tojson
    return environment


def _tojson(value: Any) -> str:
    if isinstance(value, StrictUndefined):
        return str(value)  # raises, and names what is missing
    return json.dumps(None if isinstance(value, Undefined) else value, ensure_ascii=False)


# A row without tools is asked without tools; a row without ground truth would be scored as one where no call is right.
_LENIENT, _STRICT = _environment(Undefined), _environment(StrictUndefined)
