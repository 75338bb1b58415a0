"""Material for tests of the store's side: tools, rows, examples and finished turns, made through the public methods."""

from __future__ import annotations

import hashlib
from typing import Any

from flywheel.curate import Side
from flywheel.database import new_id
from flywheel.ledger import Example, Source
from flywheel.rows import Row
from flywheel.store import Conversation, Message, Store, ToolCall, Turn, TurnStatus


def tool(name: str, **properties: str) -> dict[str, Any]:
    """A tool whose arguments are all required; properties: name → JSON type."""
    typed = {key: {"type": kind} for key, kind in properties.items()}
    schema = {"type": "object", "properties": typed, "required": [*properties]}
    return {"type": "function", "function": {"name": name, "description": f"The {name} tool", "parameters": schema}}


WEATHER = tool("get_weather", city="string")
CLOCK = tool("local_time", city="string")
SUM = tool("add", a="number", b="number")
TOOLS = [WEATHER, CLOCK, SUM]


def calling(*calls: tuple[str, dict[str, Any]]) -> Message:
    """An assistant message with tool calls."""
    made = [{"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"role": "assistant", "content": "", "tool_calls": made}


def saying(text: str) -> Message:
    """An assistant message with text."""
    return {"role": "assistant", "content": text}


def row(
    question: str, answer: Message | None = None, tools: list[dict[str, Any]] | None = None, context: tuple[Message, ...] = ()
) -> Row:
    """A row to learn; by default the weather is asked for."""
    asked = {"role": "user", "content": question}
    return Row([*context, asked, answer or calling(("get_weather", {"city": "Oslo"}))], TOOLS if tools is None else tools)


def about(number: int, what: str = "q") -> str:
    """A question like no other number's: near duplicates of each other would be put on one side."""
    digest = hashlib.sha256(f"{what} {number}".encode()).hexdigest()
    return f"{what} {digest[:20].translate(_LETTERS)}"


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def example(made: Row, side: Side = "train", source: Source = "import", moment: int = 0, name: str = "") -> Example:
    """An example as the ledger gives it; moment orders them in time."""
    return Example(
        id=name or new_id("example"), row=made, source=source, group_id="g", side=side, turn_id=None, person=None, reviewer=None,
        import_id=None, line=None, created_at=f"2026-01-01T00:00:{moment:09.6f}+00:00",
    )  # fmt: skip


def finished_turn(
    store: Store,
    question: str,
    *replies: Message,
    person: str = "ann",
    conversation: Conversation | None = None,
    status: TurnStatus = "answered",
    call_status: str = "done",
    context: tuple[Message, ...] = (),
    tools: list[dict[str, Any]] | None = None,
    model: str = "local/tool-llama-5m",
) -> Turn:
    """A turn that has ended; replies: what the model said, in order; its calls are recorded with call_status."""
    thread = conversation or store.create_conversation(person)
    offered = TOOLS if tools is None else tools
    turn = store.begin_turn(thread, question, tools=offered, model=model, context=[*context])
    made = [call["function"] for reply in replies for call in reply.get("tool_calls", ())]
    for position, call in enumerate(made):
        store.save_call(
            ToolCall(new_id("call"), turn.id, position, call["name"], call["arguments"], call_status, "sunny", None, 3.5)  # type: ignore[arg-type]
        )
    text = replies[-1]["content"] if replies else ""
    store.save_turn(turn.id, status=status, messages=[*turn.messages, *replies], answer=text, verdicts=[], timings={})
    return store.turn(turn.id)
