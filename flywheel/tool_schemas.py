"""Tool schemas from anywhere, tidied into OpenAI shape, and a call's arguments checked against them.

Knows the sloppy ways in which public data sets write types ("str", "int, optional", "List[str]", a default of another type) and
that a schema may be hostile. Knows nothing of rows, files or the store, and runs no regular expression that came with a schema.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import jsonschema

ToolSchema = dict[str, Any]
"""{"type": "function", "function": {"name", "description", "parameters": JSON Schema of an object}}."""

MAX_SCHEMA_NODES = 2000  # a schema whose references are written out may not grow past this: neither loops nor "billion laughs"
MAX_SCHEMA_DEPTH = 40
MAX_TOOL_NAME = 128
MAX_ARGUMENT_PROBLEMS = 5

_NAMES = {
    "string": "str string text char date datetime time timestamp uuid url uri email path",
    "integer": "int integer long",
    "number": "float double decimal number num",
    "boolean": "bool boolean",
    "array": "list array tuple set frozenset sequence iterable",
    "object": "dict dictionary object mapping map",
    "null": "none null nonetype",
}
_TYPES = {name: json_type for json_type, names in _NAMES.items() for name in names.split()}
_PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict"}
_SUFFIX = re.compile(r"\s*[,(]\s*(optional|required|default\b[^\]]*)\)?\s*$", re.IGNORECASE)

_TEXT = ("description", "title", "pattern", "format")
_NUMBER = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNT = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_CHOICE = ("anyOf", "oneOf", "allOf")


class SchemaError(ValueError):
    """A tool's description cannot be used; the text says why."""


def normalise_tool(raw: object) -> ToolSchema:
    """Return the tool in OpenAI shape: from OpenAI's own, from a bare function, or from xLAM's flat parameters.

    xLAM parameters without a default and without ", optional" in their type are required. What is no JSON Schema is left out,
    types are translated, local references are written out. Raises SchemaError without a usable name or with an endless schema.
    """
    if not isinstance(raw, dict):
        raise SchemaError(f"a tool must be an object, not {type(raw).__name__}")
    function = raw["function"] if isinstance(raw.get("function"), dict) else raw
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_TOOL_NAME or not name.isprintable():
        raise SchemaError(f"a tool needs a name of 1 to {MAX_TOOL_NAME} printable characters, not {str(name)[:60]!r}")
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    schema = _Tidy(parameters).schema(parameters) if _is_json_schema(parameters) else _from_xlam(parameters)
    schema["type"] = "object"
    schema.setdefault("properties", {})
    text = description if isinstance(description, str) else ""
    return {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}


def tool_name(tool: ToolSchema) -> str:
    """The name by which a call names this tool."""
    return str(tool["function"]["name"])


def to_xlam_tool(tool: ToolSchema) -> dict[str, Any]:
    """The tool in xLAM shape: flat parameters, Python-like types; keywords that xLAM lacks stay beside them for our reader."""
    function = tool["function"]
    schema = function["parameters"]
    required = set(schema.get("required", []))
    parameters = {}
    for name, value in schema["properties"].items():
        kept = {k: v for k, v in value.items() if k != "type" and (k != "default" or name not in required)}
        written = _python_type(value)
        parameters[name] = {"description": "", **kept, "type": written if name in required else f"{written}, optional"}
    return {"name": function["name"], "description": function["description"], "parameters": parameters}


