"""What the routes of Guardrails are sent: OpenAI's bodies with a part that says which rails to run.

Knows fields, their bounds, and which texts of a conversation are to be judged. Fields that are not named here are ignored, as
with every inference route. Does not know how a text is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import HTTPException
from pydantic import BaseModel, Field, field_validator, model_validator

from flywheel.local.chat_format import PromptError, content_text
from flywheel.local.nim_bodies import ChatBody, CompletionBody
from flywheel.local.rails_config import RailsData, Stage

LONGEST_TEXT = 100_000
"""Characters of one text that rails are asked about."""

DEFAULT = "default/default"
"""The config that a request without one means, as at NVIDIA's service."""

Only = bool | Annotated[list[str], Field(max_length=64)]
ConfigId = Annotated[str, Field(min_length=1, max_length=512)]


class _RailsOptions(BaseModel):
    input: Only = True
    output: Only = True

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """`["input"]` is short for all input rails and no others."""
        return {stage: stage in value for stage in ("input", "output")} if isinstance(value, list) else value


class _LogOptions(BaseModel):
    llm_calls: bool = False
    internal_events: bool = False
    colang_history: bool = False


class _Options(BaseModel):
    rails: _RailsOptions = Field(default_factory=_RailsOptions)
    log: _LogOptions = Field(default_factory=_LogOptions)


class Guarding(BaseModel):
    """Which configs' rails to run, all or some of them, and how much to tell. Several configs are joined in order."""

    config_id: ConfigId | None = None
    config_ids: Annotated[list[ConfigId], Field(max_length=16)] | None = None
    config: ConfigId | RailsData | None = None
    options: _Options = Field(default_factory=_Options)
    stream: bool | None = None
    return_choice: bool = False

    @field_validator("options", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return {} if value is None else value

    def named(self) -> list[str]:
        """The full names of the configs; one without a namespace is in `default`, and DEFAULT is meant where none is given."""
        names = [self.config_id, *(self.config_ids or ()), self.config if isinstance(self.config, str) else None]
        if not any(names) and self.config is None:
            names = [DEFAULT]
        return list(dict.fromkeys(name if "/" in name else f"default/{name}" for name in names if name))

    def only(self, stage: Stage) -> Only:
        """Whether to run a stage's rails, or which of them."""
        chosen: Only = getattr(self.options.rails, stage)
        return chosen


class CheckBody(BaseModel):
    """The body of POST /v1/guardrail/checks."""

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]
    guardrails: Guarding = Field(default_factory=Guarding)


class GuardedChatBody(ChatBody):
    """The body of POST /v1/guardrail/chat/completions. NVIDIA's service supports no tools there: they are left out."""

    guardrails: Guarding = Field(default_factory=Guarding)

    @model_validator(mode="before")
    @classmethod
    def _without_tools(cls, body: Any) -> Any:
        left_out = ("tools", "tool_choice")
        return {key: value for key, value in body.items() if key not in left_out} if isinstance(body, dict) else body


class GuardedCompletionBody(CompletionBody):
    """The body of POST /v1/guardrail/completions."""

    guardrails: Guarding = Field(default_factory=Guarding)


def turns_of(messages: Sequence[dict[str, Any]]) -> tuple[str, str | None]:
    """What the user said last, and the assistant's answer to it where that is the last message. 422 where no user spoke."""
    try:
        asked = [content_text(message.get("content")) for message in messages if message.get("role") == "user"]
        answered = content_text(messages[-1].get("content")) if messages[-1].get("role") == "assistant" else None
    except PromptError as error:
        raise HTTPException(422, f"a message cannot be judged: {error}") from None
    if not asked:
        raise HTTPException(422, "there is no user message to judge; send one")
    return bounded(asked[-1]), None if answered is None else bounded(answered)


def bounded(text: str) -> str:
    """The text. Answers 422 where it is too long to be judged."""
    if len(text) > LONGEST_TEXT:
        raise HTTPException(422, f"a text of {len(text)} characters is too long to be judged; the limit is {LONGEST_TEXT}")
    return text
