"""What is asked of the engine and what comes back: requests, streams of text, finished completions, and the errors in between.

Knows nothing of models, batches or HTTP. A `Generation` is written by the engine's thread and read from any other, async or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flywheel.local.call_form import Call
from flywheel.local.grammar import Choice

FinishReason = Literal["stop", "length", "tool_calls"]


class EngineError(RuntimeError):
    """The engine could not do what was asked.

    EngineError
    ├── UnknownModel    ask for one of the ids in the text
    ├── EngineBusy      ask again later
    ├── EngineNotReady  ask again later, or see why loading failed
    └── Cancelled       nobody waits for the answer any more
    """


class UnknownModel(EngineError):
    """No base model or adapter of that id is served."""

    def __init__(self, model: str, served: Sequence[str]) -> None:
        super().__init__(f"the model {model!r} does not exist here; served are: {', '.join(served)}")
        self.model = model


class EngineBusy(EngineError):
    """Too many requests wait already."""


class EngineNotReady(EngineError):
    """The model is still loading, or could not be loaded."""


class Cancelled(EngineError):
    """The request was cancelled before it was answered."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One completion to generate: messages and tools in OpenAI shape, or a `prompt` (text or token ids) to go on from as it is.

    `temperature` None means the model's own default (greedy unless its generation_config.json samples); 0 is greedy. `max_tokens`
    None means as many as the context holds. `json_schema` asks for one JSON value instead of text or calls. `logprobs` asks for
    each token's probability and that of so many likeliest others; None for none of it.
    """

    model: str
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str | Sequence[int] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Choice = "auto"
    several_calls: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    json_schema: Mapping[str, Any] | None = None
    logprobs: int | None = None


class TokenLogprob(NamedTuple):
    """One generated token as UTF-8 bytes (maybe half a character), the natural-log probability that the unguided model gave it,
    and the likeliest tokens at its place with theirs, best first."""

    token: bytes
    logprob: float
    top: Sequence[tuple[bytes, float]]


class Piece(NamedTuple):
    """More text of an answer, and the tokens that became certain with it (none unless the request asked for logprobs)."""

    text: str
    tokens: Sequence[TokenLogprob] = ()


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A finished answer: `content` or `tool_calls`.

    `mean_logprob` is the mean natural-log probability that the model itself, unguided, gave to its tokens; near 0 is sure.
    `tokens` are those of the text or the calls, without the one that ends the turn; none unless the request asked for logprobs.
    """

    model: str
    content: str | None
    tool_calls: Sequence[Call]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    mean_logprob: float
    tokens: Sequence[TokenLogprob] = ()


class Generation:
    """An answer in the making: iterate it (`async for`) for text as it comes; then, or instead, take the completion."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self._pieces: deque[Piece] = deque()
        self._finished: Future[Completion] = Future()
        self._wake: Callable[[], object] = lambda: None
        self._cancelled = False

    async def __aiter__(self) -> AsyncIterator[str]:
        """Pieces of the text content in order; none where the model calls tools. Raises the engine's error if it failed."""
        async for piece in self.pieces():
            if piece.text:
                yield piece.text

    async def pieces(self) -> AsyncIterator[Piece]:
        """As iteration, with the tokens' probabilities where they were asked for; those of calls come with an empty text."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(news.set)
        while True:
            news.clear()
            done = self._finished.done()  # asked before the pieces are taken: none can be added after it is true
            while self._pieces:
                yield self._pieces.popleft()
            if done:
                self._finished.result()
                return
            await news.wait()

    async def completion(self) -> Completion:
        """The finished answer, awaited. Raises the engine's error if generation failed."""
        return await asyncio.wrap_future(self._finished)

    def result(self, timeout: float | None = None) -> Completion:
        """The finished answer; blocks the calling thread up to `timeout` seconds, then raises TimeoutError."""
        return self._finished.result(timeout)

    def cancel(self) -> None:
        """Nobody wants the rest: generation stops at its next step. Harmless when finished."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def add(self, text: str, tokens: Sequence[TokenLogprob] = ()) -> None:
        """The engine's side: more text."""
        self._pieces.append(Piece(text, tokens))
        self._tell()

    def finish(self, outcome: Completion | BaseException) -> None:
        """The engine's side: the end, good or bad. Only the first counts."""
        try:
            if isinstance(outcome, BaseException):
                self._finished.set_exception(outcome)
            else:
                self._finished.set_result(outcome)
        except InvalidStateError:
            return
        self._tell()

    def _tell(self) -> None:
        try:
            self._wake()
        except RuntimeError:  # the reader's event loop is closed: nobody reads
            self.cancel()
