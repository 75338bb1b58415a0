"""Whatever a model writes as arguments, a tool answers with a result or an error that was thought of."""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import OpenMeteo
from tools import TOOLS, Tool, ToolArgumentError, ToolContext

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
EVERY = pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
SEEDS = (
    "2+2", "15% of 80", "sqrt(", "9**9**9", "km", "celsius", "m**2", "µm", "EUR", "euros", "Paris, Texas", "São Paulo", "la",
    "France",
    "today", "friday", "2026-02-30", "9999-12-31", "0001-01-01", "in 999 weeks", "next", "3 pm", "24:00", "A1002", "' OR 1=1 --",
    "../../etc/passwd", "<script>", "{{7*7}}", "\x00", "\u202e", "\ud800", "ﷺ", "½", "٣", "İ", "ß",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(SEEDS), st.text(max_size=60), st.lists(st.sampled_from(SEEDS), max_size=3).map(" ".join))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def plausible(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the right type, so that hostile ones get past the check of types and into the tool."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "string":
        return TEXTS
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)


def calls(tool: Tool) -> st.SearchStrategy[dict[str, Any]]:
    properties = tool.parameters["properties"]
    required = {name: plausible(properties[name]) for name in tool.parameters["required"]}
    return st.fixed_dictionaries(
        required, optional={name: plausible(properties[name]) for name in properties if name not in required}
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "home"


@EVERY
def test_right_types_with_hostile_values(tool: Tool, home: Path) -> None:
    context = ToolContext("eve", home, now=lambda: NOW, transport=OpenMeteo())
    outcomes = set()

    @QUICK
    @given(calls(tool))
    def run(arguments: dict[str, Any]) -> None:
        result = asyncio.run(tool.run(arguments, context))
        assert (result.content is None) != (result.error is None)
        assert "unexpectedly" not in (result.error or ""), (arguments, result.error)
        assert "given up" not in (result.error or ""), (arguments, result.error)
        assert str(home) not in (result.error or "")
        assert "Traceback" not in (result.error or "")
        assert len(result.text.encode()) <= 8 * 1024
        assert result.content is None or result.content["summary"].strip()
        outcomes.add(result.error is None)

    run()
    assert outcomes


@EVERY
def test_anything_at_all_is_checked_without_an_accident(tool: Tool) -> None:
    names = st.sampled_from([*tool.parameters["properties"], "context", "self", ""])

    @settings(QUICK, max_examples=150)
    @given(ANYTHING | st.dictionaries(names, ANYTHING, max_size=4))
    def check(arguments: object) -> None:
        with contextlib.suppress(ToolArgumentError):
            checked = tool.validate(arguments)
            assert set(checked) <= set(tool.parameters["properties"])

    check()


@EVERY
def test_the_schema_and_the_check_agree(tool: Tool) -> None:
    """A call that the schema allows runs, and one that it forbids does not."""
    validator = jsonschema.Draft202012Validator(dict(tool.parameters))

    @QUICK
    @given(calls(tool) | st.dictionaries(st.sampled_from([*tool.parameters["properties"], "more"]), ANYTHING, max_size=4))
    def compare(arguments: dict[str, Any]) -> None:
        floats = [value for value in arguments.values() if isinstance(value, float)]
        if any(not math.isfinite(value) or value.is_integer() for value in floats) or "\\ud800" in repr(arguments):
            return  # no JSON, or no text; and 3.0 is an integer to JSON Schema
        try:
            tool.validate(arguments)
            accepted = True
        except ToolArgumentError:
            accepted = False
        assert accepted == validator.is_valid(arguments), arguments

    compare()
