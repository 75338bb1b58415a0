"""A form for a tool call, made from the tool's JSON schema as HTML, and the call made from what its fields hold.

Every field bears its path into the arguments (`data-path`, JSON); the page collects path and text of each, and `arguments_of`
reads them by the same schema. Objects and lists of objects are groups; an optional parameter is left out unless it is switched
on. Free values (no type, or several) are JSON where they read as JSON, and text otherwise. Knows no tool, no page and no Gradio.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from chat_app.ui.form_values import (
    EMPTY,
    Path,
    Schema,
    Unreadable,
    free_text,
    is_list_of_parts,
    kind,
    lines_of,
    pairs_of,
    plain,
    value_of,
)
from flywheel.errors import InputError
from flywheel.store import ToolSchema
from flywheel.tool_schemas import SchemaError, normalise_tool

YES, NO = "yes", "no"
DEEPEST = 6
INPUTS = {"date": "date", "date-time": "datetime-local", "time": "time"}
Fields = Mapping[Path, str]
_MISSING = object()


def safe(text: object) -> str:
    """Text for HTML; braces and dollar signs too, which Gradio's templates would read."""
    escaped = html.escape(str(text))
    return escaped.replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;")


def parameters(tool: ToolSchema) -> Schema:
    """The schema of a call's arguments, its references written out."""
    with suppress(SchemaError):
        return dict(normalise_tool(tool)["function"]["parameters"])
    return dict(tool["function"].get("parameters") or {})


# schema and values → HTML --------------------------------------------------------------------------------------------


def call_form(tool: ToolSchema, arguments: dict[str, Any], number: int) -> str:
    """The fields of one call, showing the arguments where they fit the schema."""
    return _members(parameters(tool), arguments, number, ())


def _members(schema: Schema, value: Any, number: int, path: Path) -> str:
    """The fields of an object: those that it must have, then a switch for each other."""
    given = value if isinstance(value, dict) else {}
    needed = schema.get("required") or ()
    properties: dict[str, Schema] = schema.get("properties") or {}
    made = [_field(part, given.get(name), number, (*path, name), True) for name, part in properties.items() if name in needed]
    made += [_optional(part, given.get(name), number, (*path, name)) for name, part in properties.items() if name not in needed]
    return "".join(made)


def _optional(schema: Schema, value: Any, number: int, path: Path) -> str:
    on = value is not None
    switch = f'<input type="checkbox" data-switch id="give-{_id(number, path)}"{" checked" if on else ""}>'
    shown = "" if on else " hidden"
    given = f'<div class="given"{shown}>{_field(schema, value, number, path, False)}</div>'
    return f'<div class="optional"><label class="switch">{switch} {safe(path[-1])}</label>{given}</div>'


def _field(schema: Schema, value: Any, number: int, path: Path, needed: bool) -> str:
    """One parameter, list item or group."""
    schema, name, place = plain(schema), str(path[-1]), _id(number, path)
    described = schema.get("description")
    info = f'<small id="info-{place}">{safe(described)}</small>' if described else ""
    title = f"{safe(name)}{' *' if needed else ''}"
    inner = None
    if len(path) < DEEPEST and kind(schema) == "object" and schema.get("properties"):
        inner = _marker("{}", path) + _members(schema, value, number, path)
    elif len(path) < DEEPEST and is_list_of_parts(schema, value):
        inner = _list(schema, value, number, path)
    if inner is not None:
        return f'<fieldset class="field group" id="field-{place}"><legend>{title}</legend>{info}{inner}</fieldset>'
    describes = f' aria-describedby="info-{place}"' if info else ""
    control = _control(schema, value, f'id="in-{place}" data-path="{_path(path)}"{describes}')
    return f'<div class="field" id="field-{place}"><label for="in-{place}">{title}</label>{control}{info}</div>'


def _list(schema: Schema, value: Any, number: int, path: Path) -> str:
    """The items of a list, each to be removed, and an empty one to be added from."""
    items = schema.get("items") or {}
    blank = f"#{len(path)}#"
    values = value if isinstance(value, list) else []
    made = "".join(_list_item(items, one, number, (*path, str(place))) for place, one in enumerate(values))
    template = _list_item(items, None, number, (*path, blank))
    add = f'<button type="button" data-add="{blank}" data-next="{len(values)}">Add to {safe(path[-1])}</button>'
    return f'{_marker("[]", path)}<div class="items">{made}</div><template>{template}</template>{add}'


def _list_item(schema: Schema, value: Any, number: int, path: Path) -> str:
    remove = '<button type="button" data-remove>Remove</button>'
    return f'<div class="item">{_field(schema, value, number, path, False)}{remove}</div>'


