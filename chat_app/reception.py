"""Who is asking: the person behind a request's cookie, or the one local person where no sign-in is needed.

Looks in the store each time, so that a role taken away, a disabled account or an ended session counts from that moment. Knows
cookies and sessions; knows nothing of what the person wants.
"""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.responses import Response

from chat_app.settings import Settings
from flywheel.database import Database
from flywheel.people import LOCAL_PERSON, People, Person
from flywheel.sessions import LONGEST, Session, Sessions

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Reception:
    """Knows everybody who may come in."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.people = settings, People(database)
        self.sessions = Sessions(database, self.people)
        self.key = database.secret("cookie_key")
        # with the prefix, a browser takes the cookie from this very host over https only
        self._cookie = "__Host-flywheel_session" if settings.secure_cookies else "flywheel_session"

    @property
    def asks_for_sign_in(self) -> bool:
        """Whether people must sign in: as soon as some are defined, or somebody else than this machine could reach the app."""
        return not self.settings.private or self.people.any()

    def person(self, request: HTTPConnection) -> Person | None:
        """Who may act; None for nobody, and for somebody who must choose a password first."""
        if not self.asks_for_sign_in:
            return None if self._came_through_a_proxy(request) else LOCAL_PERSON
        session = self.session(request)
        return None if session is None or session.one_time else session.person

    def session(self, request: HTTPConnection) -> Session | None:
        """The session of the request's browser."""
        token = self.token(request)
        return self.sessions.find(token) if token else None

    def token(self, request: HTTPConnection) -> str | None:
        """The secret in the browser's cookie."""
        return request.cookies.get(self._cookie)

    def remember(self, response: Response, token: str) -> None:
        """Give the browser the session's cookie."""
        response.set_cookie(
            self._cookie,
            token,
            max_age=int(LONGEST.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self.settings.secure_cookies,
        )

    def forget(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(self._cookie, httponly=True, samesite="lax", secure=self.settings.secure_cookies)

    @staticmethod
    def _came_through_a_proxy(request: HTTPConnection) -> bool:
        """A proxy may bring anybody, so what it brings is not the local person."""
        return any(name in request.headers for name in FORWARDED)
