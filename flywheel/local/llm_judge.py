"""The llm-judge metric: what a judge is asked about one answer, and how its words become numbers.

Knows the metric's shape and its parsers. Does not ask anybody: `inference` does. A pattern comes from a client: it is searched
for under a time limit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import regex
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flywheel.local.inference import ModelRef
from flywheel.local.templates import TaskError, rendered

PATTERN_SECONDS = 1.0
LONGEST_PATTERN = 1000


class Parser(BaseModel):
    """Where a score stands in the judge's answer: the first group of a regex, or a key path of a JSON object."""

    model_config = ConfigDict(extra="allow")
    type: Literal["regex", "json"] = "regex"
    pattern: str | None = Field(default=None, max_length=LONGEST_PATTERN)
    json_path: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                regex.compile(pattern)
            except (regex.error, RecursionError) as error:
                raise ValueError(f"the pattern {pattern!r:.80} is no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _is_whole(self) -> Parser:
        if (self.pattern if self.type == "regex" else self.json_path) is None:
            raise ValueError(f"a parser of type {self.type} needs {'pattern' if self.type == 'regex' else 'json_path'!r}")
        return self


class JudgeScore(BaseModel):
    """One number that the judge is to give."""

    model_config = ConfigDict(extra="allow")
    type: Literal["int", "integer", "float", "number", "bool", "boolean"] = "int"
    parser: Parser


class Judge(BaseModel):
    """Parameters of llm-judge: who judges, the request's fields as templates over `item` and `sample`, and the scores."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    model: str | ModelRef
    template: dict[str, Any]
    scores: dict[str, JudgeScore] = Field(min_length=1)

    @field_validator("template")
    @classmethod
    def _asks(cls, template: dict[str, Any]) -> dict[str, Any]:
        if not template.get("messages") and not template.get("prompt"):
            raise ValueError("the judge's template needs 'messages' or 'prompt'")
        return template


def judge_request(judge: Judge, context: Mapping[str, Any]) -> dict[str, Any]:
    """What the judge is asked about one row and its answer, without its model. Raises TaskError."""
    body = {key: rendered(value, context, key) for key, value in judge.template.items()}
    messages = body.get("messages")
    if "prompt" not in body and (not isinstance(messages, list) or not messages):
        raise TaskError(f"the judge's template of 'messages' must render to a JSON list that is not empty, not {messages!r:.80}")
    return {key: value for key, value in body.items() if value is not None}


def judged(judge: Judge, text: str) -> dict[str, float]:
    """The scores that stand in the judge's answer; NaN for one that does not."""
    return {name: _number(_found(score.parser, text), score.type) for name, score in judge.scores.items()}


def _found(parser: Parser, text: str) -> Any:
    if parser.type == "json":
        return _at(text, str(parser.json_path))
    try:
        match = regex.search(str(parser.pattern), text, timeout=PATTERN_SECONDS)
    except TimeoutError:
        return None
    return match and match[1 if match.re.groups else 0]


def _at(text: str, path: str) -> Any:
    # Judges like to wrap their JSON into words and fences.
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
        for key in path.removeprefix("$").strip(".").split("."):
            value = value[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value


def _number(value: Any, kind: str) -> float:
    if kind.startswith("bool"):
        return {"true": 1.0, "yes": 1.0, "1": 1.0, "false": 0.0, "no": 0.0, "0": 0.0}.get(str(value).strip().lower(), math.nan)
    try:
        number = float(str(value))
    except ValueError:
        return math.nan
    if not math.isfinite(number):
        return math.nan
    return float(int(number)) if kind.startswith("int") else number
