"""The web app's settings: which addresses may show the pages, when people must sign in, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_app.settings import Settings
from flywheel.errors import InputError

OIDC = {"OIDC_ISSUER": "https://id.example.org", "OIDC_CLIENT_ID": "flywheel", "OIDC_CLIENT_SECRET": "a-secret"}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    for name in ("CHAT_HOST", "CHAT_PORT", "CHAT_PUBLIC_URL", "CHAT_SECURE_COOKIES", "OIDC_ROLES_CLAIM", *OIDC):
        monkeypatch.delenv(name, raising=False)


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return Settings.from_environment()


def test_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch)
    assert found.private and not found.needs_people and not found.secure_cookies
    assert found.origins == ("http://127.0.0.1:7860", "http://localhost:7860") and found.hosts == ("127.0.0.1", "localhost")


def test_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, CHAT_PUBLIC_URL="https://Chat.Example.org/")
    assert found.needs_people and found.secure_cookies and found.address == "https://chat.example.org"
    assert found.origins == ("https://chat.example.org",) and found.hosts == ("chat.example.org", "127.0.0.1", "localhost")


def test_an_address_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, CHAT_HOST="192.0.2.7", CHAT_PORT="8080", CHAT_SECURE_COOKIES="1")
    assert found.needs_people and found.secure_cookies and found.origins == ("http://192.0.2.7:8080",)
    monkeypatch.setenv("CHAT_PUBLIC_URL", "http://chat.example.org:8080")
    assert settings(monkeypatch, CHAT_HOST="0.0.0.0").origins == ("http://chat.example.org:8080",)


def test_a_provider_needs_no_people_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, **OIDC, OIDC_ROLES_CLAIM="realm_access.roles")
    assert not found.private and not found.needs_people and found.provider is not None
    assert found.provider.roles_claim == "realm_access.roles" and "a-secret" not in repr(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CHAT_HOST": "0.0.0.0"}, "every address at once: say which one people use"),
        ({"CHAT_PUBLIC_URL": "chat.example.org"}, "give scheme and name only"),
        ({"CHAT_PUBLIC_URL": "https://chat.example.org/path"}, "give scheme and name only"),
        ({"OIDC_ISSUER": "https://id.example.org"}, "OIDC_CLIENT_ID and OIDC_CLIENT_SECRET not set"),
        (
            OIDC | {"OIDC_ISSUER": "http://id.example.org"},
            "'http://id.example.org': an issuer has an https address",
        ),
    ],
)
def test_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        settings(monkeypatch, **given)
