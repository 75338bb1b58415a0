"""Tools as people write them: every shape becomes an OpenAI tool, sloppy schemas are tidied, endless ones refused."""

from __future__ import annotations

from typing import Any

import pytest
from table_rows import TOOL

from flywheel.rows import (
    normalise_tool,
)
from flywheel.tool_schemas import SchemaError


def test_xlam_tool_becomes_openai_tool() -> None:
    assert TOOL == {
        "type": "function",
        "function": {
            "name": "book_table",
            "description": "Book a table",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where"},
                    "people": {"type": "integer", "description": "How many", "default": "2"},
                    "dishes": {"type": "array", "items": {"type": "string"}, "description": "What"},
                    "terrace": {"type": "boolean", "description": "Outside", "default": False},
                },
                "required": ["city"],
            },
        },
    }
    assert normalise_tool(TOOL) == TOOL
    assert normalise_tool(TOOL["function"]) == TOOL


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("Float (optional)", {"type": "number"}),
        ("str, default: 'x'", {"type": "string"}),
        ("List[List[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("Tuple[int, str]", {"type": "array", "items": {"type": ["integer", "string"]}}),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        ("Set[float]", {"type": "array", "items": {"type": "number"}}),
        ("Dict[str, List[int]]", {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}),
        ("dict", {"type": "object"}),
        ("Optional[int]", {"type": ["integer", "null"]}),
        ("Union[int, str], optional", {"type": ["integer", "string"]}),
        ("str | None", {"type": ["string", "null"]}),
        ("typing.List[Dict]", {"type": "array", "items": {"type": "object"}}),
        ("any", {}),
        ("Callable[[float], float]", {}),
        ("a flux capacitor", {}),
        (["string", "null"], {"type": ["string", "null"]}),
        (7, {}),
    ],
)
def test_types_as_people_write_them(written: Any, schema: dict[str, Any]) -> None:
    tool = normalise_tool({"name": "f", "parameters": {"x": {"type": written}}})
    assert tool["function"]["parameters"]["properties"]["x"] == schema


def test_parameters_named_like_keywords_stay_parameters() -> None:
    tool = normalise_tool({"name": "f", "parameters": {"type": {"type": "str"}, "properties": {"type": "List[str]"}}})
    assert set(tool["function"]["parameters"]["properties"]) == {"type", "properties"}


def test_sloppy_schema_is_tidied() -> None:
    raw = {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {
                "n": {"type": "number", "minimum": "three", "multipleOf": 0, "required": True, "default": "many"},
                "kind": {"enum": "not a list", "type": "str"},
                "place": {"$ref": "#/$defs/Place"},
                "far": {"$ref": "https://example.com/schema.json"},
            },
            "required": ["n", "missing", 3, "n"],
            "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
        },
    }
    parameters = normalise_tool(raw)["function"]["parameters"]
    assert parameters["properties"] == {
        "n": {"type": "number", "default": "many"},
        "kind": {"type": "string"},
        "place": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "far": {},
    }
    assert parameters["required"] == ["n"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {"x": {"$ref": "#"}}},
        {"$ref": "#"},
        {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}},
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/0"}},
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)},
        },
    ],
    ids=["recursive", "itself", "one to itself", "billion laughs"],
)
def test_endless_schema_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        normalise_tool({"name": "f", "parameters": parameters})


@pytest.mark.parametrize("raw", [None, 5, {}, {"name": ""}, {"name": "a\nb"}, {"name": "x" * 200}, {"function": {"name": 3}}])
def test_tool_without_usable_name_is_refused(raw: Any) -> None:
    with pytest.raises(SchemaError, match="tool"):
        normalise_tool(raw)
