"""A tool: a typed Python function that a language model may call.

The signature and the docstring are the only source: they make the JSON Schema that the model reads, and the same types check the
call. Running keeps what a tool can do to the app within bounds: a time limit, a size limit, and no exception gets out.

Knows nothing of conversations, models, rails or web pages, and not which tools there are (see `tools.TOOLS`).
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
import re
import threading
import time
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

if TYPE_CHECKING:
    import httpx

TIME_LIMIT_S = 5.0
LOAD_LIMIT_S = 60.0
MAX_RESULT_BYTES = 8 * 1024
MAX_SUMMARY_LENGTH = 600

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ToolError(Exception):
    """The tool could not do it, for a reason that the person and the model may read: what, which, and what to do."""


class ToolArgumentError(ToolError):
    """The call does not fit the tool's schema. Names the argument and what it should have been."""


def _local_now() -> datetime:
    return datetime.now(UTC).astimezone()


@dataclass(frozen=True)
class ToolContext:
    """Who calls, and the world that the call happens in. The model neither sees nor sets it.

    person: whose data the tool reads and writes; any stable text.
    home: folder for the tools' databases; made with mode 0700 when first needed.
    now: gives the current moment, with the person's time zone; default: the machine's.
    dry_run: writing tools check everything and say what they would do, and write nothing.
    transport: the way to the network for tools that need one; None is the real network.
    """

    person: str
    home: Path
    now: Callable[[], datetime] = _local_now
    dry_run: bool = False
    transport: httpx.BaseTransport | None = None


@dataclass(frozen=True)
class ToolResult:
    """What came of a call: either `content` (a JSON object) or `error` (a sentence); never both. `duration_ms` is wall time.

    In the content, `summary` is what a person reads: one sentence that answers, made from the other values. It comes first.
    """

    content: dict[str, Any] | None
    error: str | None
    duration_ms: float

    @property
    def text(self) -> str:
        """The JSON text for the model's tool message: the content, or {"error": sentence}."""
        return json.dumps({"error": self.error} if self.content is None else self.content, ensure_ascii=False)


