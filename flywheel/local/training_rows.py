"""The rows a customization job trains on: read from JSONL, checked one by one, brought into one shape.

Knows the row forms that the Customizer takes and what makes a row unfit. Does not know tokens, models or jobs, and does not judge
a tool's schema: schemas in real data sets are sloppy, and only the tools' names are needed here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flywheel.local.chat_format import content_text

Message = dict[str, Any]
Tool = dict[str, Any]

ROLES = ("system", "developer", "user", "assistant", "tool")
SHOWN = 10
PROMPT_TEMPLATE = "{prompt} {completion}"
"""Which two fields of a row without messages are the question and the answer, unless the config says otherwise."""
_FIELD = re.compile(r"\{(\w+)\}")

Row = TypeVar("Row")


class TrainingRow(NamedTuple):
    """One example: OpenAI-shaped messages whose last one is the answer to learn, and the tools that were offered."""

    messages: list[Message]
    tools: list[Tool]
    where: str


class BadRows(ValueError):
    """Some rows cannot be trained on; the text names the first of them by file, line and reason."""


def read_rows(folder: Path, read: Callable[[bytes, str, Sequence[Tool]], Row], shared_tools: Sequence[Tool] = ()) -> list[Row]:
    """All rows of the `*.jsonl` files under `folder`, in order of file name; blank lines are skipped.

    read makes a row of a line, of where it stands and of the shared tools, which are offered in every row that brings none; it
    raises ValueError. Raises BadRows, which names every unfit row up to SHOWN of them.
    """
    rows: list[Row] = []
    bad: list[str] = []
    for path in sorted(folder.rglob("*.jsonl")):
        shown = path.relative_to(folder.parent).as_posix()
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    rows.append(read(line, f"{shown}:{number}", shared_tools))
                except ValueError as error:
                    bad.append(f"{shown}:{number}: {error}")
    if bad:
        more = f"\n... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise BadRows(f"{len(bad)} of {len(rows) + len(bad)} rows cannot be trained on:\n" + "\n".join(bad[:SHOWN]) + more)
    return rows


def checked_template(template: str) -> str:
    """The prompt template, which names two fields, such as `{input} {output}`. Raises ValueError."""
    if len(_FIELD.findall(template)) != 2:
        raise ValueError(f"a prompt template names two fields, such as {PROMPT_TEMPLATE!r}; {template!r:.80} does not")
    return template


def read_row(line: bytes, where: str, shared_tools: Sequence[Tool] = (), template: str = PROMPT_TEMPLATE) -> TrainingRow:
    """One JSONL line as a row: `messages` (with or without `tools`), `conversations`, or the two fields that the template names.

    Raises ValueError.
    """
    row = read_object(line)
    if "messages" not in row and "conversations" in row:
        row = {**row, "messages": _turns(row.get("system"), row["conversations"])}
    asked, answered = _FIELD.findall(template)
    if "messages" not in row and asked in row and answered in row:
        row = {"messages": _turn(row, asked, answered), "tools": row.get("tools")}
    tools = read_tools(row.get("tools")) or list(shared_tools)
    messages = read_messages(row.get("messages"), {tool["function"]["name"] for tool in tools})
    last = messages[-1]
    if last["role"] != "assistant":
        raise ValueError(f"the last message must be the assistant's, not the {last['role']}'s")
    if not last.get("content") and not last.get("tool_calls"):
        raise ValueError("the last message has neither content nor tool calls: there is nothing to learn")
    return TrainingRow(messages, tools, where)


def split_rows(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to validate on, `share` of them (at least one where there are two), chosen by `seed`."""
    count = min(len(rows) - 1, max(1, round(len(rows) * share)))
    chosen = set(random.Random(seed).sample(range(len(rows)), count))
    return [row for i, row in enumerate(rows) if i not in chosen], [row for i, row in enumerate(rows) if i in chosen]


def read_object(line: bytes) -> dict[str, Any]:
    """The JSON object of one line. Raises ValueError."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError("a row must be a JSON object")
    return row


def _turn(row: Mapping[str, Any], asked: str, answered: str) -> list[Message]:
    if not isinstance(row[asked], str) or not isinstance(row[answered], str):
        raise ValueError(f"{asked!r} and {answered!r} must be strings")
    return [{"role": "user", "content": row[asked]}, {"role": "assistant", "content": row[answered]}]


def _turns(system: Any, conversations: Any) -> list[Message]:
    """The legacy form: `conversations` of `{from, value}` after an optional `system`."""
    if not isinstance(conversations, list) or not all(isinstance(turn, dict) for turn in conversations):
        raise ValueError("'conversations' must be a list of {from, value}")
    first = [{"role": "system", "content": system}] if system else []
    roles = {turn.get("from"): str(turn.get("from")).lower() for turn in conversations if isinstance(turn.get("from"), str)}
    return first + [{"role": roles.get(turn.get("from")), "content": turn.get("value")} for turn in conversations]


def read_tools(value: Any) -> list[Tool]:
    """The tools that a row offers, none where it has none. Raises ValueError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError("'tools' must be a list")
    for tool in value:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise ValueError(f"a tool needs a function with a name, got {tool!r:.80}")
    return value


def read_messages(value: Any, offered: set[str]) -> list[Message]:
    """A conversation, checked; calls name tools that are `offered`. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("a row needs 'messages' (a list that is not empty), or 'prompt' and 'completion'")
    return [_read_message(message, offered) for message in value]


def _read_message(value: Any, offered: set[str]) -> Message:
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        raise ValueError(f"a message needs a role, one of {', '.join(ROLES)}; got {value!r:.80}")
    message: Message = {**value, "content": content_text(value.get("content"))}
    calls = message.pop("tool_calls", None)
    if not calls:
        return message
    if value["role"] != "assistant" or not isinstance(calls, list):
        raise ValueError("'tool_calls' must be a list in an assistant's message")
    return {**message, "tool_calls": [_read_call(call, offered) for call in calls]}


def _read_call(value: Any, offered: set[str]) -> dict[str, Any]:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f"a tool call needs a function with a name, got {value!r:.80}")
    name, arguments = function["name"], function.get("arguments", {})
    if name not in offered:
        raise ValueError(f"calls {name!r}, which is not among the tools offered ({', '.join(sorted(offered)) or 'none'})")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ValueError(f"the arguments of {name!r} are not JSON: {arguments!r:.80}") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of {name!r} must be an object, not {arguments!r:.80}")
    return {**value, "type": "function", "function": {**function, "arguments": arguments}}
