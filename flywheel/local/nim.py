"""The inference service, as a NIM offers it: OpenAI's routes over the engine, every adapter a model id of its own.

Knows the shapes of requests, replies, streams and errors; does not know how answers are generated. Unknown fields are ignored and
any bearer token is accepted, as NVIDIA's own clients expect. Usable under any prefix.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Response
from fastapi import Request as HttpRequest
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from flywheel.local.call_form import Call
from flywheel.local.chat_format import PromptError
from flywheel.local.engine import Engine
from flywheel.local.generation import (
    Cancelled,
    Completion,
    EngineBusy,
    EngineError,
    EngineNotReady,
    Generation,
    Request,
    UnknownModel,
)

_STATUS: Mapping[type[Exception], int] = {
    UnknownModel: 404,
    PromptError: 400,
    EngineBusy: 429,
    EngineNotReady: 503,
    Cancelled: 499,
}


class _ToolFunction(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"] = "function"
    function: _ToolFunction


class _NamedFunction(BaseModel):
    name: str


class _NamedTool(BaseModel):
    type: Literal["function"] = "function"
    function: _NamedFunction


class _ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(BaseModel):
    """The body of POST /v1/chat/completions; fields that are not named here are ignored."""

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    tools: Annotated[list[_Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    response_format: _ResponseFormat | None = None
    guided_json: dict[str, Any] | None = None

    def request(self) -> Request:
        """What the engine is to do."""
        choice: Any = self.tool_choice.model_dump() if isinstance(self.tool_choice, _NamedTool) else self.tool_choice
        return Request(
            model=self.model,
            messages=self.messages,
            tools=[tool.model_dump(exclude_none=True) for tool in self.tools or ()],
            tool_choice=choice or "auto",
            several_calls=self.parallel_tool_calls is not False,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            seed=self.seed,
            stop=[self.stop] if isinstance(self.stop, str) else self.stop or (),
            json_schema=self._json_schema(),
        )

    def _json_schema(self) -> dict[str, Any] | None:
        if self.response_format is None or self.response_format.type == "text":
            return self.guided_json
        return (self.response_format.json_schema or {}).get("schema") or {"type": "object"}


class _Route(APIRoute):
    """Answers the engine's errors in the shape that NIM and OpenAI clients read."""

    def get_route_handler(self) -> Callable[[HttpRequest], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def answer(request: HttpRequest) -> Response:
            try:
                return await handle(request)
            except (EngineError, PromptError) as error:
                return JSONResponse(_error(error), _status(error))
            except RecursionError as error:
                raise HTTPException(422, "the body is nested too deeply") from error

        return answer


def router(engine: Engine) -> APIRouter:
    """The routes /v1/models, /v1/chat/completions and /v1/health, answered by this engine."""
    routes = APIRouter(route_class=_Route)

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(engine, model_id) for model_id in engine.models()]}

    @routes.get("/v1/models/{model_id:path}")
    def model(model_id: str) -> dict[str, Any]:
        if model_id not in engine.models():
            raise UnknownModel(model_id, engine.models())
        return _model(engine, model_id)

    @routes.post("/v1/chat/completions")
    async def chat(body: ChatBody, http: HttpRequest) -> Response:
        generation = await run_in_threadpool(engine.submit, body.request())
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return StreamingResponse(_stream(generation, body.model, usage), media_type="text/event-stream")
        return JSONResponse(_reply(await _unless_gone(generation, http)))

    @routes.get("/v1/health/live")
    def live() -> dict[str, str]:
        return {"object": "health.response", "message": "Service is live.", "status": "live"}

    @routes.get("/v1/health/ready")
    def ready() -> dict[str, str]:
        engine.wait_ready(0)
        return {"object": "health.response", "message": "Service is ready.", "status": "ready"}

    return routes


async def _unless_gone(generation: Generation, http: HttpRequest) -> Completion:
    """The completion; it is cancelled when the client hangs up first."""
    answer = asyncio.ensure_future(generation.completion())
    try:
        while not (await asyncio.wait([answer], timeout=0.5))[0]:
            if await http.is_disconnected():
                generation.cancel()
    except asyncio.CancelledError:
        generation.cancel()
        raise
    return answer.result()


async def _stream(generation: Generation, model: str, usage: bool) -> AsyncIterator[str]:
    """Server-sent events: the role, pieces of text or whole calls, the end, the usage if asked for, and [DONE]."""
    chunk = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
    try:
        yield _event(chunk, {"role": "assistant", "content": ""})
        async for piece in generation:
            yield _event(chunk, {"content": piece})
        completion = await generation.completion()
        for delta in _call_deltas(completion.tool_calls):
            yield _event(chunk, delta)
        yield _event(chunk, {}, completion.finish_reason)
        if usage:
            yield _data(chunk | {"choices": [], "usage": _usage(completion)})
    except EngineError as error:
        yield _data(_error(error))
    finally:
        generation.cancel()
    yield "data: [DONE]\n\n"


def _call_deltas(calls: Sequence[Call]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        whole = _tool_call(call)
        arguments = whole["function"].pop("arguments")
        whole["function"]["arguments"] = ""
        deltas.append({"tool_calls": [{"index": index, **whole}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
    return deltas


def _event(chunk: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None = None) -> str:
    return _data({**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]})


def _data(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _reply(completion: Completion) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.content}
    if completion.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in completion.tool_calls]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": completion.model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason, "stop_reason": None},
        ],
        "usage": _usage(completion),
    }


def _tool_call(call: Call) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": f"chatcmpl-tool-{uuid.uuid4().hex}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _usage(completion: Completion) -> dict[str, int]:
    return {
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
    }


def _model(engine: Engine, model_id: str) -> dict[str, Any]:
    return {
        "id": model_id,
        "object": "model",
        "created": engine.created,
        "owned_by": "system",
        "root": engine.base_id,
        "parent": None if model_id == engine.base_id else engine.base_id,
        "max_model_len": engine.max_length if engine.ready else None,
        "permission": [],
    }


def _status(error: Exception) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def _error(error: Exception) -> dict[str, Any]:
    status = _status(error)
    kind = {404: "not_found_error", 400: "invalid_request_error", 429: "rate_limit_error"}.get(status, "server_error")
    return {"detail": str(error), "error": {"message": str(error), "type": kind, "param": None, "code": status}}
