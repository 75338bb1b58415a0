"""The local platform's keeper: found, adopted, restarted on the same port, stopped, and given up with a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flywheel.errors import PlatformError
from flywheel.platform import ensure_platform
from flywheel.settings import Settings

STARTS_AND_DIES = """
import os, sys
from pathlib import Path
from flywheel.platform import ensure_platform
from flywheel.settings import Settings
settings, supervisor = ensure_platform(Settings(home=Path(sys.argv[1])).prepare(), log=print)
supervisor.wait_ready()
os.kill(os.getpid(), 9)
"""

COMES_AND_GOES = """
import sys
from pathlib import Path
from flywheel.platform import ensure_platform
from flywheel.settings import Settings
settings, supervisor = ensure_platform(Settings(home=Path(sys.argv[1])), log=print)
supervisor.wait_ready(5)
supervisor.stop()
print(settings.nim_url)
"""


def said(messages: list[str]) -> str:
    """All that was said to the person."""
    return "\n".join(messages)


def platform_pid(home: Path) -> int:
    """The process that the state file names."""
    return int(json.loads((home / "platform.json").read_text())["platform"]["pid"])


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A state folder; whatever serves it at the end of the test is ended."""
    yield Settings(home=tmp_path / "home").prepare()
    if (tmp_path / "home" / "platform.json").exists():
        pid = platform_pid(tmp_path / "home")
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def test_named_services_need_no_platform(tmp_path: Path) -> None:
    named = Settings(home=tmp_path).with_urls("http://a", "http://b", "http://c")
    assert ensure_platform(named, log=print) == (named, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_starts_restarts_on_the_same_port_and_stops(settings: Settings) -> None:
    messages: list[str] = []
    named, supervisor = ensure_platform(settings, log=messages.append)
    assert supervisor is not None and named.nim_url and named.nim_url.endswith("/nim")
    supervisor.wait_ready()
    assert (settings.home / "platform.log").stat().st_mode & 0o077 == 0

    first = platform_pid(settings.home)
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while platform_pid(settings.home) == first:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    supervisor.wait_ready()
    assert supervisor.settings == named
    assert "starting it again" in said(messages)

    # Another process of ours finds it, uses it, and leaves it running.
    command = [sys.executable, "-c", COMES_AND_GOES, str(settings.home)]
    guest = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert guest.stdout.strip() == named.nim_url
    assert supervisor.ready()

    second = platform_pid(settings.home)
    supervisor.stop()
    assert not psutil.pid_exists(second)
    assert not supervisor.ready()
    assert not (settings.home / "platform.json").exists()


@pytest.mark.slow
def test_what_a_killed_process_left_running_is_taken_over(settings: Settings) -> None:
    killed = subprocess.run([sys.executable, "-c", STARTS_AND_DIES, str(settings.home)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    left = platform_pid(settings.home)
    assert psutil.pid_exists(left)

    named, supervisor = ensure_platform(settings, log=print)
    assert supervisor is not None
    supervisor.wait_ready(5)
    assert platform_pid(settings.home) == left
    supervisor.stop()
    assert not psutil.pid_exists(left)


@pytest.mark.slow
def test_it_gives_up_when_the_platform_cannot_live(settings: Settings) -> None:
    settings.platform_home.write_text("a file where a folder must be")
    messages: list[str] = []
    named, supervisor = ensure_platform(settings, log=messages.append)
    assert supervisor is not None
    with pytest.raises(PlatformError, match="died 5 times") as caught:
        supervisor.wait_ready(120)
    assert "platform.log" in str(caught.value) and "--home" in str(caught.value)
    assert "died 5 times" in said(messages)
    supervisor.stop()


def test_a_platform_that_does_not_answer_in_time_is_named_with_its_log(settings: Settings) -> None:
    _, supervisor = ensure_platform(settings, log=print)
    assert supervisor is not None
    with pytest.raises(PlatformError, match="did not answer within 0 s"):
        supervisor.wait_ready(0.0)
    supervisor.stop()
