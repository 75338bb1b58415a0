"""Signing in with an organisation's account, against a provider on loopback: who comes of it, and what is not believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat_app.oidc import roles_in
from chat_app.settings import IdentityProvider
from tests.chat_app.people_room import COOKIE, Room, running
from tests.fakes import OpenIdProvider, ScriptedNim


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider() as opened:
        yield opened


@pytest.fixture(scope="module")
def room(provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    configured = IdentityProvider(provider.issuer, *provider.CLIENT)
    with ScriptedNim() as nim, running(tmp_path_factory.mktemp("oidc") / "home", nim, provider=configured) as opened:
        yield opened


def walk(client: httpx.Client, provider: OpenIdProvider, target: str = "/chat/") -> httpx.Response:
    """To the provider and back."""
    sent = client.get("/sign-in/oidc", params={"next": target})
    assert sent.status_code == 302 and sent.headers["location"].startswith(f"{provider.issuer}/authorize?")
    return client.get(provider.authorize(sent.headers["location"]))


def test_a_person_comes_into_being_and_keeps_to_the_provider_s_word(room: Room, provider: OpenIdProvider) -> None:
    with room.client() as client:
        assert client.get("/chat/config").status_code == 401, "though nobody is defined"
        form = client.get("/sign-in?next=/chat/").text
        assert 'href="/sign-in/oidc?next=%2Fchat%2F"' in form and 'type="password"' not in form
        back = walk(client, provider)
        assert (back.status_code, back.headers["location"]) == (303, "/chat/") and COOKIE in back.cookies
        assert "flywheel_oidc" not in client.cookies, "the way is forgotten"
        assert client.get("/chat/config").status_code == 200 and client.get("/wheel/config").status_code == 403
        assert "Ann Miller" in client.get("/account").text and "Change your password" not in client.get("/account").text
    (account,) = room.people.all()
    assert account.name.startswith("ann-miller-") and account.provider
    provider.claims |= {"name": "Ann Jones", "roles": ["developer", "janitor"]}
    with room.client() as client:
        walk(client, provider, "//evil.example")
        assert client.get("/wheel/config").status_code == 200 and client.get("/chat/config").status_code == 403
    assert [one.roles for one in room.people.all()] == [{"developer"}]
    room.people.disable(account.name, by="test")
    with room.client() as client:
        refused = walk(client, provider)
        assert refused.status_code == 403 and "disabled" in refused.text and COOKIE not in client.cookies
    room.people.enable(account.name, by="test")


@pytest.mark.parametrize(
    "wrong",
    [{"nonce": "another"}, {"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1}, {"iat": 1, "exp": 2}, None],
    ids=["nonce", "audience", "issuer", "expired", "old", "key"],
)
def test_a_token_that_is_not_believed(room: Room, provider: OpenIdProvider, wrong: dict[str, Any] | None) -> None:
    provider.wrong, provider.foreign_key = wrong or {}, wrong is None
    try:
        with room.client() as client:
            back = walk(client, provider)
            assert back.status_code == 502 and "did not work" in back.text and COOKIE not in client.cookies
    finally:
        provider.wrong, provider.foreign_key = {}, False


def test_somebody_else_s_way_is_not_walked(room: Room, provider: OpenIdProvider) -> None:
    with room.client() as mine, room.client() as thief:
        sent = mine.get("/sign-in/oidc").headers["location"]
        back = provider.authorize(sent)
        assert thief.get(back).status_code == 502, "another browser's state"
        assert mine.get(back.replace("state=", "state=x")).status_code == 502
        assert mine.get("/sign-in/oidc/back?error=access_denied").status_code == 502
        walked = walk(mine, provider)
        assert walked.status_code == 303
        assert mine.get(str(walked.url)).status_code == 502, "once"


def test_a_provider_that_is_away(tmp_path: Path) -> None:
    nowhere = IdentityProvider("http://127.0.0.1:9", *OpenIdProvider.CLIENT)
    with ScriptedNim() as nim, running(tmp_path / "home", nim, provider=nowhere) as room, room.client() as client:
        assert client.get("/sign-in/oidc").status_code == 502


@pytest.mark.parametrize(
    ("claims", "path", "roles"),
    [
        ({"roles": ["reviewer", "x"]}, "roles", {"reviewer"}),
        ({"roles": "developer end_user"}, "roles", {"developer", "end_user"}),
        ({"realm_access": {"roles": ["developer"]}}, "realm_access.roles", {"developer"}),
        ({"https://example.org/roles": ["reviewer"]}, "https://example.org/roles", {"reviewer"}),
        ({"roles": [{"developer": 1}, 7, None]}, "roles", set()),
        ({"roles": {"developer": True}}, "roles", set()),
        ({}, "realm_access.roles", set()),
    ],
)
def test_roles_in_a_claim(claims: dict[str, Any], path: str, roles: set[str]) -> None:
    assert roles_in(claims, path) == roles
