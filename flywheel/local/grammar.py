"""What a model may write: free text, or calls to the tools offered with arguments that their schemas allow.

Turns OpenAI tools and a tool choice into an llguidance grammar and hands out matchers that mask forbidden tokens. Knows schemas
and what the grammar's compiler refuses in them; does not know the model, sampling or HTTP.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from flywheel.local.call_form import CallForm
from flywheel.local.chat_format import PromptError

log = logging.getLogger(__name__)

MAX_CALLS = 5  # in one message
Choice = Literal["auto", "none", "required"] | Mapping[str, Any]

Accepts = Callable[[str], bool]

_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
_TYPES = {name: name for name in ("string", "integer", "number", "boolean", "array", "object", "null")}
_TYPES |= {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_SIZES = ("minLength", "maxLength", "minItems", "maxItems")


def lark(
    tools: Sequence[Mapping[str, Any]],
    choice: Choice = "auto",
    *,
    form: CallForm,
    several: bool = True,
    accepts: Accepts = lambda grammar: True,
) -> str:
    """The grammar, in llguidance's Lark dialect, for a request that offers `tools` (OpenAI shape).

    `choice` is `auto`, `none`, `required` or `{"type": "function", "function": {"name": ...}}`; `several` allows up to five calls
    where the form does. `accepts(grammar)` says whether a grammar compiles; a schema that does not gives way to a looser copy of
    itself. Raises `PromptError` when the choice names a tool that is not offered, or asks for a call where none is.
    """
    functions = _callable(tools, choice)
    if not functions:
        return "start: /(?s:.+)/\n"
    first = re.escape(form.opening[0]).replace("/", r"\/")
    text = rf"TEXT: /[^\s{first}](?s:.*)/"  # text never opens like a call, so the first character decides
    if choice == "none":
        return f"start: TEXT\n{text}\n"
    calls = "call" if form.separator is None or not several else f"call ({_literal(form.separator)} call){{0,{MAX_CALLS - 1}}}"
    lines = [f"start: {'TEXT | ' if choice == 'auto' else ''}{calls}"] + [text] * (choice == "auto")
    lines.append("call: " + " | ".join(f"call{place}" for place in range(len(functions))))
    style = {"whitespace_flexible": False, "item_separator": form.item_separator, "key_separator": form.key_separator}
    for place, (name, schema) in enumerate(functions.items()):
        opening, middle, closing = _literal(form.opening[:-1]), _literal(form.middle[1:]), _literal(form.closing)
        lines.append(f"call{place}: {opening} name{place} {middle} arguments{place} {closing}")
        lines.append(f"name{place}: %json {json.dumps({'const': name})}")  # with its quotes, and whatever must be escaped in it
        lines.append(f"arguments{place}: %json {_compilable(name, schema, style, accepts)}")
    return "\n".join(lines) + "\n"


def _callable(tools: Sequence[Mapping[str, Any]], choice: Choice) -> dict[str, Any]:
    """The tools that the choice leaves, name → schema of the arguments."""
    functions: dict[str, Any] = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name")
        if name not in functions:
            raise PromptError(f"tool_choice names {name!r}, which is not among the tools offered: {sorted(functions)}")
        return {str(name): functions[name]}
    if choice == "required" and not functions:
        raise PromptError("tool_choice is 'required', but no tools are offered")
    return functions


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def lark_json(schema: Any, accepts: Accepts = lambda grammar: True) -> str:
    """The grammar of one JSON value that fits the schema, written compactly."""
    return f"start: %json {_compilable('response_format', schema, _COMPACT, accepts)}\n"


class Grammars:
    """Matchers for one tokenizer; compiled grammars are kept, since a conversation offers the same tools turn after turn."""

    def __init__(self, tokenizer: Any, vocabulary: int, end_tokens: Sequence[int], form: CallForm) -> None:
        import llguidance.hf

        self._form = form
        self._compiler = llguidance.LLMatcher
        self._tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(end_tokens))
        self._compiled = lru_cache(maxsize=64)(self._compile)
        self._accepts = lru_cache(maxsize=1024)(self._compiles)

    def for_tools(self, tools: Sequence[Mapping[str, Any]], choice: Choice = "auto", *, several: bool = True) -> Any:
        """A fresh `LLMatcher` for a request that offers these tools; arguments and errors as in `lark`."""
        return self._compiled(lark(tools, choice, form=self._form, several=several, accepts=self._accepts)).deep_copy()

    def for_json(self, schema: Any) -> Any:
        """A fresh `LLMatcher` for one JSON value that fits the schema."""
        return self._compiled(lark_json(schema, self._accepts)).deep_copy()

    def written(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for, perhaps half a character; a control token's name."""
        return bytes(self._tokens.decode_bytes([token]))

    def _compile(self, grammar: str) -> Any:
        matcher = self._compiler(self._tokens, grammar)
        if matcher.is_error():
            raise PromptError(f"the tools cannot be turned into a grammar: {matcher.get_error()}")
        return matcher

    def _compiles(self, grammar: str) -> bool:
        failed, _messages = self._compiler.validate_grammar_with_warnings(grammar, self._tokens)
        return not failed


