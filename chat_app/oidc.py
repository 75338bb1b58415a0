"""Signing in with an organisation's account, by OpenID Connect: code flow with state, nonce and PKCE, through Authlib.

The provider says who somebody is and, at every sign-in, which roles they have. Knows the protocol's two steps; the session that
comes of it is the reception's.
"""

from __future__ import annotations

import logging
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client._compat import httpx2 as http  # httpx2 or httpx, whichever Authlib found
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from chat_app import plain_page
from chat_app.reception import Reception
from chat_app.settings import IdentityProvider
from chat_app.sign_in import browser_of, local_path
from chat_app.ui.words import spoken_by
from flywheel.errors import Conflict
from flywheel.people import ROLES, Account, Role

FAILED = "Signing in with your organisation did not work. Try again, or ask whoever runs this chat."
MINUTES = 10
BACK = "/sign-in/oidc/back"
TROUBLES = (AuthlibBaseError, JoseError, http.HTTPError, RuntimeError, ValueError, KeyError)
"""What Authlib raises for a provider that cannot be reached, or a reply that is not what was asked for."""
_log = logging.getLogger(__name__)


class Oidc:
    """Both steps. `request.session` holds what the second must know of the first, in a signed cookie for some minutes."""

    def __init__(self, reception: Reception, provider: IdentityProvider) -> None:
        self._reception, self._provider = reception, provider
        self._client: Any = OAuth().register(
            "provider",
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            server_metadata_url=f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "timeout": 10},
        )

    async def begin(self, request: Request) -> Response:
        """Send the person to the provider."""
        request.session.clear()
        request.session["next"] = local_path(request.query_params.get("next"))
        try:
            response: Response = await self._client.authorize_redirect(request, f"{self._reception.settings.address}{BACK}")
        except TROUBLES as error:
            return self._failed(request, error)
        return response

    async def back(self, request: Request) -> Response:
        """The person comes back with a code, for which the provider says who they are."""
        target = local_path(request.session.get("next"))
        try:
            claims = await self._claims(request)
            account = await run_in_threadpool(self._account, claims)
        except TROUBLES as error:
            return self._failed(request, error)
        except Conflict as error:
            words = spoken_by(request)
            return HTMLResponse(plain_page.message(words, words("not_for_you"), words.sentence(str(error))), 403)
        finally:
            request.session.clear()
        token = await run_in_threadpool(self._reception.sessions.begin, account, browser_of(request))
        response = RedirectResponse(target, 303)
        self._reception.remember(response, token)
        return response

    async def _claims(self, request: Request) -> dict[str, Any]:
        """What the provider has signed. Raises one of TROUBLES."""
        metadata = await self._client.load_server_metadata()
        issuer = metadata.get("issuer", "")
        if issuer.rstrip("/") != self._provider.issuer.rstrip("/"):
            raise ValueError(f"the provider calls itself {issuer!r}, not {self._provider.issuer!r}")
        wanted = {"iss": {"values": [issuer]}, "aud": {"values": [self._provider.client_id]}}
        token = await self._client.authorize_access_token(request, claims_options=wanted)
        return dict(token["userinfo"])  # of the ID token, whose signature, nonce, audience and time were checked

    def _account(self, claims: dict[str, Any]) -> Account:
        shown = str(claims.get("name") or claims.get("preferred_username") or claims.get("email") or "")
        roles = roles_in(claims, self._provider.roles_claim)
        return self._reception.people.from_provider(self._provider.issuer, str(claims["sub"]), shown, roles)

    def _failed(self, request: Request, error: BaseException) -> Response:
        _log.warning("sign-in at the identity provider failed: %s: %s", type(error).__name__, error)
        words = spoken_by(request)
        return HTMLResponse(plain_page.message(words, words("sign_in"), words.sentence(FAILED)), 502)


def roles_in(claims: dict[str, Any], path: str) -> frozenset[Role]:
    """The roles of ours that a claim names, as a list or as words; `realm_access.roles` leads into an object."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset(role for role in ROLES if role in words)


def routes(reception: Reception, provider: IdentityProvider) -> list[Route]:
    """Both steps' routes."""
    oidc = Oidc(reception, provider)
    cookie = Middleware(
        SessionMiddleware,
        secret_key=reception.key.hex(),
        session_cookie="flywheel_oidc",
        max_age=MINUTES * 60,
        path="/sign-in/oidc",
        https_only=reception.settings.secure_cookies,
    )
    return [Route("/sign-in/oidc", oidc.begin, middleware=[cookie]), Route(BACK, oidc.back, middleware=[cookie])]
