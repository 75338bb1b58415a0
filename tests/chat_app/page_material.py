"""Material for tests of the pages: turns as the store keeps them, a call that writes, and a thumb to click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

from flywheel.store import Store, Turn
from tests.fakes import NimReply
from tests.flywheel.feedback import finished_turn
from tools import TOOLS

REMIND = NimReply(calls=(("add_reminder", '{"text": "call Anna", "time": "9:00"}'),))
SCHEMAS = [tool.schema for tool in TOOLS.values()]
Open = Callable[..., Page]


def thumb(page: Page, name: str) -> Locator:
    return page.locator("#chatbot").get_by_role("button", name=name, exact=True)


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An assistant message with tool calls, as a turn stores it."""
    made = [
        {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def told(store: Store, question: str, *replies: Any, thumb: Any = None, reasons: tuple[str, ...] = (), **how: Any) -> Turn:
    """A turn that ended, with its rating."""
    turn = finished_turn(store, question, *replies, person="local", tools=SCHEMAS, **how)
    if thumb:
        store.rate("local", turn.id, thumb, [*reasons], "not <b>this</b>")
    return turn
