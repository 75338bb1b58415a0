"""The four rail stages as checks: what the person says, what the model calls, what a tool returns, what the model answers.

NeMo Guardrails judges, with the rails in `guardrails_config/`; it never talks to the chat model and runs no tool. Whatever keeps
a rail from judging (an error, a service that is down, no rail at all) comes out as "unavailable", never as "allowed".
Knows nothing of turns: who asks decides what a verdict means.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chat_app.settings import quiet_libraries
from flywheel.store import Message

if TYPE_CHECKING:
    from nemoguardrails import RailsConfig

Stage = Literal["input", "tool_call", "tool_result", "output"]
Outcome = Literal["allowed", "blocked", "unavailable"]

CONFIG_ROOT = Path(__file__).parents[1] / "guardrails_config"

# The library's names are seen from the model: a call is its tool output, a result its tool input.
_LIBRARY_STAGE = {"input": "input", "tool_call": "tool_output", "tool_result": "tool_input", "output": "output"}
# What the library answers, as if it were a refusal, when an action inside a rail failed.
_INTERNAL_ERROR = "I'm sorry, an internal error has occurred."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RailVerdict:
    """What a stage's rails say. rail: the one that decided, empty if all passed. reason: in words. duration_ms: wall time."""

    outcome: Outcome
    stage: Stage
    rail: str
    reason: str
    duration_ms: float


class Rails:
    """The rails of one configuration, to be asked from one event loop.

    content_safety_url: address of a content-safety NIM (with or without /v1) that judges messages and answers after the offline
    rails; None leaves it out.
    """

    def __init__(self, config_root: Path = CONFIG_ROOT, content_safety_url: str | None = None) -> None:
        self._root = config_root
        self._content_safety_url = content_safety_url
        self._lock = threading.Lock()  # protects _rails: only one thread builds
        self._rails: Any = None  # an LLMRails once built

    @property
    def judge_whole_answers(self) -> bool:
        """Whether an answer can only be judged once it is complete, so that none of it may be shown before."""
        return self._content_safety_url is not None

    def warm(self) -> None:
        """Import and build the library's part, which takes seconds; the first check does it otherwise. Call it from a thread."""
        self._built()

    async def aclose(self) -> None:
        """Close the connections to the content-safety NIM."""
        if self._rails is not None:
            from nemoguardrails.llm.frameworks import get_default_framework, get_framework

            await get_framework(get_default_framework()).aclose()

    async def check(self, stage: Stage, messages: list[Message], tools: dict[str, Any] | None = None) -> RailVerdict:
        """Ask the stage's rails about the last of the messages. tools: name → JSON Schema of the tools offered, for tool calls.

        Needs the person's message among them at every stage. Never raises, except when it is cancelled.
        """
        start = time.perf_counter()

        def verdict(outcome: Outcome, rail: str = "", reason: str = "") -> RailVerdict:
            return RailVerdict(outcome, stage, rail, reason, (time.perf_counter() - start) * 1000)

        context = {"role": "context", "content": {"allowed_tools": tools or {}}}
        options = {"rails": [_LIBRARY_STAGE[stage]], "log": {"activated_rails": True}}
        try:
            rails = self._rails or await asyncio.to_thread(self._built)
            result = await rails.generate_async(messages=[context, *messages], options=options)
            rails.events_history_cache.clear()  # the library keeps every conversation it saw
        except Exception as error:
            _log.warning("the rails of stage %s did not work: %s", stage, error)
            return verdict("unavailable", reason=f"{type(error).__name__}: {str(error)[:200]}")
        ran = result.log.activated_rails
        stopped = next((rail for rail in ran if rail.stop), None)
        if not ran:
            return verdict("unavailable", reason="no rail ran")
        if stopped is None:
            return verdict("allowed")
        if result.response[-1]["content"] == _INTERNAL_ERROR:
            return verdict("unavailable", stopped.name, "the rail failed")
        return verdict("blocked", stopped.name, _reason(stopped))

    def _built(self) -> Any:
        with self._lock:
            if self._rails is None:
                # In a loop that ends with the building: the library makes one where there is none, and never closes it.
                self._rails = asyncio.run(self._build())
            return self._rails

    async def _build(self) -> Any:
        quiet_libraries()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the library reads a field that it has deprecated itself
            from nemoguardrails import LLMRails

            return LLMRails(self._config())

    def _config(self) -> RailsConfig:
        from nemoguardrails import RailsConfig

        base = RailsConfig.from_path(str(self._root / "base"))
        if self._content_safety_url is None:
            return base
        nim = RailsConfig.from_path(str(self._root / "nim"))
        for model in nim.models:
            model.parameters["base_url"] = self._content_safety_url.rstrip("/").removesuffix("/v1") + "/v1"
        return nim + base  # in this order the offline rails come first


def _reason(rail: Any) -> str:
    """What the rail's own action gave as its reason: ours in words, the content-safety NIM as a list of categories."""
    for action in rail.executed_actions:
        value = action.return_value
        if isinstance(value, dict) and value.get("reason"):
            return str(value["reason"])
        categories = (getattr(value, "metadata", None) or {}).get("policy_violations")
        if categories:
            return f"content safety: {', '.join(categories)}"
    return "content safety"
