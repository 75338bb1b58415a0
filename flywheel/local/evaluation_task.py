"""One row of an evaluation: the request that its templates make of it, and the scores of the answer.

Knows templates and metrics. Knows neither inference nor jobs; what a judge says is asked for elsewhere (`llm_judge`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.local.evaluation import Task
from flywheel.local.evaluation_metrics import (
    JudgeMetric,
    NumberCheckMetric,
    StringCheckMetric,
    TextMetric,
    ToolCallingMetric,
)
from flywheel.local.inference import output_text
from flywheel.local.metrics import TOOL_CALLING_SCORES, number_check, read_calls, string_check, tool_calling_scores
from flywheel.local.templates import TaskError, render, rendered
from flywheel.local.text_metrics import SCORES, text_scores

Row = Mapping[str, Any]
Scores = dict[str, dict[str, float]]
"""Metric → score → value."""
Texts = tuple[str, list[str]]
"""An answer's text and the texts that were expected."""


def request_body(task: Task, row: Row) -> dict[str, Any]:
    """The completion request for one row, without model and sampling. Raises TaskError.

    Every string of the template is rendered; messages, tools and whatever else renders to a JSON object or list is read as such.
    What the row does not have is left out, tool_choice also where there are no tools.
    """
    template = task.params.template if task.params else {}
    if task.type == "completion":
        body = {key: rendered(value, {"item": row}, key) for key, value in template.items() if key != "prompt"}
        return {**body, "prompt": render(str(template["prompt"]), {"item": row}, "prompt")}
    body = {key: rendered(value, {"item": row}, key) for key, value in template.items()}
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise TaskError(f"the template of 'messages' must render to a JSON list that is not empty, not {body['messages']!r:.80}")
    if not body.get("tools"):
        body.pop("tools", None)
        body.pop("tool_choice", None)
    if body.get("tool_choice") == "":
        del body["tool_choice"]
    return {key: value for key, value in body.items() if value is not None}


def context_of(row: Row, response: Mapping[str, Any] | None) -> dict[str, Any]:
    """What templates of metrics may look at: the row as `item`, the answer as `sample`. Rows may bring their `output_text`."""
    if response is None:
        text, response = str(row.get("output_text") or ""), {"choices": [{"message": {}}]}
    else:
        text = output_text(dict(response))
    return {"item": row, "sample": {"output_text": text, "response": response}}


def scored(task: Task, row: Row, response: Mapping[str, Any] | None) -> Scores:
    """The scores of one answer, except what judges say. Raises TaskError.

    response is a completion. Where none came, all scores are 0, except in a task that asks no model.
    """
    context = context_of(row, response)
    there = response is not None or task.type == "data"
    scores: Scores = {}
    for name, metric in task.metrics.items():
        if isinstance(metric, ToolCallingMetric):
            scores[name] = _tool_calling(name, metric, context, there)
        elif isinstance(metric, StringCheckMetric):
            left, operation, right = metric.params.check
            texts = [render(part, context, f"{name}.check") for part in (left, right)]
            scores[name] = {"string-check": string_check(texts[0], operation, texts[1]) if there else 0.0}
        elif isinstance(metric, NumberCheckMetric):
            check = [render(part, context, f"{name}.check") if isinstance(part, str) else part for part in metric.params.check]
            scores[name] = {"number-check": number_check(check) if there else 0.0}
        elif isinstance(metric, TextMetric):
            candidate, references = texts_of(name, metric, context)
            found = text_scores(metric.type, candidate, references) if there else {}
            scores[name] = {score: found.get(score, 0.0) for score in SCORES[metric.type]}
    return scores


def texts_of(name: str, metric: TextMetric, context: Mapping[str, Any]) -> Texts:
    """What a metric of texts compares. Raises TaskError."""
    references = [render(text, context, f"{name}.references", strict=True) for text in metric.params.texts]
    return render(metric.params.candidate, context, f"{name}.candidate"), references


def judges(task: Task) -> dict[str, JudgeMetric]:
    """The task's metrics that a model judges."""
    return {name: metric for name, metric in task.metrics.items() if isinstance(metric, JudgeMetric)}


def _tool_calling(name: str, metric: ToolCallingMetric, context: Mapping[str, Any], there: bool) -> dict[str, float]:
    truth = render(metric.params.tool_calls_ground_truth, context, f"{name}.tool_calls_ground_truth", strict=True)
    try:
        expected = read_calls(truth)
    except ValueError as error:
        raise TaskError(f"the ground truth of {name!r} cannot be read: {error}") from error
    message = context["sample"]["response"]["choices"][0].get("message") or {}
    return tool_calling_scores(expected, message.get("tool_calls")) if there else dict.fromkeys(TOOL_CALLING_SCORES, 0.0)
