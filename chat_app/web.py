"""The FastAPI parent: who is asking, which origins may, security headers, and one mount for each page.

Each page is an application of its own under its own path, so that a guard stands before all its routes. Knows nothing
of what the pages show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_app import exports, oidc, sign_in
from chat_app.doorkeeper import DOORS, Doorkeeper
from chat_app.reception import Reception
from chat_app.services import Services
from chat_app.ui import chat, frame, people, review, wheel, words

PAGES: dict[str, Callable[[Services], gr.Blocks]] = {
    "/chat": chat.build,
    "/review": review.build,
    "/wheel": wheel.build,
    "/people": people.build,
}
"""Each behind its door (`doorkeeper.DOORS`), with a mount and a queue of its own."""

READING_SECONDS = 0.2
"""In which a browser surely has read what was sent to it; longer on a slow line, where a click may still get lost."""

QUEUE_SECONDS = 0.02
"""How long an event may lie in a page's queue before it is seen."""

HEADERS = {
    # Gradio's pages start with inline scripts; everything else comes from this address only
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    # with no-referrer, a browser would hide its own page's origin from the guard when a form is posted
    b"referrer-policy": b"same-origin",
    # nginx before the app would otherwise keep an answer back that is still being written
    b"x-accel-buffering": b"no",
}


class SecurityHeaders:
    """Add the headers to every answer; pure ASGI, so that streams stay streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS.items()]
            await send(message)

        await self._app(scope, receive, sender if scope["type"] == "http" else send)


class EventsAfterClosing:
    """Answer a new event only when the browser has had time to read that the stream of the earlier ones is closed.

    Gradio's page opens no new stream while it takes the old one to be open: an event begun in that moment would run, but the page
    would never hear of it, and the button that was clicked would stay dead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._closed = app, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stream(message: Message) -> None:
            if b'"close_stream"' in message.get("body", b""):
                self._closed = time.monotonic()
            await send(message)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._closed + READING_SECONDS - time.monotonic())
            await send(message)

        path = scope["path"] if scope["type"] == "http" else ""
        sender = stream if path.endswith("/queue/data") else answer if path.endswith("/queue/join") else send
        await self._app(scope, receive, sender)


class OriginGuard:
    """Refuse what changes something when another site's page asks for it."""

    def __init__(self, app: ASGIApp, allowed: tuple[str, ...]) -> None:
        self._app, self._allowed = app, set(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
            if origin and origin not in self._allowed:
                await Response("another site may not do this", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_app(services: Services, status: Callable[[], dict[str, Any]]) -> FastAPI:
    """The whole web app. `status` says what is ready and what is still loading; it is served at /healthz."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.model.aclose()
        await services.rails.aclose()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    settings, reception = services.settings, Reception(services.settings, services.store.database)
    app.add_middleware(EventsAfterClosing)
    app.add_middleware(Doorkeeper, reception=reception)
    origins = settings.origins
    app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_credentials=True, allow_methods=["GET", "POST"])
    app.add_middleware(OriginGuard, allowed=origins)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))  # a foreign name for this machine is refused
    app.add_middleware(SecurityHeaders)

    @app.api_route("/", methods=["GET", "HEAD"])
    def home(request: Request) -> RedirectResponse:
        person = reception.person(request)
        if person is None:  # to sign in without a way on: that leads here again, and then to a door that is theirs
            return RedirectResponse("/account" if reception.session(request) else "/sign-in")
        doors = [door for door, role in DOORS.items() if person.may(role)]
        return RedirectResponse(f"{doors[0] if doors else '/chat'}/")

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    def health() -> JSONResponse:
        return JSONResponse(status())

    @app.api_route("/favicon.ico", methods=["GET", "HEAD"])
    def icon() -> Response:
        return Response(frame.FAVICON, media_type="image/svg+xml")

    app.include_router(sign_in.routes(reception))
    app.include_router(exports.router(services))
    if settings.provider is not None:
        app.router.routes.extend(oidc.routes(reception, settings.provider))
    for path, build in PAGES.items():
        mount(app, build(services), path, reception)
    return app


def mount(app: FastAPI, page: gr.Blocks, path: str, reception: Reception) -> None:
    """Put one page under its path with its guard, and without anything that stores or shares."""

    def who(request: Request) -> str | None:
        person = reception.person(request)
        return person.name if person is not None and person.may(DOORS[path]) else None

    page.max_threads = 256  # before queue(): a mounted app otherwise runs at most 40 events at once
    page.queue(default_concurrency_limit=16, max_size=256, api_open=False)
    # Gradio's queue looks for work a thousand times a second, on every page, all day: a tenth of a core for nothing
    page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free = QUEUE_SECONDS, QUEUE_SECONDS
    gr.mount_gradio_app(
        app,
        page,
        path=path,
        auth_dependency=who,
        show_error=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        max_file_size="200mb",
        theme=frame.THEME,
        css_paths=frame.CSS,
        head=frame.HEAD,
        i18n=words.STATIC,
    )
