"""How the inference routes answer: replies and streams in OpenAI's shape, made of the engine's completions, and its errors.

Knows the shape of chat and text completions and of their chunks. Does not know routes, or how an answer comes about.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from flywheel.local.call_form import Call
from flywheel.local.chat_format import PromptError
from flywheel.local.generation import (
    Cancelled,
    Completion,
    EngineBusy,
    EngineError,
    EngineNotReady,
    Generation,
    TokenLogprob,
    UnknownModel,
)

DONE = "data: [DONE]\n\n"
"""The end of every stream."""

_STATUS: Mapping[type[Exception], int] = {
    UnknownModel: 404,
    PromptError: 400,
    EngineBusy: 429,
    EngineNotReady: 503,
    Cancelled: 499,
}


def chat_reply(completion: Completion, *, logprobs: bool = False) -> dict[str, Any]:
    """A chat completion as the body of an answer."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.content}
    if completion.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in completion.tool_calls]
    choice = {"index": 0, "message": message, "logprobs": _chat_logprobs(completion.tokens) if logprobs else None}
    return {
        **_identity("chatcmpl-", "chat.completion", completion.model),
        "choices": [{**choice, "finish_reason": completion.finish_reason, "stop_reason": None}],
        "usage": usage([completion]),
    }


async def chat_stream(generation: Generation, model: str, include_usage: bool) -> AsyncIterator[str]:
    """Server-sent events: the role, pieces of text or whole calls, the end, the usage if asked for, and [DONE]."""
    chunk = _identity("chatcmpl-", "chat.completion.chunk", model)
    try:
        yield _chat_event(chunk, {"role": "assistant", "content": ""})
        async for text, tokens in generation.pieces():
            yield _chat_event(chunk, {"content": text} if text else {}, _chat_logprobs(tokens) if tokens else None)
        completion = await generation.completion()
        for delta in _call_deltas(completion.tool_calls):
            yield _chat_event(chunk, delta)
        yield _chat_event(chunk, {}, finish_reason=completion.finish_reason)
        if include_usage:
            yield event({**chunk, "choices": [], "usage": usage([completion])})
    except EngineError as error:
        yield event(error_body(error))
    finally:
        generation.cancel()
    yield DONE


def text_reply(completions: Sequence[Completion], *, logprobs: bool = False) -> dict[str, Any]:
    """Text completions, one for each prompt, as the body of an answer."""
    choices = [
        {
            "index": place,
            "text": completion.content,
            "logprobs": _text_logprobs(completion.tokens, 0) if logprobs else None,
            "finish_reason": completion.finish_reason,
            "stop_reason": None,
        }
        for place, completion in enumerate(completions)
    ]
    identity = _identity("cmpl-", "text_completion", completions[0].model)
    return {**identity, "choices": choices, "usage": usage(completions)}


async def text_stream(generations: Sequence[Generation], model: str, include_usage: bool) -> AsyncIterator[str]:
    """Server-sent events: the pieces of each prompt's text with its end, one prompt after another, the usage, and [DONE]."""
    chunk = _identity("cmpl-", "text_completion", model)
    completions = []
    try:
        for place, generation in enumerate(generations):
            offset = 0
            async for text, tokens in generation.pieces():
                yield _text_event(chunk, place, text, _text_logprobs(tokens, offset) if tokens else None)
                offset += len(text)
            completions.append(await generation.completion())
            yield _text_event(chunk, place, "", None, completions[-1].finish_reason)
        if include_usage:
            yield event({**chunk, "choices": [], "usage": usage(completions)})
    except EngineError as error:
        yield event(error_body(error))
    finally:
        for generation in generations:
            generation.cancel()
    yield DONE


def event(value: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage(completions: Sequence[Completion]) -> dict[str, int]:
    """How many tokens the completions took together."""
    prompt = sum(completion.prompt_tokens for completion in completions)
    written = sum(completion.completion_tokens for completion in completions)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def error_status(error: Exception) -> int:
    """The status that an error of the engine is answered with."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def error_body(error: Exception) -> dict[str, Any]:
    """The error in the shape that NIM and OpenAI clients read."""
    status = error_status(error)
    kind = {404: "not_found_error", 400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
    return {"detail": str(error), "error": {"message": str(error), "type": kind, "param": None, "code": status}}


def _identity(prefix: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": f"{prefix}{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _call_deltas(calls: Sequence[Call]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        whole = _tool_call(call)
        arguments = whole["function"].pop("arguments")
        whole["function"]["arguments"] = ""
        deltas.append({"tool_calls": [{"index": index, **whole}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
    return deltas


def _chat_event(
    chunk: Mapping[str, Any], delta: Mapping[str, Any], logprobs: Any = None, finish_reason: str | None = None
) -> str:
    return event({**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]})


def _text_event(chunk: Mapping[str, Any], place: int, text: str, logprobs: Any, finish_reason: str | None = None) -> str:
    return event({**chunk, "choices": [{"index": place, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}]})


def _tool_call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": f"chatcmpl-tool-{uuid.uuid4().hex}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    def shown(token: bytes, logprob: float) -> dict[str, Any]:
        return {"token": _text(token), "logprob": logprob, "bytes": list(token)}

    return {
        "content": [{**shown(token, logprob), "top_logprobs": [shown(*other) for other in top]} for token, logprob, top in tokens]
    }


def _text_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """`offset` is where in the text the tokens begin."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(_text(token.token))
    return {
        "tokens": [_text(token.token) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{_text(other): logprob for other, logprob in token.top} for token in tokens],
        "text_offset": offsets,
    }


def _text(token: bytes) -> str:
    return token.decode("utf-8", "replace")
