"""The draft of a correction: the calls or words that should have been. Immutable; a change gives a new draft.

Knows the schemas that the model saw; neither Gradio's components nor the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from chat_app.ui import forms
from flywheel.database import new_id
from flywheel.errors import InputError
from flywheel.json_records import parse
from flywheel.store import Message, ToolSchema, Turn

RIGHT, CALLS, TEXT = "right", "calls", "text"
MAX_CALLS = 5


def first_reply(turn: Turn) -> Message:
    """What the model decided first in this turn: its calls, or its words."""
    for message in turn.messages:
        if message["role"] == "assistant":
            if message.get("tool_calls"):
                calls = [{"type": "function", "function": dict(call["function"])} for call in message["tool_calls"]]
                return {"role": "assistant", "content": "", "tool_calls": calls}
            return {"role": "assistant", "content": message.get("content") or ""}
    return {"role": "assistant", "content": turn.answer}


@dataclass(frozen=True)
class Draft:
    """calls: [{"name", "arguments"}], at least one so that the form has a tool to show; key: new for every shape of the form."""

    tools: list[ToolSchema]
    calls: list[dict[str, Any]]
    text: str
    key: str = field(default_factory=lambda: new_id("draft"))

    def __hash__(self) -> int:
        return hash(self.key)  # Gradio sees by the hash that a State has changed

    @classmethod
    def of(cls, turn: Turn) -> Draft:
        """What the model said, as the place to start from."""
        return cls.of_reply(turn, first_reply(turn))

    @classmethod
    def of_reply(cls, turn: Turn, reply: Message) -> Draft:
        """An assistant message as a draft; calls of tools that the model did not see are left out."""
        offered = {tool["function"]["name"] for tool in turn.tools}
        made = [call["function"] for call in reply.get("tool_calls", ()) if call["function"]["name"] in offered]
        calls = [
            {"name": call["name"], "arguments": call["arguments"] if isinstance(call["arguments"], dict) else {}} for call in made
        ]
        return cls(turn.tools, calls or cls._blank(turn.tools), reply["content"])

    @staticmethod
    def _blank(tools: list[ToolSchema]) -> list[dict[str, Any]]:
        return [{"name": tools[0]["function"]["name"], "arguments": {}}] if tools else []

    def schema(self, name: str) -> ToolSchema:
        """The schema of a tool that the model saw. Raises InputError."""
        for tool in self.tools:
            if tool["function"]["name"] == name:
                return tool
        raise InputError(f"the model saw no tool {name!r}")

    def changed(self, calls: list[dict[str, Any]]) -> Draft:
        """The same draft with other calls, and a new form."""
        return replace(self, calls=calls, key=new_id("draft"))

    def with_tool(self, number: int, name: str) -> Draft:
        """Call `number` gets another tool; arguments of the same name are kept."""
        known = forms.properties(self.schema(name))
        kept = {key: value for key, value in self.calls[number]["arguments"].items() if key in known}
        return self.changed([{"name": name, "arguments": kept} if i == number else call for i, call in enumerate(self.calls)])

    def with_call(self) -> Draft:
        """One more call."""
        return self.changed(self.calls + self._blank(self.tools))

    def without(self, number: int) -> Draft:
        """One call less."""
        return self.changed([call for i, call in enumerate(self.calls) if i != number])

    def with_json(self, text: str) -> Draft:
        """The calls from JSON: a list of {"name", "arguments"}. Raises InputError saying what is wrong."""
        calls, problem = parse(text)
        if problem is not None:
            raise InputError(f"this is {problem}")
        calls = calls if isinstance(calls, list) else [calls]
        for call in calls:
            if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not isinstance(call.get("arguments"), dict):
                raise InputError('each call must be {"name": "...", "arguments": {...}}')
            self.schema(call["name"])
        if not calls:
            raise InputError("no call in it; to call no tool, choose “No tool: these words”")
        if len(calls) > MAX_CALLS:
            raise InputError(f"{len(calls)} calls in it; a turn makes at most {MAX_CALLS}")
        return self.changed([{"name": call["name"], "arguments": call["arguments"]} for call in calls])

    def filled(self, values: list[Any], *, lenient: bool = False) -> Draft:
        """The draft with what the form's fields hold, in the order of the form: tool, its parameters, next tool …

        Raises InputError for a field that is missing or unreadable; lenient leaves it out instead.
        """
        read = forms.readable_arguments if lenient else forms.arguments_of
        calls, position = [], 0
        for call in self.calls:
            schema = self.schema(call["name"])
            count = len(forms.properties(schema))
            arguments = read(schema, values[position + 1 : position + 1 + count])
            calls.append({"name": call["name"], "arguments": arguments})
            position += 1 + count
        return replace(self, calls=calls)


def response_of(mode: str, turn: Turn, draft: Draft, values: list[Any]) -> Message | None:
    """The assistant message that should have been; None = the model's own stands. Raises InputError."""
    if mode == RIGHT:
        return None
    if mode == TEXT:
        text = str(values[0] if values else "").strip()
        if not text:
            raise InputError("write the words that would have been right")
        return {"role": "assistant", "content": text}
    calls = draft.filled(values).calls
    functions = [{"type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}} for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": functions}
