"""The chat model: any server that speaks OpenAI's chat completions (a NIM, the local platform), streamed.

Turns the store's messages into the wire's and the wire's reply into the store's, and every way in which a server can fail into a
sentence for the person. Which model serves comes from the registry. Knows nothing of tools' meaning, rails or turns.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal

import openai

from chat_app.repetition import end_of_first
from flywheel.errors import PlatformError
from flywheel.json_records import parse
from flywheel.promote import Registry
from flywheel.review.confidence import Confidence, TokenChance
from flywheel.store import Message, ToolSchema

MAX_TOKENS = 512
MAX_REPLY_CHARACTERS = 50_000
"""A reply longer than this (text and arguments together) is a server gone wild."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProposedCall:
    """A call that the model wants. arguments: the object, or None if `raw`, what the model wrote, is no JSON object."""

    name: str
    arguments: dict[str, Any] | None
    raw: str


@dataclass(frozen=True)
class Reply:
    """A whole reply. finish_reason: as on the wire (stop, tool_calls, length). usage: token counts, empty if not told.

    confidence: how sure the model was, where the server tells.
    """

    content: str
    calls: list[ProposedCall]
    finish_reason: str
    usage: dict[str, int]
    confidence: Confidence | None = None


class ChatModel:
    """A client of one NIM address (without /v1), to be used from one event loop.

    timeout_seconds: the longest silence. total_seconds: the longest a whole reply may take, against a server that drips.
    """

    def __init__(
        self, nim_url: str, api_key: str, registry: Registry, *, timeout_seconds: float = 60, total_seconds: float = 180
    ) -> None:
        self._registry = registry
        self._total_seconds = total_seconds
        self._client = openai.AsyncOpenAI(
            base_url=f"{nim_url.rstrip('/')}/v1",
            api_key=api_key or "none",  # the client insists on one; local servers ask for none
            timeout=openai.Timeout(timeout_seconds, connect=min(5, timeout_seconds)),
            max_retries=1,
        )
        self._chances: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}
        """What asks for the tokens' probabilities; emptied once a server has refused that."""

    def serving(self, conversation_id: str) -> str:
        """The model that answers this conversation now; reads the database. Raises NotFound before any model serves."""
        return self._registry.serving(conversation_id)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(
        self,
        messages: list[Message],
        tools: list[ToolSchema],
        *,
        tool_choice: Literal["auto", "none", "required"] = "auto",
        model: str,
    ) -> AsyncGenerator[str | Reply, None]:
        """The reply's pieces of text as they come, then the whole Reply. Raises PlatformError, with a sentence for the person.

        A reply that begins to repeat itself is ended, and the Reply holds what it says once, less than the pieces. messages,
        tools: in the store's shape. Closing the generator early ends the request, and with it the server's work.
        """
        deadline = time.monotonic() + self._total_seconds
        gathered = _Gathered()
        offered: dict[str, Any] = {"tools": tools, "tool_choice": tool_choice} if tools else {}
        try:
            chunks = await self._begun(
                model=model, messages=_on_the_wire(messages), stream=True, stream_options={"include_usage": True},
                temperature=0, max_tokens=MAX_TOKENS, **offered,
            )  # fmt: skip
            async with chunks:
                while (chunk := await _next(chunks, deadline)) is not None:
                    text = gathered.take(chunk)
                    if gathered.cut_repetition():
                        break
                    if text:
                        yield text
            yield gathered.reply()
        except (openai.OpenAIError, TimeoutError, ValueError, AttributeError, TypeError) as error:
            # The last three: what comes of a server that sends JSON of another shape, or none.
            _log.warning("the model server failed: %s: %s", type(error).__name__, str(error)[:300])
            raise PlatformError(_sentence(error, model, begun=gathered.size > 0)) from error

    async def _begun(self, **asked: Any) -> Any:
        """The stream; a server that refuses to tell probabilities is asked without them, from then on."""
        create: Any = self._client.chat.completions.create
        try:
            return await create(**asked, **self._chances)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if not self._chances:
                raise
            chunks = await create(**asked)  # raises again where the fault was another
            self._chances = {}
            return chunks


