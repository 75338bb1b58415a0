"""A larger model that may suggest what a turn should have called. Off unless TEACHER_MODEL is set.

Its word is a suggestion: a reviewer sees it marked as such, and nothing is approved by it. Works with the models of NVIDIA's
catalog and with any OpenAI-compatible address. Knows nothing of pages or of the ledger.
"""

from __future__ import annotations

import warnings
from typing import Any

from flywheel.errors import InputError, PlatformError
from flywheel.settings import Settings
from flywheel.store import Message, Turn

MAX_TOKENS = 512
TIMEOUT_SECONDS = 60


def suggest(settings: Settings, turn: Turn) -> Message:
    """The assistant message that the teacher would have given to the turn's question: calls, or words.

    Raises InputError where no teacher is set, PlatformError where it cannot be reached or refuses.
    """
    if settings.teacher_model is None:
        raise InputError("no teacher is set; set TEACHER_MODEL (and TEACHER_URL for one outside NVIDIA's catalog)")
    from langchain_nvidia_ai_endpoints import ChatNVIDIA  # takes a second to import, and most never need it

    messages = [m for m in turn.context if m["role"] in ("user", "assistant") and m.get("content") and not m.get("tool_calls")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every model that its own list does not hold
            teacher = ChatNVIDIA(
                model=settings.teacher_model,
                base_url=settings.teacher_url,
                api_key=settings.api_key or None,
                temperature=0,
                max_completion_tokens=MAX_TOKENS,
            )
            reply: Any = teacher.bind_tools(turn.tools).invoke([*messages, {"role": "user", "content": turn.question}])
    except Exception as error:  # the client lets whatever its transport raises through
        raise PlatformError(f"the teacher {settings.teacher_model!r} did not answer: {str(error)[:300]}") from error
    calls = [{"type": "function", "function": {"name": call["name"], "arguments": call["args"]}} for call in reply.tool_calls]
    return {"role": "assistant", "content": "" if calls else str(reply.content), **({"tool_calls": calls} if calls else {})}
