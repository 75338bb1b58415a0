"""Models that judge texts for the rails: those that the platform serves, and those that a config says answer elsewhere.

Each looks to nemoguardrails like one of its own models. Knows how a judge is asked; does not know what a verdict means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.local.engine import Engine
from flywheel.local.generation import Request

if TYPE_CHECKING:
    from nemoguardrails.types import ChatMessage, LLMResponse, LLMResponseChunk

_SECONDS = 30


class Judge:
    """What both have in common; the library asks for these names."""

    provider_name, provider_url = "nim", None

    def __init__(self, model: str) -> None:
        self.model_name = model

    async def generate_async(
        self, prompt: str | list[ChatMessage], *, stop: Sequence[str] | None = None, **options: Any
    ) -> LLMResponse:
        """The judge's words on a prompt."""
        from nemoguardrails.types import LLMResponse

        messages = _messages(prompt)
        # The library asks for next to nothing, which some divide by.
        temperature = 0.0 if (options.get("temperature") or 0) < 0.01 else options["temperature"]
        content = await self._asked(messages, temperature, options.get("max_tokens"), list(stop or ()))
        return LLMResponse(content=content, model=self.model_name)

    async def stream_async(
        self, prompt: str | list[ChatMessage], *, stop: Sequence[str] | None = None, **options: Any
    ) -> AsyncIterator[LLMResponseChunk]:
        """The same, as one piece."""
        from nemoguardrails.types import LLMResponseChunk

        yield LLMResponseChunk(delta_content=(await self.generate_async(prompt, stop=stop, **options)).content)

    async def _asked(self, messages: list[dict[str, Any]], temperature: float, max_tokens: int | None, stop: list[str]) -> str:
        raise NotImplementedError


def _messages(prompt: str | list[ChatMessage]) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": one.role.value, "content": one.content} for one in prompt]


class ServedJudge(Judge):
    """A model that this platform serves."""

    def __init__(self, engine: Engine, model: str) -> None:
        super().__init__(model)
        self._engine = engine

    async def _asked(self, messages: list[dict[str, Any]], temperature: float, max_tokens: int | None, stop: list[str]) -> str:
        request = Request(model=self.model_name, messages=messages, temperature=temperature, max_tokens=max_tokens, stop=stop)
        generation = await asyncio.to_thread(self._engine.submit, request)
        return (await generation.completion()).content or ""


class RemoteJudge(Judge):
    """A model at an OpenAI-compatible address, which is given with /v1. It is sent no key: a config must not spend one."""

    def __init__(self, base_url: str, model: str) -> None:
        super().__init__(model)
        self._base_url = base_url

    async def _asked(self, messages: list[dict[str, Any]], temperature: float, max_tokens: int | None, stop: list[str]) -> str:
        import httpx

        body = {"model": self.model_name, "messages": messages, "temperature": temperature, "max_tokens": max_tokens or 1024}
        async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            answer = await client.post(f"{self._base_url}/chat/completions", json=body | ({"stop": stop} if stop else {}))
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"] or "")
