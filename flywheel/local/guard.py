"""What is turned away before any route sees it: web pages, strange hosts, and bodies too large.

The platform has no sign-in, since only this machine reaches it; but a browser on this machine runs other people's pages, and
these must not upload training data. Knows headers and sizes; knows no route.
"""

from __future__ import annotations

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flywheel.local.answers import refuse

BODY_LIMIT = 256 * 2**20
"""Largest request body in bytes: one commit carries all its files, and base64 makes them a third larger."""

_HOSTS = ("127.0.0.1", "localhost")


class Guard:
    """Answers 403 to web pages, 421 to hosts that are not this machine, 413 to bodies over BODY_LIMIT; else passes on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at the headers, then count what is read of the body."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        # Browsers add it to every request that a page makes and cannot be told not to; no client of ours sends it.
        if b"origin" in headers:
            return await refuse(403, "web pages may not call the platform; call it from a program")(scope, receive, send)
        # A page whose name was made to mean this machine comes without an origin when it reads.
        host = headers.get(b"host", b"").decode("latin-1")
        if host.partition(":")[0] not in _HOSTS:
            return await refuse(421, f"the platform does not answer for the host {host[:100]!r}; use 127.0.0.1")(
                scope, receive, send
            )
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > BODY_LIMIT:
            return await refuse(413, _too_large())(scope, receive, send)
        await self._app(scope, _counted(receive), send)


def _counted(receive: Receive) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_LIMIT:
            raise HTTPException(413, _too_large())
        return message

    return counted


def _too_large() -> str:
    return f"the body is over {BODY_LIMIT // 2**20} MiB; send fewer or smaller files in one request"