def _control(schema: Schema, value: Any, named: str) -> str:
    """The element that takes a value."""
    if schema.get("enum"):
        return _select([free_text(choice) for choice in schema["enum"]], None if value is None else free_text(value), named)
    match kind(schema):
        case "boolean":
            return _select([YES, NO], {True: YES, False: NO}.get(value) if isinstance(value, bool) else None, named)
        case "integer" | "number":
            bounds = "".join(
                f' {short}="{safe(schema[key])}"' for key, short in (("minimum", "min"), ("maximum", "max")) if key in schema
            )
            step = "1" if kind(schema) == "integer" else "any"
            number = value if isinstance(value, int | float) and not isinstance(value, bool) else ""
            return f'<input type="number" step="{step}"{bounds} {named} value="{number}">'
        case "array":
            return _area(lines_of(value), named, 3, "one item a line")
        case "object":
            return _area(pairs_of(value), named, 3, "name: value, one a line")
        case "string":
            return _text(schema, "" if value is None else value if isinstance(value, str) else json.dumps(value), named)
        case _:
            return _area("" if value is None else free_text(value), named, 1)


def _text(schema: Schema, value: str, named: str) -> str:
    """A text; a date or a time gets the browser's own field, unless what stands there is none."""
    own = INPUTS.get(str(schema.get("format")))
    if own and (not value or own == "date" or "+" not in value and "Z" not in value):
        with suppress(Unreadable):
            if value:
                value_of("", schema, value)
            return f'<input type="{own}"{" step=1" if own != "date" else ""} {named} value="{safe(value)}">'
    return _area(value, named, min(1 + value.count("\n"), 8))


def _area(text: str, named: str, rows: int, placeholder: str = "") -> str:
    hint = f' placeholder="{placeholder}"' if placeholder else ""
    return f'<textarea rows="{rows}"{hint} {named}>\n{safe(text)}</textarea>'  # HTML swallows the first line break


def _select(choices: list[str], chosen: str | None, named: str) -> str:
    options = "".join(f"<option{' selected' if choice == chosen else ''}>{safe(choice)}</option>" for choice in choices)
    return f'<select {named}><option value=""{"" if chosen in choices else " selected"}></option>{options}</select>'


def _marker(kind_of: str, path: Path) -> str:
    """Says that this object or list is given, even if nothing is in it."""
    return f'<input type="hidden" data-path="{_path(path)}" value="{"[]" if kind_of == "[]" else "&#123;&#125;"}">'


def _path(path: Path) -> str:
    return safe(json.dumps(path, ensure_ascii=False))


def _id(number: int, path: Path) -> str:
    return safe("-".join((str(number), *path)).replace(" ", "_"))


# fields → values -----------------------------------------------------------------------------------------------------


def arguments_of(tool: ToolSchema, fields: Fields, *, lenient: bool = False) -> dict[str, Any]:
    """The call's arguments, in the schema's order. Raises InputError naming what is missing or unreadable.

    lenient: of a form that is still being filled in; what is missing or unreadable is left out.
    """
    name = tool["function"]["name"]
    try:
        return _read_members(parameters(tool), (), fields, lenient)
    except Unreadable as error:
        raise InputError(f"{name}: {error}") from error


def _read(schema: Schema, path: Path, fields: Fields, lenient: bool) -> Any:
    """The value at a path, or _MISSING."""
    schema = plain(schema)
    if path not in fields:
        return _MISSING
    if kind(schema) == "object" and schema.get("properties") and len(path) < DEEPEST:
        return _read_members(schema, path, fields, lenient)
    if fields[path] == "[]" and len(path) < DEEPEST and is_list_of_parts(schema, None, marked=True):
        places = dict.fromkeys(other[len(path)] for other in fields if len(other) > len(path) and other[: len(path)] == path)
        items = [_read(schema.get("items") or {}, (*path, place), fields, lenient) for place in places]
        return [item for item in items if item is not _MISSING]
    if fields[path] in EMPTY:
        return [] if kind(schema) == "array" else _MISSING
    try:
        return value_of(str(path[-1]), schema, fields[path])
    except Unreadable:
        if lenient:
            return _MISSING
        raise


def _read_members(schema: Schema, path: Path, fields: Fields, lenient: bool) -> dict[str, Any]:
    found = {}
    for name, part in (schema.get("properties") or {}).items():
        value = _read(part, (*path, name), fields, lenient)
        if value is not _MISSING:
            found[name] = value
        elif name in (schema.get("required") or ()) and not lenient:
            raise Unreadable(f"{name!r} is needed; fill it in")
    return found
