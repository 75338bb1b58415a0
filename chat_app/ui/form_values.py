"""What a form's field holds as text, and the value it stands for: numbers, dates, lists of lines, pairs, free JSON. Pure."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from typing import Any

from flywheel.json_records import parse

Schema = dict[str, Any]
Path = tuple[str, ...]
"""Names of members and numbers of items, from the arguments inwards."""
EMPTY = ("", None)
FORMATS: dict[str, tuple[Any, str]] = {
    "date": (date.fromisoformat, "a date such as 2026-11-24"),
    "date-time": (datetime.fromisoformat, "a date and time such as 2026-11-24T14:05:00"),
    "time": (time.fromisoformat, "a time such as 14:05"),
}


class Unreadable(ValueError):
    """A field holds nothing that its schema knows; the text says which and what would be right."""


def plain(schema: Schema) -> Schema:
    """The schema without "or null": a field that is left out says that."""
    for key in ("anyOf", "oneOf"):
        options = [option for option in schema.get(key) or () if option.get("type") != "null"]
        if len(options) == 1:
            rest = {name: value for name, value in schema.items() if name != key}
            return {**rest, **options[0], **({"description": schema["description"]} if "description" in schema else {})}
    return schema


def kind(schema: Schema) -> str:
    """The JSON type; "any" where the schema is silent or names several."""
    found = schema.get("type")
    if isinstance(found, list):
        named = [name for name in found if name != "null"]
        found = named[0] if len(named) == 1 else None
    return found if isinstance(found, str) and found != "null" else "any"


def is_list_of_parts(schema: Schema, value: Any, *, marked: bool = False) -> bool:
    """Whether a list is shown item by item: its items are no scalars, or one of them does not fit on a line.

    marked: whether the page says so, whatever the value was.
    """
    if kind(schema) != "array":
        return False
    items = plain(schema.get("items") or {})
    inner = kind(items)
    if inner in ("object", "array"):
        return True
    return marked or any(_breaks_a_line(item, inner) for item in (value if isinstance(value, list) else ()))


def _breaks_a_line(item: Any, inner: str) -> bool:
    """Whether an item, written on a line of its own, would come back as another."""
    if inner == "string":
        return not isinstance(item, str) or not item.strip() or len(item.splitlines()) != 1 or "\n" in item
    return len(free_text(item).splitlines()) != 1


def free_text(value: Any) -> str:
    """A value as text: a string as it is, unless it would be read as something else; anything else as JSON."""
    if isinstance(value, str) and value and value.strip() == value and value.isprintable() and parse(value)[1] is not None:
        return value
    return json.dumps(value, ensure_ascii=False)


def free_value(text: str) -> Any:
    """What free_text was made of."""
    value, problem = parse(text.strip())
    return text.strip() if problem is not None else value


def lines_of(value: Any) -> str:
    """A list, one item a line; a model may have written something else than a list."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return "\n".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items)


def pairs_of(value: Any) -> str:
    """An object, `name: value` on each line."""
    if not isinstance(value, dict):
        return "" if value is None else free_text(value)
    return "\n".join(f"{_key(name)}: {free_text(part)}" for name, part in value.items())


def _key(name: str) -> str:
    plainly = name and name.strip() == name and name.isprintable() and not any(sign in name for sign in ':"')
    return name if plainly else json.dumps(name)


def value_of(name: str, schema: Schema, raw: str) -> Any:
    """What a filled field stands for. Raises Unreadable naming the field."""
    if schema.get("enum"):
        found = [choice for choice in schema["enum"] if free_text(choice) == raw]
        if not found:
            raise Unreadable(f"{name!r} must be one of {', '.join(map(free_text, schema['enum']))}, not {raw[:60]!r}")
        return found[0]
    match kind(schema):
        case "integer" | "number":
            return _number(name, schema, raw)
        case "boolean":
            return raw == "yes"
        case "array":
            inner = plain(schema.get("items") or {})
            read = free_value if kind(inner) in ("object", "array") else lambda line: value_of(name, inner, line)
            return [read(line) for line in raw.split("\n") if line.strip()]
        case "object":
            return _pairs(name, raw)
        case "string":
            return _string(name, schema, raw)
        case _:
            return free_value(raw)


def _number(name: str, schema: Schema, raw: str) -> int | float:
    value, problem = parse(raw.strip())
    whole = kind(schema) == "integer"
    if problem is not None or isinstance(value, bool) or not isinstance(value, int | float) or whole and value != int(value):
        raise Unreadable(f"{name!r} must be a {'whole ' if whole else ''}number, not {raw[:60]!r}")
    for key, words, wrong in (("minimum", "at least", value < schema.get("minimum", value)),
                              ("maximum", "at most", value > schema.get("maximum", value))):  # fmt: skip
        if wrong:
            raise Unreadable(f"{name!r} must be {words} {schema[key]}, not {raw[:60]}")
    return int(value) if value == int(value) else value


def _string(name: str, schema: Schema, raw: str) -> str:
    known = FORMATS.get(str(schema.get("format")))
    if known is not None:
        try:
            known[0](raw)
        except ValueError as error:
            raise Unreadable(f"{name!r} must be {known[1]}, not {raw[:60]!r}") from error
    return raw


def _pairs(name: str, raw: str) -> dict[str, Any]:
    found = {}
    for line in filter(str.strip, raw.split("\n")):
        key, value = _pair(line)
        if key is None:
            raise Unreadable(f"{name!r}: write `name: value` on each line, not {line[:60]!r}")
        found[key] = free_value(value)
    return found


def _pair(line: str) -> tuple[str | None, str]:
    if line.lstrip().startswith('"'):
        try:
            key, end = json.JSONDecoder().raw_decode(line.lstrip())
        except ValueError:
            return None, ""
        rest = line.lstrip()[end:]
        return (key, rest[1:]) if rest.startswith(":") else (None, "")
    key, colon, value = line.partition(":")
    return (key.strip(), value) if colon and key.strip() else (None, "")
