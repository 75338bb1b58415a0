"""The rails' own actions: what `rails.co` executes. Each hands its question to `policy.py` and the answer back.

The library runs this file by its path, so it must keep no state: what it defines is not what an import of it would give.
"""

from __future__ import annotations

from typing import Any

from nemoguardrails.actions import action

from guardrails_config.policy import Stage, call_problem, text_problem


def _verdict(reason: str | None) -> dict[str, Any]:
    return {"blocked": reason is not None, "reason": reason}


@action(name="offline_check")  # type: ignore[untyped-decorator]
async def offline_check(text: str = "", stage: Stage = "input", **_: Any) -> dict[str, Any]:
    """{"blocked", "reason"} for a text at a stage."""
    return _verdict(text_problem(text or "", stage))


@action(name="check_tool_calls")  # type: ignore[untyped-decorator]
async def check_tool_calls(
    tool_calls: list[dict[str, Any]] | None = None, allowed_tools: dict[str, Any] | None = None, **_: Any
) -> dict[str, Any]:
    """{"blocked", "reason"} for the calls of one reply; the first problem decides. allowed_tools: name → JSON Schema."""
    problems = (call_problem(call, allowed_tools or {}) for call in tool_calls or [])
    return _verdict(next((problem for problem in problems if problem), None))
