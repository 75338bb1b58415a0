"""Settings of the web app: one frozen object, built once from the environment.

The only module of this package that reads or writes the environment. Knows nothing of the pages.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

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
class Settings:
    """Where the web app listens, and the flywheel's own settings.

    host, port: address of the web app. content_safety_url: a content-safety NIM that rails ask besides the offline ones.
    """

    flywheel: FlywheelSettings
    host: str = "127.0.0.1"
    port: int = 7860
    content_safety_url: str | None = None

    @classmethod
    def from_environment(cls) -> Settings:
        """Read CHAT_HOST and CHAT_PORT besides what the flywheel reads. Raises InputError for what cannot be used."""
        port = os.environ.get("CHAT_PORT") or "7860"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise InputError(f"CHAT_PORT is {port!r}: give a number from 1 to 65535")
        flywheel = FlywheelSettings.from_environment()
        settings = cls(
            flywheel=flywheel,
            host=os.environ.get("CHAT_HOST") or "127.0.0.1",
            port=int(port),
            content_safety_url=flywheel.content_safety_url,
        )
        if not settings.loopback:
            reason = "there is no sign-in yet, so the app serves this machine only"
            raise InputError(f"CHAT_HOST is {settings.host!r}: {reason}; use 127.0.0.1 and a tunnel")
        return settings

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the app."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

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
    def origins(self) -> tuple[str, ...]:
        """The addresses under which a browser on this machine may show the pages."""
        return tuple(f"http://{name}:{self.port}" for name in dict.fromkeys((self.host, "127.0.0.1", "localhost")))
