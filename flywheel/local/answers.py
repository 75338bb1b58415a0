"""How every service of the local platform says no: one JSON shape, the right status, nothing of its insides.

Knows the platform's own exceptions and the headers that clients react to. Knows no route.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from flywheel.local.repos import BadName, RepoMissing, RevisionMissing, Stale, Taken
from flywheel.local.state import Exists, Missing, NotJson, now

_FULL = "the disk that holds the platform's home is full; free some space and try again, nothing was written"
_BROKEN = "the platform failed at this request; its log says why"

DEEPEST = 100
"""Levels of a body: what is nested much deeper can be stored, but not be shown again."""

Model = TypeVar("Model", bound=BaseModel)


class EntryMissing(LookupError):
    """The repo has no file or folder of that path."""


_STATUS: dict[type[Exception], int] = {
    Exists: 409,
    Missing: 404,
    Taken: 409,
    Stale: 412,
    BadName: 422,
    NotJson: 422,
    RepoMissing: 404,
    RevisionMissing: 404,
    EntryMissing: 404,
}
# huggingface_hub chooses its exception by this header, not by the status.
_HUB_CODE: dict[type[Exception], str] = {
    RepoMissing: "RepoNotFound",
    RevisionMissing: "RevisionNotFound",
    EntryMissing: "EntryNotFound",
}


def refuse(
    status: int, detail: Any, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The answer `{"detail": ...}`, with `more` beside it. On 409 it asks NVIDIA's SDK not to try again."""
    once = {"x-should-retry": "false"} if status == 409 else {}
    # NVIDIA's clients read `detail`, huggingface_hub reads `error`.
    words = {"detail": detail, "error": detail} if isinstance(detail, str) else {"detail": detail}
    return JSONResponse({**words, **(more or {})}, status, {**(headers or {}), **once})


def checked(model: type[Model], body: Any) -> Model:
    """The body as that model, or a 422 that names each wrong field."""
    if _deeper(body, DEEPEST):
        problem = {"loc": ("body",), "msg": f"nested more than {DEEPEST} levels deep; flatten it", "type": "too_deep"}
        raise RequestValidationError([problem])
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]) from None


def _deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value has more levels than that; without recursion, which is what deep values break."""
    level = [value]
    for _ in range(levels):
        parts = [part for part in level if isinstance(part, dict | list)]
        level = [item for part in parts for item in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return False
    return True


def deleted(identity: str, what: str) -> dict[str, str]:
    """The body of an answer to DELETE."""
    return {"id": identity, "deleted_at": now(), "message": f"{what} was deleted"}


def install(app: FastAPI) -> None:
    """Make the app answer as described above."""
    for kind in _STATUS:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RecursionError, _deep)
    app.add_exception_handler(OSError, _os)
    app.add_exception_handler(sqlite3.OperationalError, _sqlite)
    # Starlette raises again after this one, and so the server logs the traceback that the client must not see.
    app.add_exception_handler(Exception, _broken)


def _known(_: Request, error: Exception) -> JSONResponse:
    code = _HUB_CODE.get(type(error))
    return refuse(_STATUS[type(error)], str(error), {"X-Error-Code": code} if code else None)


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return refuse(error.status_code, error.detail, dict(error.headers or {}))


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is left out: it may be long, or hostile to whoever prints it.
    return refuse(422, [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()])


def _deep(_: Request, error: Exception) -> JSONResponse:
    return refuse(422, "the body is nested too deeply")


def _os(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return refuse(507, _FULL)
    raise error


def _sqlite(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return refuse(507, _FULL)
    raise error


def _broken(_: Request, error: Exception) -> JSONResponse:
    return refuse(500, _BROKEN)