@dataclass(frozen=True)
class Tool:
    """One tool. Make it with `Tool.of`.

    name, description: what the model reads. title: one plain line for people. examples: questions that lead to this tool.
    writes: it changes something, so the person must agree first. parameters: the JSON Schema of its arguments.
    """

    name: str
    title: str
    description: str
    writes: bool
    examples: tuple[str, ...]
    parameters: Mapping[str, Any]
    time_limit_s: float = TIME_LIMIT_S
    _function: Callable[..., dict[str, Any]] = field(repr=False, kw_only=True)
    _arguments: type[BaseModel] = field(repr=False, kw_only=True)
    _takes_context: bool = field(repr=False, kw_only=True)
    _loads: Callable[[], object] | None = field(default=None, repr=False, kw_only=True)

    @classmethod
    def of(
        cls,
        function: Callable[..., dict[str, Any]],
        *,
        writes: bool = False,
        title: str,
        examples: tuple[str, ...],
        loads: Callable[[], object] | None = None,
    ) -> Tool:
        """Build a tool from a function with annotated parameters and a docstring that describes it and each of them.

        A first parameter named `context` receives the ToolContext and is no part of the schema. `loads` fetches data that the
        first call needs; the wait for it does not count against the time limit. Raises TypeError where the function lacks an
        annotation or a description.
        """
        doc = docstring_parser.parse(inspect.getdoc(function) or "")
        described = {param.arg_name: " ".join((param.description or "").split()) for param in doc.params}
        hints = typing.get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        takes_context = names[:1] == ["context"]
        fields: dict[str, Any] = {}
        for name in names[takes_context:]:
            if name not in hints or not described.get(name):
                raise TypeError(f"{function.__name__}: parameter {name!r} needs a type and a line in the docstring")
            fields[name] = _field(hints[name], inspect.signature(function).parameters[name].default, described[name])
        if not doc.short_description:
            raise TypeError(f"{function.__name__}: the docstring must begin with one line that says what the tool does")
        model = create_model(function.__name__, __config__=_STRICT, **fields)
        return cls(
            name=function.__name__,
            title=title,
            description=doc.short_description,
            writes=writes,
            examples=examples,
            parameters=_plain(model.model_json_schema()),
            _function=function,
            _arguments=model,
            _takes_context=takes_context,
            _loads=loads,
        )

    def load(self) -> None:
        """Load the data that the first call would otherwise wait for, if there is any."""
        if self._loads:
            self._loads()

    @property
    def schema(self) -> dict[str, Any]:
        """The tool in OpenAI shape; a fresh copy."""
        function = {"name": self.name, "description": self.description, "parameters": copy.deepcopy(dict(self.parameters))}
        return {"type": "function", "function": function}

    def validate(self, arguments: object) -> dict[str, Any]:
        """Check a call's arguments against the types, without converting (an integer passes for a float; "3" is no integer).

        Returns the arguments given, ready to run. Raises ToolArgumentError.
        """
        try:
            checked = self._arguments.model_validate(arguments).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise ToolArgumentError(self._readable(error)) from None
        for name, value in checked.items():
            if isinstance(value, str) and _HALF_CHARACTER.search(value):
                raise ToolArgumentError(f"{self.name}: argument {name!r} holds half a character, which is no text.")
        return checked

    async def run(self, arguments: object, context: ToolContext) -> ToolResult:
        """Validate and run the call in a thread of its own. Never raises, whatever the tool does: see ToolResult.

        A call that outlasts the time limit is left behind, in a thread that does not keep the app from stopping.
        """
        start = time.perf_counter()
        content: dict[str, Any] | None = None
        error: str | None = None
        try:
            checked = self.validate(arguments)
            if self._loads:
                await self._in_thread(self._loads, LOAD_LIMIT_S)
            content = await self._in_thread(lambda: _capped(self._call(checked, context)), self.time_limit_s)
        except ToolError as problem:
            error = str(problem)
        return ToolResult(content, error, (time.perf_counter() - start) * 1000)

    def _call(self, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
        return self._function(context, **arguments) if self._takes_context else self._function(**arguments)

    def _guarded(self, call: Callable[[], T]) -> T:
        """What the call returns; what it raises beyond ToolError goes to the log and comes out as a ToolError without details."""
        try:
            return call()
        except ToolError:
            raise
        except BaseException as problem:  # SystemExit too: whatever ends this thread must reach the caller as an answer
            _log.exception("tool %s failed", self.name)
            raise ToolError(
                f"{self.name} failed unexpectedly ({type(problem).__name__}). Try again or ask differently."
            ) from None

    async def _in_thread(self, call: Callable[[], T], limit_s: float) -> T:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T | ToolError] = loop.create_future()

        def settle(value: T | ToolError) -> None:
            if not outcome.done():
                outcome.set_result(value)

        def work() -> None:
            value: T | ToolError
            try:
                value = self._guarded(call)
            except ToolError as problem:
                value = problem
            try:
                loop.call_soon_threadsafe(settle, value)
            except RuntimeError:  # the app has stopped meanwhile: nobody waits for the answer
                _log.warning("tool %s answered after the app stopped", self.name)

        threading.Thread(target=work, name=f"tool-{self.name}", daemon=True).start()
        await asyncio.wait({outcome}, timeout=limit_s)
        if not outcome.done():
            outcome.cancel()
            _log.error("tool %s took longer than %s s", self.name, limit_s)
            raise ToolError(self._too_slow(limit_s))
        value = outcome.result()
        if isinstance(value, ToolError):
            raise value
        return value

    def _too_slow(self, limit_s: float) -> str:
        advice = "Check whether it was done before you try again." if self.writes else "Try again in a moment."
        return f"{self.name} took longer than {limit_s:g} seconds and was given up. {advice}"

    def _readable(self, error: ValidationError) -> str:
        names = ", ".join(self.parameters["properties"]) or "no arguments"
        lines = []
        for problem in error.errors(include_url=False, include_context=False)[:4]:
            where = _short(".".join(str(part) for part in problem["loc"]) or "arguments")
            if problem["type"] == "missing":
                lines.append(f"argument {where} is missing")
            elif problem["type"] == "extra_forbidden":
                lines.append(f"{where} is no argument of {self.name}, which takes {names}")
            elif problem["type"] == "model_type":
                lines.append(f"the arguments must be an object with {names}, not {_short(problem['input'])}")
            else:
                lines.append(f"argument {where}: {_decapitalised(problem['msg'])}, not {_short(problem['input'])}")
        return f"{self.name}: {'; '.join(lines)}."


# A lone surrogate comes out of JSON's \\u escapes, fits in a Python string, and breaks whatever encodes it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def _field(annotation: Any, default: Any, description: str) -> Any:
    """The pydantic field of one parameter.

    `X | None = None` becomes an optional X: a schema without anyOf is one that a small model and a form can read, and leaving an
    argument out is then the one way to leave it open.
    """
    if default is inspect.Parameter.empty:
        return (annotation, Field(description=description))
    if default is None and typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [part for part in typing.get_args(annotation) if part is not type(None)]
        annotation = typing.Union[tuple(kept)]  # noqa: UP007 - the parts are known at run time only
    return (annotation, Field(default=default, description=description))


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without what only pydantic needs: titles and null defaults."""
    properties = {}
    for name, value in schema.get("properties", {}).items():
        kept = {key: part for key, part in value.items() if key != "title" and (key, part) != ("default", None)}
        properties[name] = {"type": kept.pop("type"), **kept} if "type" in kept else kept
    return {"type": "object", "properties": properties, "required": schema.get("required", []), "additionalProperties": False}


def _capped(content: dict[str, Any]) -> dict[str, Any]:
    """The content as plain JSON, or, where it is too big for the model to read, its beginning with a mark that says so."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError):
        _log.exception("a tool's result is not JSON")
        raise ToolError("The tool gave a result that cannot be passed on. Try again or ask differently.") from None
    if size <= MAX_RESULT_BYTES:
        return typing.cast("dict[str, Any]", json.loads(text))
    keep = MAX_RESULT_BYTES
    mark = f"the result has {size} bytes; only its beginning is shown"
    summary = str(content.get("summary", ""))[:MAX_SUMMARY_LENGTH] or f"The result is too long to show: {mark}."
    while True:
        cut = {"summary": summary, "truncated": mark, "beginning": text[:keep]}
        excess = len(json.dumps(cut, ensure_ascii=False).encode()) - MAX_RESULT_BYTES
        if excess <= 0:
            return cut
        keep -= max(excess // 4, 1)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:].removesuffix(".")
