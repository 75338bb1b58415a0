"""Finds or starts the local platform: one child process that stands in for the NeMo services, kept alive while we are.

Knows a command, a port, a log file and a health route. Knows nothing of what the platform does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
from filelock import FileLock

from flywheel.errors import InputError, PlatformError
from flywheel.settings import Settings

Log = Callable[[str], None]

READY_SECONDS = 180.0
FAST_DEATH_SECONDS = 20.0
MAX_FAST_DEATHS = 5
STOP_SECONDS = 20.0
LOG_BYTES = 5_000_000
"""The platform's log is moved to platform.1.log when it is larger, in place of the one that was moved before."""
STATE_FILE = "platform.json"
_PACKAGE_ROOT = Path(__file__).parent.parent  # `-m flywheel.local` is found there whatever the working folder is


@dataclass(frozen=True)
class _Process:
    """A process by its id and the moment it began (epoch seconds), since ids are used again."""

    pid: int
    began: float

    @classmethod
    def of(cls, pid: int) -> _Process:
        import psutil  # comes with the [local] extra, as does the platform

        return cls(pid, float(psutil.Process(pid).create_time()))

    def alive(self) -> bool:
        import psutil

        try:
            process = psutil.Process(self.pid)
            return bool(abs(process.create_time() - self.began) < 1 and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


@dataclass(frozen=True)
class _State:
    """What platform.json holds: which process serves on which port, and which process of ours looks after it."""

    port: int
    platform: _Process
    owner: _Process


class Running(NamedTuple):
    """A local platform that lives: settings that name it, its process, and the living process that looks after it (or None)."""

    settings: Settings
    pid: int
    owner: int | None


def running_platform(settings: Settings) -> Running | None:
    """The local platform that serves this state folder now, or None. Only looks: starts nothing, takes nothing over."""
    state = _read_state(settings.home / STATE_FILE)
    if importlib.util.find_spec("psutil") is None or state is None or not state.platform.alive():
        return None
    return Running(_at_port(settings, state.port), state.platform.pid, state.owner.pid if state.owner.alive() else None)


def _at_port(settings: Settings, port: int) -> Settings:
    root = f"http://127.0.0.1:{port}"
    return settings.with_urls(f"{root}/nemo", f"{root}/nds", f"{root}/nim")


def _read_state(path: Path) -> _State | None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return _State(int(raw["port"]), _Process(**raw["platform"]), _Process(**raw["owner"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ensure_platform(settings: Settings, *, log: Log) -> tuple[Settings, Supervisor | None]:
    """Settings with the three URLs, and who looks after the local platform (None where services were named).

    Returns at once: the platform may still be loading; `Supervisor.wait_ready` waits for it. A platform that a killed process of
    ours left behind is taken over. Raises InputError where the [local] extra is not installed.
    """
    if not settings.local:
        return settings, None
    supervisor = Supervisor(settings, log)
    supervisor.start()
    return supervisor.settings, supervisor


class Supervisor:
    """Looks after the local platform of one state folder: starts it, restarts it on the same port when it dies, stops it.

    Where another living process of ours looks after it already, this one only watches, and takes over when the platform goes.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        if any(importlib.util.find_spec(name) is None for name in ("psutil", "torch")):
            hint = "install them with pip install 'flywheel-chat[local]', or set NEMO_URL, NDS_URL and NIM_URL"
            raise InputError(f"the local platform needs packages that are missing; {hint}")
        self._log = log
        self._home = settings.platform_home
        self._state_path = settings.home / STATE_FILE
        self._log_path = settings.home / "platform.log"
        self._lock = FileLock(settings.home / "platform.lock", timeout=30)  # one process at a time decides who starts it
        self._me = _Process.of(os.getpid())
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._deaths = 0
        self._born = 0.0
        self._port = 0
        self.failure: str | None = None
        self.settings = settings

    # what others call ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Adopt the platform that runs, or start one, then keep watch from a thread. Returns at once; `settings` has the URLs."""
        with self._lock:
            self._port = self._wanted_port()
            self._adopt_or_spawn()
        self.settings = _at_port(self.settings, self._port)
        threading.Thread(target=self._watch, name="platform-supervisor", daemon=True).start()

    def ready(self) -> bool:
        """Whether it answers now."""
        try:
            return httpx.get(f"{self.settings.nim_url}/v1/health/ready", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it answers. Raises PlatformError with the log's last lines if it does not within that time or gave up."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.failure or self._stopping.is_set():
                raise PlatformError(self.failure or "the local platform was stopped while it was loading")
            if time.monotonic() > deadline:
                raise PlatformError(f"the local platform did not answer within {seconds:.0f} s{self._log_tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop watching, and stop the platform if it is ours to look after."""
        self._stopping.set()
        with self._lock:
            state = _read_state(self._state_path)
            if state is None or state.owner != self._me:
                return
            self._end(state.platform)
            self._state_path.unlink(missing_ok=True)

    # how it is done --------------------------------------------------------------------------------------------------

    def _wanted_port(self) -> int:
        """The port of the last platform if it lives there or the port is free, else a free one."""
        state = _read_state(self._state_path)
        if state and state.platform.alive():
            return state.port
        for port in ([state.port] if state else []) + [0]:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise PlatformError("no free port on 127.0.0.1 for the local platform; close something that listens there")

    def _write_state(self, platform: _Process) -> None:
        draft = self._state_path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(_State(self._port, platform, self._me))), encoding="utf-8")
        draft.replace(self._state_path)

    def _adopt_or_spawn(self) -> None:
        with self._lock:
            state = _read_state(self._state_path)
            if state and state.platform.alive():
                if not state.owner.alive():
                    self._write_state(state.platform)
            elif not self._stopping.is_set():
                self._spawn()

    def _spawn(self) -> None:
        if self._child is not None:
            self._child.wait(STOP_SECONDS)  # it is dead, but may have died after the watch last reaped
        command = [sys.executable, "-m", "flywheel.local", "--home", str(self._home), "--port", str(self._port), "--json"]
        descriptor = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            # A session of its own: Ctrl-C is meant for us, and we stop the platform in good order.
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=_PACKAGE_ROOT
            )
        self._born = time.monotonic()
        self._write_state(_Process.of(self._child.pid))

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            rotate(self._log_path, LOG_BYTES)
            state = _read_state(self._state_path)
            if self._child is not None:
                self._child.poll()  # reaps it, so that it does not linger as a zombie
            if state and state.platform.alive():
                if not state.owner.alive():
                    self._adopt_or_spawn()
                continue
            if not self._may_restart():
                return
            self._log(f"The local platform died; starting it again on port {self._port}.{self._log_tail(3)}")
            self._adopt_or_spawn()

    def _may_restart(self) -> bool:
        """Wait a little longer after each early death; False after too many of them."""
        lived = time.monotonic() - self._born
        self._deaths = self._deaths + 1 if self._child is not None and lived < FAST_DEATH_SECONDS else 0
        if self._deaths >= MAX_FAST_DEATHS:
            self.failure = f"the local platform died {self._deaths} times soon after its start; mend the cause and start again"
            self.failure += self._log_tail()
            self._log(self.failure)
            return False
        return not self._stopping.wait(0.5 * 2**self._deaths if self._deaths else 0)

    def _end(self, platform: _Process) -> None:
        """Ask the process to stop; after STOP_SECONDS end it and what it started."""
        import psutil

        if not platform.alive():
            return
        process = psutil.Process(platform.pid)
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except psutil.TimeoutExpired:
            for member in [*process.children(recursive=True), process]:
                member.kill()
        if self._child is not None and self._child.pid == platform.pid:
            self._child.wait()

    def _log_tail(self, lines: int = 15) -> str:
        """The last lines of the platform's log, indented under a heading that names the file."""
        tail = last_lines(self._log_path, lines)
        return f"\nLast lines of {self._log_path}:\n  " + "\n  ".join(tail) if tail else ""


def rotate(path: Path, limit: int) -> None:
    """Copy a log that has grown over `limit` bytes to NAME.1.log and empty it; whoever appends to it goes on.

    What is written between the two is lost: a few lines at most, where the log would fill the disk.
    """
    try:
        if path.stat().st_size <= limit:
            return
        draft = path.with_suffix(".draft.log")
        shutil.copyfile(path, draft)
        draft.chmod(0o600)
        draft.replace(path.with_suffix(".1.log"))
        os.truncate(path, 0)
    except OSError:  # there is none yet, or no room for a copy; it is tried again
        return


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines of a text file that may be large; [] if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            return file.read().decode("utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []
