"""What the chat's own tools gave, and the sentence that a person reads about it: rows that go on after a call.

tool_results.json holds questions with their calls and what the real tools made of them, frozen. A result brings its sentence, its
`summary`, with it; an error is told as it is. Knows no tool, and runs none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flywheel.rows import Row, ToolSchema

TOOL_RESULTS = Path(__file__).with_name("tool_results.json")
DECLINED = "the person declined"
"""The error that stands for a call which its person did not agree to."""


def result_rows(tools: list[ToolSchema]) -> list[Row]:
    """A row for every frozen result; `tools`, in OpenAI shape, are offered by all of them."""
    return [Row(_conversation(case), tools) for case in json.loads(TOOL_RESULTS.read_text(encoding="utf-8"))]


def _conversation(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Question, call, result and sentence; the result as the chat writes it, in compact JSON."""
    call, found = case["call"], case["result"]
    return [
        {"role": "user", "content": case["question"]},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "content": json.dumps(found, ensure_ascii=False, separators=(",", ":"))},
        {"role": "assistant", "content": sentence(found)},
    ]


def sentence(found: dict[str, Any]) -> str:
    """What the chat should say after a call with this result: the result's own summary, or what kept it from being done."""
    if "error" not in found:
        return str(found["summary"])
    return "All right, I did not do that." if found["error"] == DECLINED else f"Sorry, that did not work: {found['error']}"
