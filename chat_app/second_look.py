"""Asks the previous model the same questions when the machine is idle; where it says otherwise, a reviewer looks.

One question at a time, greedily, and none while anybody waits for an answer or a model is trained. Which turns, `second_looks`
knows.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from chat_app.model import ChatModel, Reply
from chat_app.services import Services
from flywheel.errors import FlywheelError
from flywheel.store import Message, Turn

LOOK_SECONDS = 10.0
RETRY_SECONDS = 600.0
"""So long after the model server could not answer."""

_log = logging.getLogger(__name__)


class SecondLook:
    """The worker: a thread with a loop of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="second look", daemon=True)

    def start(self) -> None:
        """Begin to look whenever there is time."""
        self._thread.start()

    def stop(self) -> None:
        """End; a question under way is waited for a few seconds."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            pause = LOOK_SECONDS
            try:
                if self._services.second_looks.idle():
                    self.look_once()
            except FlywheelError as error:
                _log.info("no second look: %s", error)
                pause = RETRY_SECONDS
            except Exception:
                if not self._stopping.is_set():  # the store may be closed by now
                    _log.exception("the second look failed")
                pause = RETRY_SECONDS

    def look_once(self) -> bool | None:
        """Ask the previous model one question; returns whether it differs, None where there is nothing to ask.

        Raises PlatformError where the model server cannot answer.
        """
        looks = self._services.second_looks
        previous = looks.previous()
        turn = looks.wanting() if previous else None
        if previous is None or turn is None:
            return None
        return looks.record(turn, previous, asyncio.run(self._ask(turn, previous)))

    async def _ask(self, turn: Turn, model: str) -> Message:
        settings = self._services.settings.flywheel
        assert settings.nim_url is not None
        client = ChatModel(settings.nim_url, settings.api_key, self._services.registry)
        messages = [*turn.context, {"role": "user", "content": turn.question}]
        try:
            reply = [piece async for piece in client.stream(messages, turn.tools, model=model)][-1]
        finally:
            await client.aclose()
        assert isinstance(reply, Reply)
        calls = [{"type": "function", "function": {"name": call.name, "arguments": call.arguments or {}}} for call in reply.calls]
        return {"role": "assistant", "content": reply.content, **({"tool_calls": calls} if calls else {})}
