"""Messages and tools → token ids, through the chat template that the model's own tokenizer carries.

Serving and training both render here, so that a model is asked exactly as it was taught. Knows OpenAI's shape of messages
and tools and how to keep hostile text from forging a turn; does not know any one template, generation, or what a loss is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
Tool = Mapping[str, Any]

IGNORED = -100  # the label that torch's cross entropy leaves out


class PromptError(ValueError):
    """The messages or tools cannot be rendered for this model; the text says which and why."""


class PromptTooLong(PromptError):
    """The rendered conversation does not fit the model's context."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"the conversation with its tools takes {tokens} tokens, but the limit is {limit}: shorten it or offer fewer tools"
        )
        self.tokens = tokens
        self.limit = limit


class ChatFormat:
    """Renders conversations with a Hugging Face tokenizer whose chat template takes `tools`.

    `max_length` is the largest number of tokens that `prompt` and `supervised` return; beyond it they raise `PromptTooLong`. All
    texts are stripped of the tokenizer's control tokens (`markers`) first: only the template can open or end a turn.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        if not tokenizer.chat_template:
            raise PromptError(f"the tokenizer in {tokenizer.name_or_path!r} has no chat template: add a chat_template.jinja")
        self.max_length = max_length
        self._tokenizer = tokenizer
        self.markers = _markers(tokenizer)
        self._clean = _cleaner(self.markers)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> list[int]:
        """Token ids up to where the assistant's next message begins."""
        return self._fitting(self._tokens(messages, tools, opened=True))

    def supervised(self, messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> tuple[list[int], list[int]]:
        """Token ids of the whole conversation, and labels of the same length.

        Only tokens of the last message, which must be the assistant's, carry labels (its end-of-turn token too); others are -100.
        """
        if not messages or messages[-1].get("role") != "assistant":
            raise PromptError("a training example must end with an assistant message")
        prompt = self._tokens(messages[:-1], tools, opened=True)
        whole = self._fitting(self._tokens(messages, tools, opened=False))
        if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
            raise PromptError(
                "the chat template renders this answer and the prompt that asks for it differently: it cannot be trained on"
            )
        return whole, [IGNORED] * len(prompt) + whole[len(prompt) :]

    def _fitting(self, ids: list[int]) -> list[int]:
        if len(ids) > self.max_length:
            raise PromptTooLong(len(ids), self.max_length)
        return ids

    def text(self, messages: Sequence[Message], tools: Sequence[Tool] | None, *, opened: bool) -> str:
        """The rendering before it becomes tokens; `opened` ends it where the assistant's next message begins."""
        try:
            offered = [self._clean(_tidy_tool(tool)) for tool in tools or ()]
            order = {tool["function"]["name"]: list(tool["function"]["parameters"]["properties"]) for tool in offered}
            turns = [self._clean(_tidy_message(message, order)) for message in messages]
            rendered: str = self._tokenizer.apply_chat_template(
                turns, tools=offered or None, add_generation_prompt=opened, tokenize=False
            )
        except PromptError:
            raise
        except Exception as error:  # a template is a program of the model's maker: it may raise anything
            raise PromptError(f"the model's chat template cannot render these messages: {error}") from error
        return rendered

    def _tokens(self, messages: Sequence[Message], tools: Sequence[Tool] | None, *, opened: bool) -> list[int]:
        ids: list[int] = self._tokenizer(self.text(messages, tools, opened=opened), add_special_tokens=False)["input_ids"]
        return ids


def _markers(tokenizer: Any) -> list[str]:
    """Texts that the tokenizer turns into one control token: the special ones, and unflagged ones such as `<tool_call>`."""
    added = tokenizer.added_tokens_decoder.values()
    found = {token.content for token in added if token.special or re.fullmatch(r"<.+>", token.content)}
    return sorted(found | set(tokenizer.all_special_tokens), key=len, reverse=True)


def _cleaner(markers: Sequence[str]) -> Callable[[Any], Any]:
    """A function that removes the markers from every text in a JSON value, keys included."""
    pattern = re.compile("|".join(map(re.escape, markers)) or r"(?!)")

    def text(value: str) -> str:
        while pattern.search(value):  # what is left on both sides of a removed marker may join to a new one
            value = pattern.sub("", value)
        return value

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, Mapping):
            return {text(str(key)): clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    return clean


def _tidy_message(message: Message, order: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The fields that templates know, with content as text and arguments as objects."""
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise PromptError(f"unknown message role {role!r}: use system, user, assistant or tool")
    tidy: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": content_text(message.get("content"))}
    if calls := message.get("tool_calls"):
        tidy["tool_calls"] = [_tidy_call(call, order) for call in calls]
    for name in ("name", "tool_call_id"):
        if isinstance(message.get(name), str):
            tidy[name] = message[name]
    return tidy


def content_text(content: Any) -> str:
    """A message's content as plain text; text parts are joined, other JSON values are written compactly."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(part, Mapping) and "type" in part for part in content):
        for part in content:
            if part["type"] != "text" or not isinstance(part.get("text"), str):
                raise PromptError(f"cannot read a content part of type {part['type']!r}: only text is supported")
        return "".join(part["text"] for part in content)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _tidy_call(call: Any, order: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """One tool call; its arguments stand in the order of the tool's schema, in which they are also generated."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise PromptError(f"a tool call needs a function with a name, not {call!r}")
    name, arguments = function["name"], function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise PromptError(f"the arguments of the call to {name!r} are not JSON: {error}") from error
    if not isinstance(arguments, Mapping):
        raise PromptError(f"the arguments of the call to {name!r} must be a JSON object, not {arguments!r}")
    rank = {key: place for place, key in enumerate(order.get(name, ()))}
    arguments = {key: arguments[key] for key in sorted(arguments, key=lambda key: rank.get(key, len(rank)))}
    tidy: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return tidy | {"id": call["id"]} if isinstance(call.get("id"), str) else tidy


def _tidy_tool(tool: Tool) -> dict[str, Any]:
    """A tool whose outer shape every template can rely on; what is wrong inside a schema is left out, not refused."""
    function = tool.get("function", tool)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise PromptError(f"a tool needs a function with a name, not {tool!r}")
    given = function.get("parameters")
    parameters = dict(given) if isinstance(given, Mapping) else {}
    properties = parameters.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    parameters |= {
        "type": "object",
        "properties": {name: schema if isinstance(schema, Mapping) else {} for name, schema in properties.items()},
    }
    if not isinstance(parameters.get("required", []), list | tuple):
        del parameters["required"]
    description = function.get("description")
    return {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": description if isinstance(description, str) else "",
            "parameters": parameters,
        },
    }