def _compilable(name: str, schema: Any, style: Mapping[str, Any], accepts: Accepts) -> str:
    """The strictest copy of a schema that the grammar compiler takes, as JSON."""
    for place, candidate in enumerate((_closed(schema), _loosened(schema), {"type": "object"})):
        text = json.dumps({"x-guidance": {**style, "coerce_one_of": True}} | candidate, ensure_ascii=False)
        if accepts(f"start: %json {text}\n"):
            if place:
                _say_once(name, json.dumps(schema, sort_keys=True, default=str))
            return text
    raise PromptError(f"the schema of {name!r} cannot be turned into a grammar")


@lru_cache(maxsize=1024)
def _say_once(name: str, schema: str) -> None:
    log.warning("the schema of %r has keywords that the grammar cannot hold; they are not enforced: %.300s", name, schema)


def _closed(schema: Any) -> dict[str, Any]:
    """A copy in which objects with named properties take no others, unless the schema says so."""
    copy = dict(schema) if isinstance(schema, Mapping) else {}
    if isinstance(copy.get("properties"), Mapping):
        copy["properties"] = {key: _closed(item) for key, item in copy["properties"].items()}
        copy.setdefault("additionalProperties", False)
    if isinstance(copy.get("items"), Mapping):
        copy["items"] = _closed(copy["items"])
    return copy


def _loosened(schema: Any) -> dict[str, Any]:
    """A copy with only the keywords, and the values of keywords, that every grammar compiler understands."""
    if not isinstance(schema, Mapping):
        return {}
    given = schema.get("type")
    types = [_TYPES[name] for name in (given if isinstance(given, list) else [given]) if isinstance(name, str) and name in _TYPES]
    copy: dict[str, Any] = {"type": types} if types else {}
    for key in _NUMBERS:
        if isinstance(schema.get(key), int | float) and not isinstance(schema[key], bool):
            copy[key] = schema[key]
    for key in _SIZES:
        if isinstance(schema.get(key), int) and schema[key] >= 0:
            copy[key] = schema[key]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        copy = {"enum": schema["enum"]}
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        copy["anyOf"] = [_loosened(option) for option in options]
    if isinstance(schema.get("items"), Mapping):
        copy["items"] = _loosened(schema["items"])
    if isinstance(schema.get("properties"), Mapping):
        copy |= _loosened_object(schema["properties"], schema.get("required"))
    return copy


def _loosened_object(properties: Mapping[str, Any], required: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {str(key): _loosened(item) for key, item in properties.items()},
        "required": [key for key in required if key in properties] if isinstance(required, list) else [],
        "additionalProperties": False,
    }
