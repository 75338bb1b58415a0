"""The body of a commit as huggingface_hub sends it: one JSON object a line, file contents in base64.

Knows that format and stages the contents it carries, one at a time, so that a large commit never lies in memory as a whole.
Knows neither the repo it is for nor HTTP's answers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from flywheel.local.blobs import Blobs, Staged
from flywheel.local.repos import check_path

_LONGEST_TEXT = 4000


@dataclass
class CommitPlan:
    """What a commit asks for: contents by path, what to delete (folders end in `/`), its words, and the commit it must follow."""

    title: str = "Commit"
    message: str = ""
    parent: str | None = None
    staged: dict[str, Staged] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


async def read_commit(body: AsyncIterator[bytes], blobs: Blobs) -> CommitPlan:
    """Read a commit and stage its files. Raises HTTPException 422, BadName or OSError, and then leaves nothing staged."""
    plan = CommitPlan()
    try:
        async for line in _lines(body):
            await run_in_threadpool(_take, line, plan, blobs)
    except BaseException:
        for content in plan.staged.values():
            blobs.discard(content)
        raise
    return plan


async def _lines(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pending = bytearray()
    async for chunk in body:
        # Only the new chunk is searched: a file of many megabytes is one line.
        *whole, rest = chunk.split(b"\n")
        for end in whole:
            pending += end
            if pending.strip():
                yield bytes(pending)
            pending.clear()
        pending += rest
    if pending.strip():
        yield bytes(pending)


def _take(line: bytes, plan: CommitPlan, blobs: Blobs) -> None:
    try:
        entry = json.loads(line)
        key, value = entry["key"], entry["value"]
        path = value.get("path", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HTTPException(422, 'every line of a commit must be JSON like {"key": "file", "value": {"path": ...}}') from None
    if key == "header":
        _take_header(value, plan)
    elif key == "file" and isinstance(path, str):
        content = blobs.stage(_content(value, check_path(path)))
        if earlier := plan.staged.pop(path, None):
            blobs.discard(earlier)
        plan.staged[path] = content
    elif key in ("deletedFile", "deletedFolder") and isinstance(path, str):
        name = check_path(path.rstrip("/"))
        plan.deleted.append(name + "/" if key == "deletedFolder" else name)
    else:
        raise HTTPException(422, f"a commit cannot hold {str(key)[:40]!r} here; send files as 'file' with base64 content")


def _take_header(value: dict[str, Any], plan: CommitPlan) -> None:
    plan.title = str(value.get("summary") or plan.title)[:_LONGEST_TEXT]
    plan.message = str(value.get("description") or "")[:_LONGEST_TEXT]
    parent = value.get("parentCommit")
    plan.parent = str(parent) if parent else None


def _content(value: dict[str, Any], path: str) -> bytes:
    content, encoding = value.get("content"), value.get("encoding", "utf-8")
    try:
        if isinstance(content, str) and encoding == "base64":
            return base64.b64decode(content, validate=True)
        if isinstance(content, str) and encoding == "utf-8":
            return content.encode()
    except (binascii.Error, ValueError):
        pass
    raise HTTPException(422, f"the content of {path!r} cannot be read; send it as base64")
