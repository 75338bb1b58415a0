"""The draft of a correction: the calls or words that should have been, as the form shows them and as the page sends them back.

Knows the schemas that the model saw; neither Gradio's components nor the store.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """calls: [{"name", "arguments"}], at least one where there are tools, so that the form has one to show."""

    tools: list[ToolSchema]
    calls: list[dict[str, Any]]
    text: str

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
        return cls(turn.tools, calls or cls._blank(turn.tools), reply.get("content") or "")

    @classmethod
    def from_page(cls, turn: Turn, sent: str, *, lenient: bool = False) -> Draft:
        """What the page's form holds: JSON of {"calls": [{"name", "fields": [[path, text]]}], "text", "add"}.

        Raises InputError for a field that is missing or unreadable; lenient leaves it out instead.
        """
        value, problem = parse(sent or "{}")
        if problem is not None or not isinstance(value, dict):
            raise InputError("the form could not be read; reload the page")
        draft = cls(turn.tools, [], str(value.get("text") or ""))
        try:
            made = [
                (call["name"], {tuple(map(str, path)): str(text) for path, text in call["fields"]}) for call in value["calls"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the form could not be read; reload the page") from error
        calls = [
            {"name": name, "arguments": forms.arguments_of(draft.schema(name), fields, lenient=lenient)} for name, fields in made
        ]
        if value.get("add") and len(calls) < MAX_CALLS:
            calls += cls._blank(turn.tools)
        return replace(draft, calls=calls)

    @staticmethod
    def _blank(tools: list[ToolSchema]) -> list[dict[str, Any]]:
        return [{"name": tools[0]["function"]["name"], "arguments": {}}] if tools else []

    def schema(self, name: str) -> ToolSchema:
        """The schema of a tool that the model saw. Raises InputError."""
        for tool in self.tools:
            if tool["function"]["name"] == name:
                return tool
        raise InputError(f"the model saw no tool {name!r}")

    def response(self, mode: str) -> Message | None:
        """The assistant message that should have been; None = the model's own stands. Raises InputError."""
        if mode == RIGHT:
            return None
        if mode == TEXT:
            if not self.text.strip():
                raise InputError("write the words that would have been right")
            return {"role": "assistant", "content": self.text.strip()}
        if not self.calls:
            raise InputError("there is no call; to call no tool, choose “No tool: these words”")
        functions = [{"type": "function", "function": dict(call)} for call in self.calls]
        return {"role": "assistant", "content": "", "tool_calls": functions}

    def html(self, mode: str) -> str:
        """The form of it; its key is new each time, by which the page sees that it is another."""
        calls = "".join(self._call_html(number, call) for number, call in enumerate(self.calls))
        more = '<button type="button" id="add-call" data-add-call>Add another call</button>'
        names = "".join(f'<option value="{forms.safe(tool["function"]["name"])}"></option>' for tool in self.tools)
        text = f'<label for="in-answer">The answer</label><textarea id="in-answer" rows="3">\n{forms.safe(self.text)}</textarea>'
        return (
            f'<form class="draft" data-mode="{mode}" data-key="{new_id("draft")}"><datalist id="tools-offered">{names}</datalist>'
            f'<div class="calls">{calls}{more if self.tools and len(self.calls) < MAX_CALLS else ""}</div>'
            f'<div class="words" id="answer-text">{text}</div></form>'
        )

    def _call_html(self, number: int, call: dict[str, Any]) -> str:
        label, name, place = f"Tool {number + 1}" if number else "Tool", forms.safe(call["name"]), f"in-tool-{number}"
        remove = '<button type="button" data-remove-call>Remove this call</button>' if len(self.calls) > 1 else ""
        tool = f'<input id="{place}" data-tool data-was="{name}" list="tools-offered" autocomplete="off" value="{name}">'
        fields = forms.call_form(self.schema(call["name"]), call["arguments"], number)
        return (
            f'<fieldset class="call" id="call-{number}">'
            f'<div class="field" id="tool-{number}"><label for="{place}">{label}</label>{tool}</div>{fields}{remove}</fieldset>'
        )