def argument_problems(tool: ToolSchema, arguments: dict[str, Any]) -> list[str]:
    """Say what is wrong with a call's arguments, at most five sentences; empty when they fit.

    An argument that the tool does not declare is a problem, unless its schema allows more on purpose.
    """
    name = tool_name(tool)
    try:
        properties, open_ended, validator = _validator(json.dumps(tool["function"].get("parameters") or {}))
        unknown = [] if open_ended else [key for key in arguments if key not in properties]
        takes = ", ".join(properties) or "nothing"
        problems = [f"{name!r} has no argument {key[:60]!r}; it takes {takes[:200]}" for key in unknown[:MAX_ARGUMENT_PROBLEMS]]
        for error in validator.iter_errors({k: v for k, v in arguments.items() if k not in unknown}):
            where = ".".join(str(part) for part in error.absolute_path)
            problems.append(f"{name!r}{f', argument {where[:60]!r}' if where else ''}: {error.message[:200]}")
            if len(problems) >= MAX_ARGUMENT_PROBLEMS:
                break
        return problems[:MAX_ARGUMENT_PROBLEMS]
    except (SchemaError, RecursionError, OverflowError, jsonschema.SchemaError) as error:
        return [f"{name!r}: its schema cannot be checked ({str(error)[:200]})"]


@lru_cache(maxsize=4096)
def _validator(parameters: str) -> tuple[list[str], bool, jsonschema.Draft202012Validator]:
    """(declared names, whether others are allowed, validator) for a parameters schema given as JSON text."""
    raw = json.loads(parameters)
    schema = _without_patterns(_Tidy(raw).schema(raw))
    schema["type"] = "object"
    properties = list(schema.get("properties", {}))
    open_ended = schema.get("additionalProperties") not in (None, False)
    return properties, open_ended, jsonschema.Draft202012Validator(schema)


