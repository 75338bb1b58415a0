"""A person at a fixed moment: Tuesday 24 November 2026, 14:00 in Berlin, with an empty home folder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes import OpenMeteo
from tools import TOOLS, ToolContext, ToolResult

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=ZoneInfo("Europe/Berlin"))
Call = Callable[..., ToolResult]


@pytest.fixture
def service() -> OpenMeteo:
    """The weather service that the context reaches."""
    return OpenMeteo()


@pytest.fixture
def context(tmp_path: Path, service: OpenMeteo) -> ToolContext:
    return ToolContext(person="ann", home=tmp_path / "home", now=lambda: NOW, transport=service)


@pytest.fixture
def call(context: ToolContext) -> Call:
    """call(name, **arguments) runs a tool the way the chat does."""

    def run(tool: str, in_context: ToolContext = context, /, **arguments: Any) -> ToolResult:
        return asyncio.run(TOOLS[tool].run(arguments, in_context))

    return run


@pytest.fixture
def ask(call: Call) -> Callable[..., dict[str, Any]]:
    """As `call`, for calls that succeed: the content, with a summary."""

    def run(tool: str, /, *args: Any, **arguments: Any) -> dict[str, Any]:
        result = call(tool, *args, **arguments)
        assert result.error is None, result.error
        assert result.content is not None
        assert next(iter(result.content)) == "summary" and result.content["summary"].strip()
        return result.content

    return run


@pytest.fixture
def refuse(call: Call) -> Callable[..., str]:
    """As `call`, for calls that a person can get wrong: the error, which must be one that was thought of."""

    def run(tool: str, /, *args: Any, **arguments: Any) -> str:
        result = call(tool, *args, **arguments)
        assert result.content is None
        assert result.error is not None
        assert "unexpectedly" not in result.error
        return result.error

    return run
