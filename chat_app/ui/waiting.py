"""What a turn waits for, told once a second: the model, how many asked it before, a tool. Knows events; stores nothing."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import AsyncGenerator, AsyncIterator

from chat_app.events import Event, ToolCalled, ToolReturned
from chat_app.ui.words import Words

SILENT_SECONDS = 1.0
"""A shorter wait is not told: the words would only flicker."""


class Waiting:
    """One turn's waiting. line: all of the app's turns that wait for the model, in the order in which they came to it.

    Use as a context manager, which leaves the line whatever happens.
    """

    def __init__(self, line: list[Waiting], words: Words) -> None:
        self._line, self._words = line, words
        self._tool: str | None = None
        self._since = time.monotonic()

    def __enter__(self) -> Waiting:
        self._line.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def note(self, event: Event) -> None:
        """Something happened: what is waited for now?"""
        self._leave()
        self._tool = event.call.name if isinstance(event, ToolCalled) else None
        if isinstance(event, ToolReturned):  # the model goes on from its result
            self._line.append(self)
        self._since = time.monotonic()

    def shown(self) -> str:
        """The line for the page, as HTML. The seconds are hidden from screen readers, which would read each of them out."""
        seconds = time.monotonic() - self._since
        if seconds < SILENT_SECONDS:
            return ""
        return f'{html.escape(self._told())} <span aria-hidden="true">· {seconds:.0f} s</span>'

    def _told(self) -> str:
        if self._tool is not None:
            return self._words("running", tool=self._tool.replace("_", " "))
        before = self._line.index(self) if self in self._line else 0
        return self._words("waiting_others", count=before) if before else self._words("waiting")

    def _leave(self) -> None:
        if self in self._line:
            self._line.remove(self)


async def ticking(events: AsyncIterator[Event], seconds: float) -> AsyncGenerator[Event | None, None]:
    """The events as they come, and None whenever so many seconds have passed without one.

    A task of its own runs through the events, from their first to their last; closing this generator cancels it and waits for
    its end, so that what came of the turn is stored by then.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()  # None: there are no more

    async def run_through() -> None:
        try:
            async for event in events:
                queue.put_nowait(event)
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(run_through())
    try:
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), seconds)
            except TimeoutError:
                yield None
                continue
            if event is None:
                break
            yield event
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
