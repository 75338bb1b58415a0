"""A form for a tool call, made from the tool's JSON schema, and the call made from the form again.

Text fields for strings, bounded numbers, choices for enums and booleans, one line an item for lists. An empty field is left
out of the call. Knows no tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import gradio as gr

from flywheel.errors import InputError
from flywheel.json_records import parse
from flywheel.store import ToolSchema

YES, NO = "yes", "no"


def properties(tool: ToolSchema) -> dict[str, dict[str, Any]]:
    """Parameter name → schema."""
    found: dict[str, dict[str, Any]] = (tool["function"].get("parameters") or {}).get("properties") or {}
    return found


def required(tool: ToolSchema) -> set[str]:
    """Names of the parameters that a call must have."""
    return set((tool["function"].get("parameters") or {}).get("required") or ())


def kind(schema: dict[str, Any]) -> str:
    """The JSON type of a parameter; "string" where the schema is silent."""
    found = schema.get("type", "string")
    if isinstance(found, list):
        found = next((name for name in found if name != "null"), "string")
    return str(found)


def field(name: str, schema: dict[str, Any], needed: bool, value: Any, elem_id: str, key: str) -> Any:
    """The component for one parameter, showing `value` where that fits the schema.

    key: new for every draft. Without one, or with an old one, an empty field would send what stood in the field before it.
    """
    settings: dict[str, Any] = {
        "label": f"{name}{' *' if needed else ''}",
        "info": schema.get("description"),
        "elem_id": elem_id,
        "key": key,
        "interactive": True,
    }
    if schema.get("enum"):
        choices = [str(choice) for choice in schema["enum"]]
        return gr.Dropdown(choices, value=str(value) if str(value) in choices else None, **settings)
    match kind(schema):
        case "integer":
            return gr.Number(_number(value), precision=0, **_bounds(schema), **settings)
        case "number":
            return gr.Number(_number(value), **_bounds(schema), **settings)
        case "boolean":
            return gr.Dropdown(
                [YES, NO], value={True: YES, False: NO}.get(value) if isinstance(value, bool) else None, **settings
            )
        case "array":
            return gr.Textbox(_lines(value), lines=3, placeholder="one item a line", **settings)
        case "object":
            text = "" if value is None else json.dumps(value, indent=1, ensure_ascii=False)
            return gr.Textbox(text, lines=4, placeholder="{}", **settings)
        case _:
            return gr.Textbox("" if value is None else str(value), **settings)


def _lines(value: Any) -> str:
    """A list, one item a line; a model may have written something else than a list."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return "\n".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items)


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in ("minimum", "maximum") if name in schema}


def value_of(name: str, schema: dict[str, Any], raw: Any) -> Any:
    """What a filled field holds, typed. Raises InputError naming the field."""
    if schema.get("enum"):
        return next((choice for choice in schema["enum"] if str(choice) == raw), raw)
    match kind(schema):
        case "integer":
            return int(raw)
        case "number":
            return int(raw) if float(raw).is_integer() else float(raw)
        case "boolean":
            return raw == YES
        case "array":
            inner = kind(schema.get("items") or {})
            return [line if inner == "string" else _json(name, line) for line in str(raw).split("\n") if line.strip()]
        case "object":
            return _json(name, str(raw))
        case _:
            return str(raw)


def _json(name: str, text: str) -> Any:
    value, problem = parse(text)
    if problem is not None:
        raise InputError(f"{name!r} is {problem}")
    return value


def arguments_of(tool: ToolSchema, values: list[Any]) -> dict[str, Any]:
    """The call's arguments from the form's values, in the schema's order. Raises InputError for what is missing or unreadable."""
    arguments = {name: value_of(name, schema, raw) for (name, schema), raw in _filled(tool, values)}
    for name in properties(tool):
        if name in required(tool) and name not in arguments:
            raise InputError(f"{tool['function']['name']}: {name!r} is needed; fill it in")
    return arguments


def readable_arguments(tool: ToolSchema, values: list[Any]) -> dict[str, Any]:
    """The same, of a form that is still being filled in: what is missing or unreadable is left out."""
    arguments: dict[str, Any] = {}
    for (name, schema), raw in _filled(tool, values):
        with suppress(InputError):
            arguments[name] = value_of(name, schema, raw)
    return arguments


def _filled(tool: ToolSchema, values: list[Any]) -> Iterator[tuple[tuple[str, dict[str, Any]], Any]]:
    """((name, schema), raw) of the fields that are not empty."""
    for parameter, raw in zip(properties(tool).items(), values, strict=True):
        if raw is not None and raw != "":
            yield parameter, raw
