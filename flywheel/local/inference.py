"""Asks inference servers, which models and judges of evaluations answer through: NIM here, or any that speaks OpenAI elsewhere.

Knows HTTP, when to try again, and the difference between a request that is refused and a server that cannot serve. Knows neither
rows nor scores.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, Field

from flywheel.local.entities import Name, NullIsUnset, Text, Url

FIRST_WAIT = 0.5
MOST_AT_ONCE = 64
"""Requests of one evaluation, however many it asks for."""
SHOWN = 500
_BUSY = (408, 409, 425, 429)

Answer = tuple[dict[str, Any] | None, str | None]
"""A completion, or None and why this one request was refused."""


class EvaluationFailed(Exception):
    """The evaluation cannot be done; the text is the reason, for the person who started it."""


class Endpoint(BaseModel):
    """An inference server elsewhere that speaks OpenAI's chat completions."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    url: Url
    model_id: Text
    api_key: Text | None = None


class ModelRef(BaseModel):
    """A model by name, or one behind an endpoint of its own."""

    model_config = ConfigDict(extra="allow")
    namespace: Name | None = None
    name: Name | None = None
    api_endpoint: Endpoint | None = None


class Params(NullIsUnset):
    """What holds for all requests of an evaluation. request_timeout is in seconds; parallelism is at most MOST_AT_ONCE here."""

    model_config = ConfigDict(extra="allow")
    parallelism: int = Field(default=8, ge=1)
    request_timeout: float = Field(default=300.0, gt=0)
    max_retries: int = Field(default=3, ge=0, le=20)
    limit_samples: int | None = Field(default=None, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float | None = None
    stop: str | list[str] | None = None
    extra: dict[str, Any] | None = None


class Address(NamedTuple):
    """Who answers: model id, the server's address up to /v1, and a key if it wants one."""

    model: str
    url: str
    key: str | None

    @classmethod
    def of(cls, model: str | ModelRef, nim_url: str) -> Address:
        """Of a model named in a config or target; one without an endpoint of its own is asked at `nim_url`."""
        if isinstance(model, str):
            return cls(model, f"{nim_url}/v1", None)
        if model.api_endpoint is None:
            return cls(f"{model.namespace or 'default'}/{model.name}", f"{nim_url}/v1", None)
        url = model.api_endpoint.url.rstrip("/")
        url = url.removesuffix("/chat/completions").removesuffix("/completions")
        return cls(model.api_endpoint.model_id, url, model.api_endpoint.api_key)


class Inference:
    """Sends the requests of one evaluation. Use as an async context manager."""

    def __init__(self, nim_url: str, params: Params) -> None:
        """`nim_url`, the address without /v1, is on this machine."""
        self._nim_url, self._params = nim_url, params
        timeout = httpx.Timeout(params.request_timeout, connect=10.0)
        # A proxy of the environment is for the world outside, not for the server on this machine.
        self._here = httpx.AsyncClient(timeout=timeout, trust_env=False)
        self._outside = httpx.AsyncClient(timeout=timeout)

    async def __aenter__(self) -> Inference:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self._here.aclose(), self._outside.aclose())

    async def ask(self, address: Address, body: dict[str, Any]) -> Answer:
        """The completion of a body with `messages` or `prompt`; sampling that it does not name is the evaluation's.

        Raises EvaluationFailed where the server cannot serve at all.
        """
        sampling = {key: getattr(self._params, key) for key in ("max_tokens", "temperature", "top_p", "stop")}
        sampling = {key: value for key, value in sampling.items() if value is not None}
        body = {"model": address.model, **sampling, **(self._params.extra or {}), **body}
        url = f"{address.url}/completions" if "prompt" in body else f"{address.url}/chat/completions"
        problem = f"the inference server at {url} was not asked"
        for attempt in range(self._params.max_retries + 1):
            reply = await self._post(address, url, body)
            if isinstance(reply, str):
                problem = reply
            elif reply.is_success:
                return _completion(reply, url), None
            else:
                problem = f"the inference server at {url} answered {reply.status_code}: {_said(reply)}"
                if reply.status_code in (401, 403, 404):
                    raise EvaluationFailed(f"the model {address.model!r} cannot be asked: {problem}")
                if reply.status_code < 500 and reply.status_code not in _BUSY:
                    return None, problem
            if attempt < self._params.max_retries:
                await asyncio.sleep(FIRST_WAIT * 2**attempt)
        raise EvaluationFailed(problem)

    async def _post(self, address: Address, url: str, body: dict[str, Any]) -> httpx.Response | str:
        """The reply, or why there is none."""
        client = self._here if url.startswith(self._nim_url) else self._outside
        headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
        try:
            return await client.post(url, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"the inference server at {url} is unreachable: {type(error).__name__} {error}".rstrip()


def output_text(response: dict[str, Any] | None) -> str:
    """The text that was answered, by chat or by completion; "" where there is none."""
    choice = response["choices"][0] if response else {}
    return str((choice.get("message") or {}).get("content") or choice.get("text") or "")


def _completion(reply: httpx.Response, url: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = reply.json()
        choice = body["choices"][0]
        if not isinstance(choice.get("message"), dict) and not isinstance(choice.get("text"), str):
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EvaluationFailed(f"the inference server at {url} answered with no completion: {_said(reply)}") from None
    return body


def _said(reply: httpx.Response) -> str:
    """What an error's body says, in a line or two."""
    try:
        body = reply.json()
    except ValueError:
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail or reply.text)[:SHOWN]
