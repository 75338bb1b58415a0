"""Preferences as training reads them: a prompt, the response that was chosen, and the one that was rejected.

Knows the row of the 25.x Customizer (`prompt`, `chosen_response`, `rejected_response`) and what makes one unfit. Knows neither
tokens nor a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.local.training_rows import Message, Tool, read_messages, read_object, read_tools

RESPONSES = ("chosen_response", "rejected_response")


class PreferenceRow(NamedTuple):
    """One preference: the conversation up to the answer, the tools that were offered, and the two answers as text."""

    messages: list[Message]
    tools: list[Tool]
    chosen: str
    rejected: str
    where: str


def read_preference(line: bytes, where: str, shared_tools: Sequence[Tool] = ()) -> PreferenceRow:
    """One JSONL line as a preference; the prompt is a text or a list of messages. Raises ValueError."""
    row = read_object(line)
    if "prompt" not in row or any(name not in row for name in RESPONSES):
        raise ValueError(
            f"a preference needs 'prompt', {RESPONSES[0]!r} and {RESPONSES[1]!r}; it has {', '.join(row) or 'nothing'}"
        )
    chosen, rejected = (_text(row[name], name) for name in RESPONSES)
    if chosen == rejected:
        raise ValueError("the chosen and the rejected response are the same: there is nothing to prefer")
    tools = read_tools(row.get("tools")) or list(shared_tools)
    return PreferenceRow(_prompt(row["prompt"], tools), tools, chosen, rejected, where)


def _prompt(value: Any, tools: Sequence[Tool]) -> list[Message]:
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    messages = read_messages(value, {tool["function"]["name"] for tool in tools})
    if messages[-1]["role"] == "assistant":
        raise ValueError("the prompt must end with the message that is answered, not with the assistant's")
    return messages


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name!r} must be a text that is not empty")
    return value