def _without_patterns(schema: Any) -> Any:
    """The schema without its regular expressions: a stranger's can keep Python's engine busy for years."""
    if isinstance(schema, list):
        return [_without_patterns(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _without_patterns(item) for name, item in value.items()}
        elif key in ("enum", "const", "default"):
            kept[key] = value
        elif key != "pattern":
            kept[key] = _without_patterns(value)
    return kept


def _is_json_schema(parameters: dict[str, Any]) -> bool:
    """Whether parameters are JSON Schema; else they are xLAM's flat map, where a parameter may itself be called "type"."""
    if isinstance(parameters.get("type"), str | list) or "$ref" in parameters:
        return True
    properties = parameters.get("properties")
    return isinstance(properties, dict) and all(isinstance(value, dict) for value in properties.values())


def _from_xlam(parameters: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an object from xLAM's {name: {description, type, default}}."""
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    required = []
    for name, raw in parameters.items():
        value = raw if isinstance(raw, dict) else {"type": raw} if isinstance(raw, str) else {}
        schema["properties"][name] = _Tidy(value).schema(value)
        written = value.get("type")
        optional = isinstance(written, str) and "optional" in written.lower()
        if "default" not in value and not optional:
            required.append(name)
    if required:
        schema["required"] = required
    return schema


class _Tidy:
    """One schema on its way to clean JSON Schema; counts what it writes, so that no reference makes it endless."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._nodes = self._depth = 0

    def schema(self, raw: object) -> dict[str, Any]:
        """The clean twin of one schema or sub-schema; {} (anything goes) for what is none."""
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_SCHEMA_NODES or self._depth > MAX_SCHEMA_DEPTH:
            raise SchemaError(f"a schema has over {MAX_SCHEMA_NODES} parts or {MAX_SCHEMA_DEPTH} levels, or refers to itself")
        clean = self._clean(raw) if isinstance(raw, dict) else {}
        self._depth -= 1
        return clean

    def _clean(self, raw: dict[str, Any]) -> dict[str, Any]:
        if isinstance(raw.get("$ref"), str):
            return self.schema({**self._target(raw["$ref"]), **{k: v for k, v in raw.items() if k != "$ref"}})
        clean: dict[str, Any] = {}
        if not any(key in raw for key in _CHOICE):
            clean.update(_type_schema(raw.get("type")))
        clean.update(self._nested(raw))
        clean.update(_plain(raw))
        if "properties" in clean and "type" not in clean:
            clean["type"] = "object"
        required = raw.get("required")
        if isinstance(required, list):
            named = [key for key in required if isinstance(key, str) and key in clean.get("properties", {})]
            clean["required"] = list(dict.fromkeys(named))
        return clean

    def _target(self, reference: str) -> dict[str, Any]:
        """What a local reference points to; {} for a missing or a remote one, which is never fetched."""
        target: Any = self._root
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return {}
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        return target if isinstance(target, dict) else {}

    def _nested(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The keywords that hold schemas themselves."""
        clean: dict[str, Any] = {}
        properties, items, more = raw.get("properties"), raw.get("items"), raw.get("additionalProperties")
        if isinstance(properties, dict):
            clean["properties"] = {name: self.schema(value) for name, value in properties.items()}
        if isinstance(items, dict):
            clean["items"] = self.schema(items)
        if isinstance(more, bool | dict):
            clean["additionalProperties"] = self.schema(more) if isinstance(more, dict) else more
        for key in _CHOICE:
            if isinstance(raw.get(key), list) and raw[key]:
                clean[key] = [self.schema(value) for value in raw[key]]
        return clean


def _plain(raw: dict[str, Any]) -> dict[str, Any]:
    """The keywords that hold values, each only where its value makes sense; a default may be of any type."""
    clean = {key: raw[key] for key in _TEXT if isinstance(raw.get(key), str)}
    clean |= {key: raw[key] for key in _NUMBER if type(raw.get(key)) in (int, float)}
    clean |= {key: raw[key] for key in _COUNT if type(raw.get(key)) is int and raw[key] >= 0}
    if clean.get("multipleOf", 1) <= 0:
        del clean["multipleOf"]
    if isinstance(raw.get("enum"), list) and raw["enum"]:
        clean["enum"] = raw["enum"]
    return clean | {key: raw[key] for key in ("const", "default") if key in raw}


def _type_schema(written: object) -> dict[str, Any]:
    """JSON Schema for a `type` as people write it; {} (anything goes) where it says nothing known."""
    if isinstance(written, list):
        return _union([_type_schema(item) for item in written])
    if not isinstance(written, str) or len(written) > 200:
        return {}
    return _expression(_SUFFIX.sub("", _SUFFIX.sub("", written)))


def _expression(text: str) -> dict[str, Any]:
    """JSON Schema for a Python-like type: `int`, `List[str]`, `Dict[str, float]`, `Optional[int]`, `int | None`."""
    text = text.strip().removeprefix("typing.")
    choices = _split(text, "|")
    if len(choices) > 1:
        return _union([_expression(choice) for choice in choices])
    name, bracket, rest = text.partition("[")
    name = name.strip().lower()
    parts = _split(rest.rstrip().removesuffix("]"), ",") if bracket else []
    inner = [_expression(part) for part in parts if part.strip() != "..."]
    if name in ("optional", "union"):
        return _union(inner + ([{"type": "null"}] if name == "optional" else []))
    json_type = _TYPES.get(name)
    if json_type is None:
        return {}
    schema: dict[str, Any] = {"type": json_type}
    if json_type == "array" and (items := _union(inner)):
        schema["items"] = items
    if json_type == "object" and len(inner) == 2 and inner[1]:
        schema["additionalProperties"] = inner[1]
    return schema


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema that accepts whatever one of them accepts."""
    distinct = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    if not all(distinct):
        return {}
    if len(distinct) < 2:
        return distinct[0] if distinct else {}
    if all(list(schema) == ["type"] and isinstance(schema["type"], str) for schema in distinct):
        return {"type": [schema["type"] for schema in distinct]}
    return {"anyOf": distinct}


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that stand outside square brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _python_type(schema: dict[str, Any]) -> str:
    """The Python-like name of a schema's type, as xLAM writes it."""
    written = schema.get("type")
    if isinstance(written, list):
        names = [_PYTHON.get(item, "None") for item in written]
        return f"Union[{', '.join(names)}]"
    if written == "array" and _PYTHON.get(str(schema.get("items", {}).get("type"))):
        return f"List[{_PYTHON[schema['items']['type']]}]"
    return _PYTHON.get(str(written), "any")
