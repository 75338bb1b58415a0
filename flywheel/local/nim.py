"""The inference service, as a NIM offers it: OpenAI's routes over the engine, every adapter a model id of its own.

Knows the routes; `nim_bodies` knows what they are sent and `nim_replies` what they answer. Does not know how answers are
generated. Unknown fields are ignored and any bearer token is accepted, as NVIDIA's own clients expect. Usable under any prefix.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from fastapi import Request as HttpRequest
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute

from flywheel.local.chat_format import PromptError
from flywheel.local.engine import Embedding, Engine
from flywheel.local.generation import Completion, EngineError, Generation, UnknownModel
from flywheel.local.nim_bodies import ChatBody, CompletionBody, EmbeddingBody, several
from flywheel.local.nim_replies import chat_reply, chat_stream, error_body, error_status, text_reply, text_stream


class EngineRoute(APIRoute):
    """Answers the engine's errors in the shape that NIM and OpenAI clients read."""

    def get_route_handler(self) -> Callable[[HttpRequest], Awaitable[Response]]:  # type: ignore[override]
        """The route's handler with the errors caught."""
        handle = super().get_route_handler()

        async def answer(request: HttpRequest) -> Response:
            try:
                return await handle(request)
            except (EngineError, PromptError) as error:
                return JSONResponse(error_body(error), error_status(error))
            except RecursionError as error:
                raise HTTPException(422, "the body is nested too deeply") from error

        return answer


def router(engine: Engine) -> APIRouter:
    """The routes /v1/models, /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/health, answered by this engine."""
    routes = APIRouter()
    routes.include_router(_model_routes(engine))
    routes.include_router(_text_routes(engine))
    return routes


def _model_routes(engine: Engine) -> APIRouter:
    routes = APIRouter(route_class=EngineRoute)

    @routes.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(engine, model_id) for model_id in engine.models()]}

    @routes.get("/v1/models/{model_id:path}")
    def model(model_id: str) -> dict[str, Any]:
        if model_id not in engine.models():
            raise UnknownModel(model_id, engine.models())
        return _model(engine, model_id)

    @routes.get("/v1/health/live")
    def live() -> dict[str, str]:
        return {"object": "health.response", "message": "Service is live.", "status": "live"}

    @routes.get("/v1/health/ready")
    def ready() -> dict[str, str]:
        engine.wait_ready(0)
        return {"object": "health.response", "message": "Service is ready.", "status": "ready"}

    return routes


def _text_routes(engine: Engine) -> APIRouter:
    routes = APIRouter(route_class=EngineRoute)

    @routes.post("/v1/chat/completions")
    async def chat(body: ChatBody, http: HttpRequest) -> Response:
        generation = await run_in_threadpool(engine.submit, body.request())
        if body.stream:
            return events(chat_stream(generation, body.model, body.include_usage))
        (completion,) = await unless_gone([generation], http)
        return JSONResponse(chat_reply(completion, logprobs=bool(body.logprobs)))

    @routes.post("/v1/completions")
    async def complete(body: CompletionBody, http: HttpRequest) -> Response:
        generations = await run_in_threadpool(submit_all, engine, body)
        if body.stream:
            return events(text_stream(generations, body.model, body.include_usage))
        completions = await unless_gone(generations, http)
        return JSONResponse(text_reply(completions, logprobs=body.logprobs not in (None, False)))

    @routes.post("/v1/embeddings")
    def embed(body: EmbeddingBody) -> dict[str, Any]:
        made = [engine.embed(body.model, text, body.truncate or "NONE") for text in several(body.input)]
        return _embeddings(made, body)

    return routes


def submit_all(engine: Engine, body: CompletionBody) -> list[Generation]:
    """Begin an answer to each prompt, or to none if one of them is refused."""
    begun: list[Generation] = []
    try:
        for request in body.requests():
            begun.append(engine.submit(request))
    except Exception:
        for generation in begun:
            generation.cancel()
        raise
    return begun


async def unless_gone(generations: Sequence[Generation], http: HttpRequest) -> list[Completion]:
    """The completions; they are cancelled when the client hangs up first."""
    answers = asyncio.gather(*(generation.completion() for generation in generations))
    try:
        while not (await asyncio.wait([answers], timeout=0.5))[0]:
            if await http.is_disconnected():
                _cancel(generations)
    except asyncio.CancelledError:
        _cancel(generations)
        raise
    return answers.result()


def events(stream: Any) -> StreamingResponse:
    """Server-sent events as an answer."""
    return StreamingResponse(stream, media_type="text/event-stream")


def _cancel(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()


def _embeddings(made: Sequence[Embedding], body: EmbeddingBody) -> dict[str, Any]:
    size = len(made[0].vector)
    if body.dimensions is not None and body.dimensions > size:
        raise HTTPException(422, f"dimensions is {body.dimensions}, but {body.model!r} embeds in {size}; ask for fewer")
    vectors = [_shortened(one.vector, body.dimensions or size) for one in made]
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if body.encoding_format == "base64" else vector}
        for place, vector in enumerate(vectors)
    ]
    tokens = sum(one.tokens for one in made)
    return {"object": "list", "data": data, "model": body.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _shortened(vector: list[float], size: int) -> list[float]:
    """The first `size` numbers, again of length one."""
    kept = vector[:size]
    length = sum(number * number for number in kept) ** 0.5
    return [number / length for number in kept] if 0 < length and size < len(vector) else kept


def _packed(vector: Sequence[float]) -> str:
    """OpenAI's base64: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


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