async def _next(chunks: Any, deadline: float) -> Any:
    """The next chunk, or None at the end. Raises TimeoutError past the deadline."""
    async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
        return await anext(chunks, None)


@dataclass
class _Gathered:
    """What has come of a reply so far."""

    text: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)
    finish_reason: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    size: int = 0
    chances: list[TokenChance] = field(default_factory=list)

    def take(self, chunk: Any) -> str:
        """Add a chunk of the stream; returns its text."""
        if chunk.usage:
            self.usage = {name: count for name, count in chunk.usage.model_dump().items() if isinstance(count, int)}
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        for token in (choice.logprobs and choice.logprobs.content) or ():
            rivals = [other.logprob for other in token.top_logprobs or () if other.token != token.token]
            self.chances.append(TokenChance(token.logprob, max(rivals, default=None)))
        for part in choice.delta.tool_calls or ():
            written = part.function.arguments or ""
            self.names.setdefault(part.index, "")
            self.names[part.index] = self.names[part.index] or _clean(part.function.name or "")
            self.arguments[part.index] = self.arguments.get(part.index, "") + written
            self.size += len(written) + 1
        text = _clean(choice.delta.content or "")
        self.text.append(text)
        self.size += len(text)
        if self.size > MAX_REPLY_CHARACTERS:
            raise ValueError("the reply does not end")
        return text

    def cut_repetition(self) -> bool:
        """Cut a text that repeats itself down to the first time; returns whether it was."""
        whole = "".join(self.text)
        end = end_of_first(whole)
        if end is None:
            return False
        self.text, self.finish_reason = [whole[:end]], "stop"
        return True

    def reply(self) -> Reply:
        """The whole. Raises ValueError if the stream ended before the reply did."""
        if not self.finish_reason:
            raise ValueError("the stream ended before the reply did")
        calls = [_call(self.names[index], self.arguments[index]) for index in sorted(self.names)]
        return Reply("".join(self.text), calls, self.finish_reason, self.usage, Confidence.of(self.chances))


def _call(name: str, raw: str) -> ProposedCall:
    value, _ = parse(raw or "{}")
    return ProposedCall(name, value if isinstance(value, dict) else None, _clean(raw))


def _clean(text: str) -> str:
    """The text without halves of characters, which no database takes."""
    return text.encode(errors="replace").decode()


def _on_the_wire(messages: list[Message]) -> Any:
    """The store's messages as a server expects them: arguments as text, each call with a type."""
    return [
        message | {"content": message.get("content"), "tool_calls": [_call_on_the_wire(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _call_on_the_wire(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    text = json.dumps(function["arguments"], ensure_ascii=False, separators=(",", ":"))
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": text}}


def _sentence(error: Exception, model: str, *, begun: bool) -> str:
    """What the person reads. begun: whether a part of the reply had come."""
    match error:
        case openai.APITimeoutError() | TimeoutError():
            return "The model server took too long to answer, so the request was given up. Ask again in a moment."
        case openai.APIConnectionError() if begun:
            return "The connection to the model server broke off in the middle of the answer. Ask again in a moment."
        case openai.APIConnectionError():
            return "The model server does not answer. It is being restarted; ask again in a moment."
        case openai.NotFoundError():
            return f"The served model {model!r} is not loaded by the model server: roll back on the Wheel tab or ask again later."
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "The model server refused our key: set NVIDIA_API_KEY and start the app again."
        case openai.RateLimitError():
            return "The model server is busy. Ask again in a moment."
        case openai.APIStatusError() if error.status_code < 500:
            return f"The model server refused the request ({error.status_code}). Start a new conversation and ask again."
        case openai.APIStatusError() | openai.APIError():
            return "The model server failed at this question. Ask again in a moment."
    return "The model server sent something that is no answer. Ask again; if it stays so, restart the model server."
