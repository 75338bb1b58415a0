"""Rows: conversations that end in the assistant message to learn, read from and written to the shapes that others use.

Shapes: xLAM ({query, tools, answers}), OpenAI messages, NeMo customization rows and NeMo evaluation rows. Pure: data in, data
out. Knows nothing of the store, of people or of where a row came from. What it reads is hostile until it has been checked.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.errors import InputError
from flywheel.json_records import Record, parse, read_records, unusable
from flywheel.tool_schemas import SchemaError, ToolSchema, argument_problems, normalise_tool, to_xlam_tool, tool_name

__all__ = [
    "Call", "Import", "Message", "Problem", "Row", "RowError", "ToolSchema", "check_row", "normalise_tool", "question_key",
    "openai_message", "read_hub", "read_rows", "rows_from", "to_nemo_eval", "to_nemo_train", "to_openai", "to_xlam",
]  # fmt: skip

Message = dict[str, Any]
"""OpenAI chat message; in a Row, tool_calls carry their arguments as JSON objects and content is text."""

_ROLES = ("system", "user", "assistant", "tool")
_OPERATORS = "*/%"  # punctuation to Unicode, but "5 * 3" and "5 / 3" are two questions


class RowError(ValueError):
    """A row cannot be used; the text is the reason, fit to stand beside a line number."""


class Call(NamedTuple):
    """One tool call of an answer."""

    name: str
    arguments: dict[str, Any]


class Problem(NamedTuple):
    """Why the row that begins on this line (from 1; a data set's row number for the hub) did not go in."""

    line: int
    reason: str


class Import(NamedTuple):
    """What a file held: good rows with their lines, and the problems with the others."""

    rows: list[tuple[int, Row]]
    problems: list[Problem]


@dataclass(frozen=True)
class Row:
    """A conversation whose last message is the answer to learn: tool calls, or text where no tool is to be called."""

    messages: list[Message]
    tools: list[ToolSchema]

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def question(self) -> str:
        """The last thing the user said before the answer; "" if there is none."""
        asked = [message.get("content") for message in self.messages[:-1] if message.get("role") == "user"]
        return str(asked[-1] or "") if asked else ""

    @cached_property
    def question_key(self) -> str:
        """The digest that two rows share when they ask the same question but for case, spacing and punctuation."""
        return question_key(self.question)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of messages and tools."""
        return hashlib.sha256(_canonical({"messages": self.messages, "tools": self.tools}).encode()).hexdigest()

    @property
    def calls(self) -> list[Call]:
        """The tool calls of the answer, in order; empty where the answer is text."""
        made = self.messages[-1].get("tool_calls") or [] if self.messages else []
        return [Call(call["function"]["name"], call["function"]["arguments"]) for call in made]

    @property
    def tool_names(self) -> list[str]:
        """The names of the tools on offer, in order."""
        return [tool_name(tool) for tool in self.tools]


def question_key(text: str) -> str:
    """SHA-256 (hex) of the text casefolded, whitespace and punctuation collapsed; "3.5" is not "3 5", and "5 * 3" not "5 / 3"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(a if _says_something(a, b) else " " for a, b in zip(folded, folded[1:] + " ", strict=False))
    return hashlib.sha256((" ".join(kept.split()) or folded).encode("utf-8", "replace")).hexdigest()


def _says_something(letter: str, following: str) -> bool:
    return unicodedata.category(letter)[0] in "LMNS" or letter in _OPERATORS or (letter in "-.,:" and following.isdigit())


def check_row(row: Row) -> list[str]:
    """Say what keeps a row from being learned from: one sentence a problem, empty when it is sound."""
    if not row.messages or row.messages[-1].get("role") != "assistant":
        return ["the last message is not the assistant's"]
    problems = [] if row.question.strip() else ["there is no question: no message of the user has text"]
    offered = {tool_name(tool): tool for tool in row.tools}
    if len(offered) < len(row.tools):
        problems.append("two tools on offer have the same name")
    content = row.messages[-1].get("content")
    if not row.calls and not (isinstance(content, str) and content.strip()):
        problems.append("the answer is empty: neither a tool call nor text")
    for name, arguments in row.calls:
        if name not in offered:
            problems.append(f"calls {name[:60]!r}, which is not on offer; the tools are {', '.join(offered)[:200] or 'none'}")
        elif not isinstance(arguments, dict):
            problems.append(f"the arguments of {name!r} are not a JSON object")
        else:
            problems.extend(argument_problems(offered[name], arguments))
    return problems


# Reading


def read_rows(path: Path) -> Import:
    """Read a file in xLAM shape (JSON array or JSON Lines), OpenAI messages JSON Lines, or NeMo evaluation rows.

    A conversation of several turns gives one row for every assistant message that answers a user message: the conversation up to
    there. What the assistant said after a tool's result, and a message with OpenAI's `weight` 0, is context and no row. An
    evaluation row gives its own calls only. Columns beside xLAM's three are ignored. A row that cannot be used is a problem with
    its line; the others go in. Raises InputError if the file cannot be read at all.
    """
    found = _collect(read_records(path))
    if not found.rows and not found.problems:
        raise InputError(f"{path.name!r} holds no rows; nothing to import")
    return found


def read_hub(name: str, split: str = "train", limit: int | None = None) -> Import:
    """Read a data set of the Hugging Face hub, or a local folder or file that `datasets` understands, in the shapes of read_rows.

    Stops after `limit` data set rows. Problems carry the row's number, from 1. Raises InputError if it cannot be loaded.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, split=split, streaming=True)
        taken = loaded if limit is None else loaded.take(limit)
        return _collect(_hub_record(number, value) for number, value in enumerate(taken, start=1))
    except Exception as error:  # the loader lets whatever its file readers and the hub client raise through
        raise InputError(f"cannot read the data set {name!r} (split {split!r}): {str(error)[:300]}") from error


def rows_from(raw: object) -> list[Row | RowError]:
    """The rows in one record of any shape that read_rows knows, each sound, or the RowError that says why it is not one."""
    if not isinstance(raw, dict):
        return [RowError(f"a row must be a JSON object, not {type(raw).__name__}")]
    try:
        tools = [normalise_tool(tool) for tool in _listed(raw.get("tools"), "tools")]
        if "query" in raw and "answers" in raw:
            candidates = [_from_xlam(raw, tools)]
        elif "messages" in raw:
            candidates = _from_messages(raw, tools)
        else:
            keys = ", ".join(str(key)[:30] for key in raw)[:120]
            return [RowError(f"neither xLAM (query, tools, answers) nor OpenAI (messages, tools); its keys are {keys or 'none'}")]
    except (RowError, SchemaError) as error:
        return [RowError(str(error))]
    checked: list[Row | RowError] = []
    for row in candidates:
        problems = check_row(row)
        where = f"message {len(row.messages)}: " if len(candidates) > 1 else ""
        checked.append(RowError(where + "; ".join(problems)) if problems else row)
    return checked


def _collect(records: Iterable[Record]) -> Import:
    rows: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    for record in records:
        found = [RowError(record.reason)] if record.reason is not None else rows_from(record.value)
        for item in found:
            if isinstance(item, Row):
                rows.append((record.line, item))
            else:
                problems.append(Problem(record.line, record.place + str(item)))
    return Import(rows, problems)


def _hub_record(number: int, value: Any) -> Record:
    pruned = _without_nulls(value)
    return Record(number, pruned, unusable(pruned))


def _without_nulls(value: Any) -> Any:
    """Columnar storage gives every object the keys of all its neighbours, as nulls; they were not in the row."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _listed(value: object, what: str) -> list[Any]:
    """A list, given as such or as JSON text; nothing is an empty list."""
    if isinstance(value, str):
        value, reason = parse(value)
        if reason:
            raise RowError(f"{what!r} is text that is {reason}")
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(f"{what!r} must be a list, not {type(value).__name__}")
    return value


def _from_xlam(raw: dict[str, Any], tools: list[ToolSchema]) -> Row:
    query = raw["query"]
    if not isinstance(query, str):
        raise RowError(f"'query' must be text, not {type(query).__name__}")
    calls = [_call(answer) for answer in _listed(raw["answers"], "answers")]
    text = raw.get("response")
    if not calls and not isinstance(text, str):
        raise RowError("'answers' is empty and there is no 'response' text to learn instead")
    answer: Message = {"role": "assistant", "content": text if isinstance(text, str) else ""}
    return Row([{"role": "user", "content": query}, answer | ({"tool_calls": calls} if calls else {})], tools)


def _from_messages(raw: dict[str, Any], tools: list[ToolSchema]) -> list[Row]:
    written = _listed(raw["messages"], "messages")
    messages = [_message(item, number) for number, item in enumerate(written, start=1)]
    if "tool_calls" in raw:
        calls = [_call(call) for call in _listed(raw["tool_calls"], "tool_calls")]
        answer: Message = {"role": "assistant", "content": "", **({"tool_calls": calls} if calls else {})}
        return [Row([*messages, _answer(answer)], tools)]
    turns = zip(messages, messages[1:], strict=False)
    answers = [end for end, (before, at) in enumerate(turns, 1) if (before["role"], at["role"]) == ("user", "assistant")]
    ends = [end for end in answers if written[end].get("weight") != 0]
    if not ends:
        raise RowError("no assistant message answers a user message")
    return [Row([*messages[:end], _answer(messages[end])], tools) for end in ends]


def _message(raw: object, number: int) -> Message:
    """One message with text content and object arguments; ids stay, since tool results refer to them."""
    if not isinstance(raw, dict):
        raise RowError(f"message {number} must be an object, not {type(raw).__name__}")
    role = "system" if raw.get("role") == "developer" else raw.get("role")
    if role not in _ROLES:
        raise RowError(f"message {number} has the role {str(role)[:40]!r}; it must be one of {', '.join(_ROLES)}")
    message: Message = {"role": role, "content": _text(raw.get("content"), number)}
    message |= {key: raw[key] for key in ("tool_call_id", "name") if isinstance(raw.get(key), str)}
    try:
        calls = [_call(call) for call in _listed(raw.get("tool_calls"), "tool_calls")]
    except RowError as error:
        raise RowError(f"message {number}: {error}") from error
    return message | ({"tool_calls": calls} if calls and role == "assistant" else {})


def _text(content: object, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise RowError(f"message {number}: content must be text, not {type(content).__name__} with other parts")
    return content


def _call(raw: object) -> dict[str, Any]:
    """A tool call, OpenAI's or xLAM's bare {name, arguments}, with its arguments as an object."""
    function = raw.get("function", raw) if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError("a call must be an object with a name and arguments")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments, reason = parse(arguments) if arguments.strip() else ({}, None)
        if reason:
            raise RowError(f"the arguments of {function['name'][:60]!r} are text that is {reason}")
    if not isinstance(arguments, dict):
        raise RowError(f"the arguments of {function['name'][:60]!r} must be an object, not {type(arguments).__name__}")
    call = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": raw["id"], **call} if isinstance(raw, dict) and isinstance(raw.get("id"), str) else call


def _answer(message: Message) -> Message:
    """The message to learn, without call ids: they are drawn anew at every call, and equal answers must have equal digests."""
    if "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [{"type": call["type"], "function": call["function"]} for call in message["tool_calls"]]}


# Writing


def to_openai(row: Row) -> dict[str, Any]:
    """{"messages", "tools"} as OpenAI's fine-tuning takes it: calls with ids, arguments as JSON strings, and the weight 0 on the
    assistant's earlier messages, which nobody approved."""
    messages = [openai_message(message, number) for number, message in enumerate(row.messages)]
    earlier = [message | ({"weight": 0} if message["role"] == "assistant" else {}) for message in messages[:-1]]
    return {"messages": [*earlier, *messages[-1:]], "tools": row.tools}


def to_xlam(row: Row) -> dict[str, Any] | None:
    """{"query", "tools", "answers"}, the last two as JSON strings; None for a row that does not fit: no call, or a dialogue."""
    spoken = [message["role"] for message in row.messages if message["role"] != "system"]
    if spoken != ["user", "assistant"] or not row.calls:
        return None
    tools = [to_xlam_tool(normalise_tool(tool)) for tool in row.tools]
    answers = [{"name": call.name, "arguments": call.arguments} for call in row.calls]
    return {"query": row.question, "tools": _text_of(tools), "answers": _text_of(answers)}


def to_nemo_train(row: Row) -> dict[str, Any]:
    """{"messages", "tools"} as Customizer takes it: arguments as JSON objects, content always text."""
    return {"messages": [{**message, "content": message.get("content") or ""} for message in row.messages], "tools": row.tools}


def to_nemo_eval(row: Row) -> dict[str, Any]:
    """{"messages", "tools", "tool_calls"} as Evaluator takes it: the conversation before the answer, ready to be sent to a model,
    and the expected calls with arguments as JSON objects ([] where text is right)."""
    calls = [{"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in row.calls]
    messages = [openai_message(message, number) for number, message in enumerate(row.messages[:-1])]
    return {"messages": messages, "tools": row.tools, "tool_calls": calls}


def openai_message(message: Message, number: int) -> Message:
    """The message with its calls as OpenAI writes them: with ids (made of `number` where they have none), arguments as text."""
    if not message.get("tool_calls"):
        return message
    calls = [
        {
            "id": call.get("id") or f"call_{number}_{index}",
            "type": "function",
            "function": {"name": call["function"]["name"], "arguments": _as_text(call["function"]["arguments"])},
        }
        for index, call in enumerate(message["tool_calls"])
    ]
    return {**message, "tool_calls": calls}


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else _text_of(arguments)


def _text_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
