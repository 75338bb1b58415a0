"""Settings of the web app: one frozen object, built once from the environment.

The only module of this package that reads or writes the environment. Knows nothing of the pages.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flywheel.errors import InputError
from flywheel.settings import LOCAL_BASE_MODEL
from flywheel.settings import Settings as FlywheelSettings

QUIET = {
    "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_MCP_SERVER": "False",
}


def quiet_libraries() -> None:
    """Keep the libraries from reporting to their makers. To be called before they are imported."""
    os.environ.update(QUIET)


@dataclass(frozen=True)
class IdentityProvider:
    """Who vouches for people by OpenID Connect. roles_claim: the claim that holds their roles; a dot leads into an object."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    roles_claim: str = "roles"

    @classmethod
    def from_environment(cls) -> IdentityProvider | None:
        """None where OIDC_ISSUER is not set. Raises InputError where only some of the three are."""
        names = ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
        given = [os.environ.get(name) or "" for name in names]
        missing = [name for name, value in zip(names, given, strict=True) if not value]
        if len(missing) == len(names):
            return None
        if missing:
            raise InputError(f"{' and '.join(missing)} not set: set all of {', '.join(names)}, or none")
        parts = urlsplit(given[0])
        if parts.scheme != "https" and not _loopback(parts.hostname or ""):
            raise InputError(f"OIDC_ISSUER is {given[0]!r}: an issuer has an https address")
        issuer, client_id, client_secret = given
        return cls(issuer, client_id, client_secret, os.environ.get("OIDC_ROLES_CLAIM") or "roles")


@dataclass(frozen=True)
class Settings:
    """Where the web app listens, and the flywheel's own settings.

    host, port: address of the web app. public_url: under which address people reach it, where a proxy stands before it.
    secure_cookies: cookies go over https only. content_safety_url: a content-safety NIM that rails ask besides the offline ones.
    """

    flywheel: FlywheelSettings
    host: str = "127.0.0.1"
    port: int = 7860
    public_url: str | None = None
    secure_cookies: bool = False
    provider: IdentityProvider | None = None
    content_safety_url: str | None = None

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the CHAT_ and OIDC_ variables besides what the flywheel reads. Raises InputError for what cannot be used."""
        port = os.environ.get("CHAT_PORT") or "7860"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise InputError(f"CHAT_PORT is {port!r}: give a number from 1 to 65535")
        flywheel = FlywheelSettings.from_environment()
        host, public_url = os.environ.get("CHAT_HOST") or "127.0.0.1", _public_url()
        if host in ("0.0.0.0", "::") and public_url is None:
            example = f"CHAT_PUBLIC_URL=http://chat.example.org:{port}"
            raise InputError(f"CHAT_HOST is {host!r}, every address at once: say which one people use, such as {example}")
        secure = (os.environ.get("CHAT_SECURE_COOKIES") or "").lower() in ("1", "true", "yes")
        return cls(
            flywheel=flywheel,
            host=host,
            port=int(port),
            public_url=public_url,
            secure_cookies=secure or (public_url or "").startswith("https:"),
            provider=IdentityProvider.from_environment(),
            content_safety_url=flywheel.content_safety_url,
        )

    @property
    def private(self) -> bool:
        """Whether nobody but this machine's own people is meant to reach the app."""
        return self.loopback and self.public_url is None and self.provider is None

    @property
    def needs_people(self) -> bool:
        """Whether the app may not start while nobody could sign in."""
        return not self.private and self.provider is None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the app."""
        return _loopback(self.host)

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.flywheel.home

    @property
    def small_model(self) -> bool:
        """Whether the small base that comes with the project answers, or an adapter of it.

        It was trained on single turns: earlier ones mislead it, except a call that a short question refers to (`follow_up.py`);
        and it garbles a result that it puts into words, so the tool's own sentence is the answer.
        """
        return self.flywheel.base_model == LOCAL_BASE_MODEL

    @property
    def address(self) -> str:
        """Where people find the app, without a slash at the end."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def origins(self) -> tuple[str, ...]:
        """The addresses under which a browser may show the pages."""
        if self.public_url is not None:
            return (self.public_url,)
        names = (self.host, "127.0.0.1", "localhost") if self.loopback else (self.host,)
        return tuple(f"http://{name}:{self.port}" for name in dict.fromkeys(names))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names under which the app may be called; always this machine's own too, for who looks at /healthz here."""
        named = (urlsplit(origin).hostname or "" for origin in self.origins)
        return tuple(dict.fromkeys((*named, "127.0.0.1", "localhost")))


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _public_url() -> str | None:
    """CHAT_PUBLIC_URL as a browser writes an origin. Raises InputError."""
    given = os.environ.get("CHAT_PUBLIC_URL")
    if not given:
        return None
    parts = urlsplit(given.lower())
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise InputError(f"CHAT_PUBLIC_URL is {given!r}: give scheme and name only, such as https://chat.example.org")
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"
