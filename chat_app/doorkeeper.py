"""The doorkeeper before all routes: nobody gets past without a sign-in, and behind a page's door only with its role.

Whatever is not named here as open needs a sign-in; of Gradio's own routes only those pass that a page needs. Knows paths and
roles; knows nothing of what lies behind a door.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_app import plain_page
from chat_app.guard import ENDED
from chat_app.reception import Reception
from chat_app.ui.words import spoken_by
from flywheel.people import Person, Role

DOORS: dict[str, Role] = {"/chat": "end_user", "/review": "reviewer", "/wheel": "developer", "/people": "developer"}
OPEN = ("/", "/healthz", "/favicon.ico", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/back", "/sign-out")
ACCOUNT = ("/account", "/sign-out-everywhere")
"""For whoever is signed in, with a password that must be changed too."""

NEEDED = ("", "config", "theme.css", "gradio_api/app_id")
NEEDED_FOLDERS = ("assets/", "static/")
EVENTS = (
    "gradio_api/run/predict", "gradio_api/queue/join", "gradio_api/queue/data", "gradio_api/cancel", "gradio_api/heartbeat/",
)  # fmt: skip
FILES = {"/wheel": ("gradio_api/upload", "gradio_api/upload_progress")}
"""Beyond that, which pages take files. None gives any out."""

FIRST = "Choose a password of your own first."

LONGEST_EVENT = 5_000_000
"""Bytes; a form or a conversation is far below."""
REMEMBERED_TABS = 50_000


class Doorkeeper:
    """Pure ASGI, so that streams stay streams."""

    def __init__(self, app: ASGIApp, reception: Reception) -> None:
        self._app, self._reception = app, reception
        self._tabs: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no page speaks over websockets
        scope = self._as_published(scope)
        scope.setdefault("state", {})["reception"] = self._reception
        request, path = Request(scope), scope["path"]
        if path in OPEN:
            await self._app(scope, receive, send)
            return
        person = await run_in_threadpool(self._reception.person, request)
        refusal = await run_in_threadpool(self._refusal, request, path, person)
        if refusal is None and person is not None:
            receive, refusal = await self._own_tab(request, receive, person)
        await (refusal or self._app)(scope, receive, send)

    def _as_published(self, scope: Scope) -> Scope:
        """The request with the scheme that people use. Gradio makes its addresses of it, and of headers that anybody may send."""
        settings = self._reception.settings
        if settings.private:
            return scope
        kept = [one for one in scope["headers"] if one[0] not in (b"x-forwarded-host", b"x-forwarded-proto")]
        return {**scope, "scheme": settings.address.partition(":")[0], "headers": kept}

    def _refusal(self, request: Request, path: str, person: Person | None) -> Response | None:
        """What somebody hears who may not pass; None lets them."""
        door = next((door for door in DOORS if path == door or path.startswith(f"{door}/")), None)
        if person is None:
            waiting = self._reception.session(request)
            if waiting is None:
                return _to_sign_in(request)
            return None if path in ACCOUNT else _elsewhere(request, "/account", spoken_by(request).sentence(FIRST))
        if door is None:
            return None
        if not person.may(DOORS[door]):
            return self._lacking(request, DOORS[door])
        if path == door:
            return RedirectResponse(f"{door}/", 307)
        return None if _needed(door, path.removeprefix(f"{door}/")) else _said("Not Found", 404)

    def _lacking(self, request: Request, role: Role) -> Response:
        """Say whom to ask for a role."""
        words = spoken_by(request)
        text = words(f"may_not_{role}")
        if not _navigates(request):
            return _said(text, 403)
        able = [account.display_name for account in self._reception.people.developers()]
        ask = words("ask_for_it", who=f" {words('or')} ".join(able[:3])) if able else words("ask_whoever")
        return HTMLResponse(plain_page.message(words, words("not_for_you"), f"{text} {ask}"), 403)

    async def _own_tab(self, request: Request, receive: Receive, person: Person) -> tuple[Receive, Response | None]:
        """Let nobody join, read or cancel what another person's open page has under way.

        Gradio knows a page by a number that the page makes up itself; the first person to use one keeps it.
        """
        path = request.scope["path"].partition("/gradio_api/")[2]
        if not path.startswith(("run/", "queue/", "cancel", "heartbeat/")):
            return receive, None
        if path.startswith("heartbeat/"):
            tab: Any = path.removeprefix("heartbeat/")
        elif request.method == "GET":
            tab = request.query_params.get("session_hash")
        else:
            body = await _body(receive)
            if body is None:
                return receive, _said("That is too long.", 413)
            receive, tab = _again(body, receive), _session_hash(body)
        if isinstance(tab, str) and tab and self._tabs.setdefault(tab, person.name) != person.name:
            return receive, _said(spoken_by(request).sentence(ENDED), 403)
        if len(self._tabs) > REMEMBERED_TABS:
            self._tabs.popitem(last=False)
        return receive, None


def _needed(door: str, path: str) -> bool:
    """Whether a page needs this route of Gradio's."""
    wanted = (*NEEDED, *EVENTS, *FILES.get(door, ()))
    return path in wanted or path.startswith((*NEEDED_FOLDERS, EVENTS[-1]))


def _navigates(request: Request) -> bool:
    """Whether a person opens a page, and not a script something behind it."""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")


def _to_sign_in(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return _elsewhere(request, f"/sign-in?next={quote(request.scope['path'] + query)}", spoken_by(request).sentence(ENDED))


def _elsewhere(request: Request, target: str, text: str) -> Response:
    return RedirectResponse(target, 303) if _navigates(request) else _said(text, 401)


def _said(text: str, status: int) -> Response:
    """For a script. Gradio's shows `detail` of some events and `error` of others."""
    return JSONResponse({"detail": text, "error": text}, status)


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None where it is too long."""
    body = b""
    while True:
        message = await receive()
        more: bytes = message.get("body", b"")
        body += more
        if len(body) > LONGEST_EVENT:
            return None
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand a body that was read to the next who reads."""
    read = False

    async def first() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first


def _session_hash(body: bytes) -> Any:
    try:
        return json.loads(body).get("session_hash")
    except (ValueError, AttributeError, RecursionError):
        return None  # Gradio will complain about it
