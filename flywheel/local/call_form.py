"""How a model writes a tool call: learnt from its chat template, by rendering one and looking.

Templates differ in spaces, key names and wrapping: `{"name":"f","parameters":{}}`, or a `<tool_call>` around it. A model was
trained on its own form and must be held to that one. Knows nothing of schemas, grammars or tokens.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from flywheel.local.chat_format import ChatFormat, Message, PromptError

_TOOL = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "A probe.",
        "parameters": {"type": "object", "properties": {"one": {}, "two": {}}},
    },
}
_CALL = {"type": "function", "id": "abcdefghi", "function": {"name": "probe", "arguments": {"one": 1, "two": 2}}}
_WRITTEN = re.compile(
    r'(?P<opening>.*?"name"\s*:\s*")probe(?P<middle>".*?)\{"one"(?P<key>\s*:\s*)1(?P<item>\s*,\s*)"two"\s*:\s*2\}(?P<rest>.*)',
    re.DOTALL,
)


class CallForm(NamedTuple):
    """A call is `opening`, name, `middle`, arguments as JSON, `closing`; `separator` is between calls (None: only one)."""

    opening: str = '{"name":"'
    middle: str = '","parameters":'
    closing: str = "}"
    separator: str | None = "\n"
    item_separator: str = ","
    key_separator: str = ":"


def call_form(chat: ChatFormat) -> CallForm:
    """The form that this template gives to calls. Raises `PromptError` where it shows none that can be read back."""
    one = _WRITTEN.fullmatch(_answer(chat, [_CALL]))
    if one is None:
        raise PromptError(
            'the model\'s chat template writes tool calls in a form without "name" and JSON arguments: it cannot be served'
        )
    end = min((place for marker in chat.markers if (place := one["rest"].find(marker)) >= 0), default=len(one["rest"]))
    form = CallForm(one["opening"], one["middle"], one["rest"][:end].rstrip(), None, one["item"], one["key"])
    try:
        two = _answer(chat, [_CALL, _CALL])
    except PromptError:  # Llama 3.2's template, for one, takes a single call
        return form
    between = re.escape(form.closing) + r"(\s*)" + re.escape(form.opening)
    found = re.search(between, two)
    return form._replace(separator=found[1]) if found else form


class Call(NamedTuple):
    """One call as the model wrote it."""

    name: str
    arguments: dict[str, Any]


def parse(text: str) -> tuple[str | None, list[Call]]:
    """A finished message that began like a call → its text, or its calls. One cut by a token limit comes back as text."""
    calls, decoder, place = [], json.JSONDecoder(parse_float=_finite), text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return text, []
        arguments = value.get("parameters", value.get("arguments"))
        if not isinstance(value.get("name"), str) or not isinstance(arguments, dict):
            return text, []
        calls.append(Call(value["name"], arguments))
        place = text.find("{", end)
    return (None, calls) if calls else (text, [])


def _answer(chat: ChatFormat, calls: list[dict[str, Any]]) -> str:
    question: Message = {"role": "user", "content": "Probe."}
    prompt = chat.text([question], [_TOOL], opened=True)
    whole = chat.text([question, {"role": "assistant", "content": "", "tool_calls": calls}], [_TOOL], opened=False)
    if not whole.startswith(prompt):
        raise PromptError("the model's chat template renders an answer and the prompt that asks for it differently")
    return whole[len(prompt) :]


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text} is too large")
    return number
