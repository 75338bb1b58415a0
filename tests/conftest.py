"""Shared fixtures: a network that reaches loopback only, state folders, the real local platform on a port.

Knows how to start the real parts; holds no fakes (they are in fakes.py).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flywheel.database import Database
from flywheel.settings import Settings

os.environ.setdefault(
    "HF_HUB_OFFLINE", "0"
)  # the hub client must reach the local Data Store; the guard below keeps it off the network
os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    """Refuse every connection that would leave this machine."""
    host = address[0] if isinstance(address, tuple) else ""
    if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests may only reach loopback, not {address!r}")
    _connect(self, address)


socket.socket.connect = _loopback_only  # type: ignore[method-assign,assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests come first: a long file that begins last would leave the other processes without work."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def fix_sides(database: Database) -> None:
    """Let the same examples fall on the same sides in every run of the tests; the key is random otherwise."""
    database.insert("secrets", {"name": "split_key", "value": "15" * 32})


class Platform(NamedTuple):
    """The local platform's three addresses, its state folder and its process."""

    nemo_url: str
    nds_url: str
    nim_url: str
    home: Path
    process: subprocess.Popen[str]


def start_platform(home: Path, *options: str) -> Platform:
    """Start `python -m flywheel.local` on a free port and wait until it says it is ready."""
    command = [sys.executable, "-m", "flywheel.local", "--home", str(home), "--port", "0", "--json", *options]
    log = open(home.parent / f"{home.name}.log", "a", encoding="utf-8")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    log.close()
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (home.parent / f"{home.name}.log").read_text(encoding="utf-8")[-3000:]
    urls = json.loads(line)
    return Platform(urls["nemo_url"], urls["nds_url"], urls["nim_url"], home, process)


def stop_platform(platform: Platform) -> None:
    """Ask it to stop as Ctrl-C would, and wait."""
    platform.process.terminate()
    platform.process.wait(timeout=20)
    assert platform.process.stdout is not None
    platform.process.stdout.close()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The real local platform, one for the whole session."""
    running = start_platform(tmp_path_factory.mktemp("platform") / "home")
    yield running
    stop_platform(running)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty state folder of its own, named in the environment too; no services named."""
    for name in ("NEMO_URL", "NDS_URL", "NIM_URL", "BASE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    return Settings(home=tmp_path / "home").prepare()
