"""Signing in and out, and one's own account: plain pages and forms, and the session's cookie.

Another site's page cannot post here (the origin guard), and every failure reads the same. Knows people and sessions; knows
nothing of what they may do elsewhere.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from chat_app import plain_page
from chat_app.reception import Reception
from chat_app.ui.words import spoken_by
from flywheel.errors import Conflict, FlywheelError, InputError
from flywheel.sessions import WRONG, Session

HASHES_AT_ONCE, HASHES_WAITING = 2, 40
"""A password's check takes 46 MiB and a core for a moment, by intention."""
BUSY = "Many people are signing in right now. Try again in a minute."
NOBODY = "Nobody can sign in yet. Whoever runs this chat adds people with `flywheel people add NAME`."
LONGEST_FORM = 20_000
HOME = "/"


class Desk:
    """The routes' handlers."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._waiting = 0

    # in --------------------------------------------------------------------------------------------------------------

    async def form(self, request: Request) -> Response:
        """The page that asks for name and password; who is in already goes on."""
        target = local_path(request.query_params.get("next"))
        if await run_in_threadpool(self._reception.person, request) is not None:
            return RedirectResponse(target, 303)
        return await self._page(request, target)

    async def enter(self, request: Request) -> Response:
        """Take name and password."""
        fields = await form_fields(request)
        name, target = fields.get("name", ""), local_path(fields.get("next"))
        if self._waiting >= HASHES_WAITING:
            return await self._page(request, target, BUSY, name, 429)
        self._waiting += 1
        try:
            async with self._hashing:
                token = await run_in_threadpool(
                    self._reception.sessions.sign_in,
                    name,
                    fields.get("password", ""),
                    address=address_of(request),
                    browser=browser_of(request),
                )
        except InputError as error:
            return await self._page(request, target, str(error), name, 401)
        except Conflict as error:
            return await self._page(request, target, str(error), name, 429)
        finally:
            self._waiting -= 1
        response = RedirectResponse(target, 303)
        self._reception.remember(response, token)
        return response

    async def _page(self, request: Request, target: str, problem: str = "", name: str = "", status: int = 200) -> Response:
        people = await run_in_threadpool(self._reception.people.all)
        passwords = any(not account.provider for account in people)
        provider = self._reception.settings.provider is not None
        if not passwords and not provider:
            problem = NOBODY
        words = spoken_by(request)
        text = plain_page.sign_in(words, target, words.sentence(problem), name=name, passwords=passwords, provider=provider)
        return HTMLResponse(text, status)

    # out -------------------------------------------------------------------------------------------------------------

    async def leave(self, request: Request) -> Response:
        """Sign out of this browser."""
        token = self._reception.token(request)
        if token:
            await run_in_threadpool(self._reception.sessions.end, token)
        return self._out()

    async def leave_everywhere(self, request: Request) -> Response:
        """End all of the person's sessions."""
        session = await self._session(request)
        if session is not None:
            await run_in_threadpool(self._reception.people.sign_out, session.person.name, by=session.person.name)
        return self._out()

    def _out(self) -> Response:
        response = RedirectResponse("/sign-in", 303)
        self._reception.forget(response)
        return response

    # the account -----------------------------------------------------------------------------------------------------

    async def account(self, request: Request) -> Response:
        """The person's own page."""
        session = await self._session(request)
        return RedirectResponse(HOME, 303) if session is None else await self._account_page(request, session)

    async def change_password(self, request: Request) -> Response:
        """Give oneself a new password; the present one is asked for, and counted like a sign-in."""
        session, fields = await self._session(request), await form_fields(request)
        if session is None:
            return RedirectResponse(HOME, 303)
        if fields.get("new") != fields.get("again"):
            return await self._account_page(request, session, "The two new passwords differ.", 400)
        if fields.get("new") == fields.get("password"):
            return await self._account_page(request, session, "The new password is the present one; choose another.", 400)
        try:
            async with self._hashing:
                token = await run_in_threadpool(self._changed, session.person.name, fields, request)
        except FlywheelError as error:
            problem = "The present password is wrong." if str(error) == WRONG else str(error)
            return await self._account_page(request, session, problem, 400)
        fresh = await run_in_threadpool(self._reception.sessions.find, token)
        if fresh is None:  # ended by somebody else in between
            return RedirectResponse(HOME, 303)
        response = await self._account_page(request, fresh, done="Your password is changed.")
        self._reception.remember(response, token)
        return response

    def _changed(self, name: str, fields: dict[str, str], request: Request) -> str:
        """Change a password; all sessions end with it, and a new one begins here."""
        people, sessions = self._reception.people, self._reception.sessions
        sessions.checked(name, fields.get("password", ""), address=address_of(request))
        people.set_password(name, fields.get("new", ""), by=name)
        return sessions.begin(people.find(name), browser_of(request))

    async def end_session(self, request: Request) -> Response:
        """End one of the person's other sessions."""
        session, fields = await self._session(request), await form_fields(request)
        if session is not None:
            await run_in_threadpool(self._reception.sessions.end_one, session.person.name, fields.get("session", ""))
        return RedirectResponse("/account", 303)

    async def _account_page(
        self, request: Request, session: Session, problem: str = "", status: int = 200, done: str = ""
    ) -> Response:
        sessions, words = await run_in_threadpool(self._reception.sessions.of, session.person.name), spoken_by(request)
        problem = words.sentence(problem)
        text = plain_page.account(words, session, sessions, problem[:1].upper() + problem[1:], words.sentence(done))
        return HTMLResponse(text, status)

    async def _session(self, request: Request) -> Session | None:
        return await run_in_threadpool(self._reception.session, request)


def routes(reception: Reception) -> APIRouter:
    """All of it."""
    desk, router = Desk(reception), APIRouter()
    router.add_api_route("/sign-in", desk.form, methods=["GET", "HEAD"])
    router.add_api_route("/sign-in", desk.enter, methods=["POST"])
    router.add_api_route("/sign-out", desk.leave, methods=["POST"])
    router.add_api_route("/sign-out-everywhere", desk.leave_everywhere, methods=["POST"])
    router.add_api_route("/account", desk.account, methods=["GET", "HEAD"])
    router.add_api_route("/account", desk.change_password, methods=["POST"])
    router.add_api_route("/account/session", desk.end_session, methods=["POST"])
    return router


def local_path(target: str | None) -> str:
    """Where to go after signing in: a path of ours, or home. Browsers read a backslash, and two slashes, as another site."""
    if not target or not target.startswith("/") or target.startswith(("//", "/sign-", "/\\")) or len(target) > 500:
        return HOME
    clean = target.isprintable() and target.isascii() and "\\" not in target and not urlsplit(target).netloc
    return target if clean else HOME


def address_of(request: Request) -> str:
    """The address that the request came from; behind a proxy that is ours, the one that the proxy names."""
    return request.client.host if request.client else ""


def browser_of(request: Request) -> str:
    """What the browser says of itself."""
    return request.headers.get("user-agent", "")


async def form_fields(request: Request) -> dict[str, str]:
    """The text fields of a form of ours; of anything too long or of another kind, none."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > LONGEST_FORM:
        return {}
    async with request.form(max_files=0, max_fields=10) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}
