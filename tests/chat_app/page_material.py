"""Material for tests of the pages: turns as the store keeps them, a call that writes, a thumb, and what is hard to read."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from flywheel.store import Store, Turn
from tests.fakes import NimReply
from tests.flywheel.feedback import finished_turn
from tools import TOOLS

REMIND = NimReply(calls=(("add_reminder", '{"text": "call Anna", "time": "9:00"}'),))
SCHEMAS = [tool.schema for tool in TOOLS.values()]
Open = Callable[..., Page]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FOLLOWED = "(dark) => !document.querySelector('gradio-app') || document.body.classList.contains('dark') === dark"
"""Gradio's pages have taken over the scheme."""
SETTLED = """document.getAnimations().every(({ effect, playState }) => playState !== "running"
  || effect.getTiming().iterations > 99 || effect.target.closest("[data-testid=toast-body]"))"""
"""No colour is on its way to another; what moves for ever may, and what pops up counts its time."""
FAULTS = Path(__file__).with_name("faults.js").read_text(encoding="utf-8")


def thumb(page: Page, name: str) -> Locator:
    return page.locator("#chatbot").get_by_role("button", name=name, exact=True)


def faults(page: Page, *widths: int) -> dict[str, list[str]]:
    """What is wrong with the page as it stands, in windows of these widths, light and dark: see `_faults`."""
    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function(FOLLOWED, arg=scheme == "dark")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 840})
            found[f"{scheme} {width}"] = _faults(page)
    return {how: wrong for how, wrong in found.items() if wrong}


def _faults(page: Page) -> list[str]:
    """Faint text, buttons without a name or too small to hit, too wide a page, and what axe finds serious."""
    page.wait_for_function(SETTLED)
    found: list[str] = page.evaluate(FAULTS)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("wider than the window")
    page.evaluate(AXE)  # not as a script of the page, whose policy would forbid it
    violations = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    serious = [fault for fault in violations if fault["impact"] in ("serious", "critical")]
    return found + [f"{fault['id']}: {[node['html'][:200] for node in fault['nodes']]}" for fault in serious]


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
