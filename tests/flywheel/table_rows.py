"""Material for tests of rows: a tool that books a table, and rows and records that call it."""

from __future__ import annotations

from typing import Any

from flywheel.rows import Row, normalise_tool

XLAM_TOOL = {
    "name": "book_table",
    "description": "Book a table",
    "parameters": {
        "city": {"description": "Where", "type": "str"},
        "people": {"description": "How many", "type": "int, optional", "default": "2"},
        "dishes": {"description": "What", "type": "List[str], optional"},
        "terrace": {"description": "Outside", "type": "bool", "default": False},
    },
}
TOOL = normalise_tool(XLAM_TOOL)
ARGUMENTS = {"city": "Lyon", "people": 4, "dishes": ["soup"]}


def row(arguments: Any = None, name: str = "book_table", text: str = "", question: str = "A table for 4 in Lyon?") -> Row:
    calls = [{"type": "function", "function": {"name": name, "arguments": ARGUMENTS if arguments is None else arguments}}]
    answer: dict[str, Any] = {"role": "assistant", "content": text} | ({} if text else {"tool_calls": calls})
    return Row([{"role": "user", "content": question}, answer], [TOOL])


def xlam(**changes: Any) -> dict[str, Any]:
    answers = [{"name": "book_table", "arguments": ARGUMENTS}]
    return {"query": "A table for 4 in Lyon?", "tools": [XLAM_TOOL], "answers": answers} | changes
