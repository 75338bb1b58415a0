"""What the inference routes are sent: bodies in OpenAI's shape, checked, and made into requests to the engine.

Knows fields, their bounds and which of them mean the same. Fields that are not named here are ignored, as NVIDIA's own clients
expect. Does not know how an answer is made or shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Json

from flywheel.local.engine import Truncation
from flywheel.local.generation import Request

_Texts = Annotated[list[str], Field(min_length=1, max_length=128)]
_TokenIds = Annotated[list[int], Field(min_length=1, max_length=100_000)]
_Input = str | _Texts | _TokenIds | Annotated[list[_TokenIds], Field(min_length=1, max_length=128)]


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


class _Extensions(BaseModel):
    """NVIDIA's own part of a body."""

    guided_json: dict[str, Any] | Json[dict[str, Any]] | None = None


class Sampled(BaseModel):
    """What every request for text says: the model, how tokens are drawn, where the answer ends and what form it has."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Literal[1] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    response_format: _ResponseFormat | None = None
    guided_json: dict[str, Any] | Json[dict[str, Any]] | None = None
    nvext: _Extensions | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _sampling(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": [self.stop] if isinstance(self.stop, str) else self.stop or (),
            "json_schema": self._json_schema(),
        }

    def _json_schema(self) -> dict[str, Any] | None:
        if self.response_format is None or self.response_format.type == "text":
            return self.guided_json or (self.nvext.guided_json if self.nvext else None)
        return (self.response_format.json_schema or {}).get("schema") or {"type": "object"}


class ChatBody(Sampled):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    tools: Annotated[list[_Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "required"] | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None

    def request(self) -> Request:
        """What the engine is to do."""
        choice: Any = self.tool_choice.model_dump() if isinstance(self.tool_choice, _NamedTool) else self.tool_choice
        return Request(
            **self._sampling(),
            messages=self.messages,
            tools=[tool.model_dump(exclude_none=True) for tool in self.tools or ()],
            tool_choice=choice or "auto",
            several_calls=self.parallel_tool_calls is not False,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
        )


class CompletionBody(Sampled):
    """The body of POST /v1/completions: one prompt or several, as texts or as token ids."""

    prompt: _Input
    max_tokens: Annotated[int, Field(ge=1)] | None = 16
    logprobs: bool | Annotated[int, Field(ge=0, le=20)] | None = None

    def requests(self) -> list[Request]:
        """What the engine is to do for each prompt."""
        wanted = None if self.logprobs is None or self.logprobs is False else self.top_logprobs or int(self.logprobs)
        shared = {**self._sampling(), "max_tokens": self.max_tokens, "logprobs": wanted}
        return [Request(**shared, prompt=prompt) for prompt in several(self.prompt)]


class EmbeddingBody(BaseModel):
    """The body of POST /v1/embeddings."""

    model: str
    input: _Input
    input_type: Literal["query", "passage"] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    truncate: Truncation | None = None


def several(texts: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]) -> list[str | Sequence[int]]:
    """One text, one list of token ids, or a list of either, as a list."""
    if isinstance(texts, str):
        return [texts]
    return [list(texts)] if isinstance(texts[0], int) else list(texts)  # type: ignore[arg-type]
