"""Material for tests of what the pages show: tools, turns and calls as the store gives them, and hostile text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from flywheel.store import ToolCall, Turn

EVIL = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"
MOMENT = "2026-11-24T14:05:00+00:00"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def tool(name: str, required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": [*required]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER = tool("get_weather", ("city",), city={"type": "string"}, date={"type": "string"})
CLOCK = tool("local_time", ("city",), city={"type": "string"})
SILENT = tool("list_reminders")


def turn(question: str = "q", answer: str = "a", status: Any = "answered", name: str = "turn-1", **changes: Any) -> Turn:
    made = Turn(
        id=name, conversation_id="conv-1", position=1, person="ann", question=question, context=[], model="m", status=status,
        tools=[WEATHER, CLOCK, SILENT], messages=[{"role": "user", "content": question}], answer=answer, verdicts=[], timings={},
        created_at=MOMENT, finished_at=MOMENT,
    )  # fmt: skip
    return replace(made, **changes)


def call(status: Any = "done", result: Any = None, error: str | None = None, **changes: Any) -> ToolCall:
    made = ToolCall("call-1", "turn-1", 0, "get_weather", {"city": "Oslo"}, status, result, error, 1500.0)
    return replace(made, **changes)


def calling(*calls: tuple[str, Any]) -> dict[str, Any]:
    made = [{"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"role": "assistant", "content": "", "tool_calls": made}
