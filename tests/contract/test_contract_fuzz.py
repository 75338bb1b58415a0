"""The local platform under requests that no client would send: it never fails, never hangs, and writes nowhere but in its home.

A hundred by default; for the full count:

    CONTRACT_REQUESTS=10000 .venv/bin/python -m pytest tests/contract/test_contract_fuzz.py --timeout 3600 -s
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from fuzz_requests import BASE, BODIES, COMMIT, ENTRY, EVALUATION, NAMED, Request, requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH, BaseModel
from flywheel.local.platform import Platform, Urls

REQUESTS = int(os.environ.get("CONTRACT_REQUESTS", "100"))
LONGEST_SECONDS = 30.0
_WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_FROM_FOLDER = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod")


class Watch:
    """Hears where this process's other threads, which are the platform's, write files."""

    def __init__(self) -> None:
        self.home: Path | None = None
        self.outside: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.home is None or threading.current_thread() is threading.main_thread():
            return
        writes = event in _WRITING or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        paths = arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]
        for path in paths if writes else ():
            if isinstance(path, str | bytes | os.PathLike):
                # Removing a folder whole names what is in it from an open folder on, whose number comes last.
                folder = f"/proc/self/fd/{arguments[-1]}" if event in _FROM_FOLDER and arguments[-1] >= 0 else ""
                name = os.path.realpath(os.path.join(folder, os.fsdecode(path)))
                if not name.startswith((f"{self.home}/", "/dev/", "/proc/")) and name != str(self.home):
                    self.outside.append(f"{event} {name}")


class Target(NamedTuple):
    """A running platform, and what it says of its own routes."""

    client: httpx.Client
    openapi: dict[str, Any]
    there: dict[str, str]
    watch: Watch


def furnished(client: httpx.Client) -> dict[str, str]:
    """Make one of most things; returns what the routes' parameters may be called to find them."""

    def post(path: str, body: Any) -> Any:
        reply = client.post(path, json=body)
        assert reply.status_code in (200, 201), reply.text
        return reply.json()

    post("/nds/v1/hf/api/repos/create", next(body for part, body in BODIES if "repos" in part))
    commit = "\n".join(map(json.dumps, COMMIT))
    assert client.post("/nds/v1/hf/api/datasets/fuzz/rows/commit/main", content=commit).status_code == 200
    for kind in ("projects", "models", "guardrail/configs", "deployment/configs", "intake/apps"):
        post(f"/nemo/v1/{kind}", next((body for part, body in BODIES if part == f"/v1/{kind}"), NAMED) | {"name": "rows"})
    job = post("/nemo/v1/evaluation/jobs", EVALUATION)["id"]
    entry = post("/nemo/v1/intake/entries", ENTRY)
    names = {"namespace": "fuzz", "name": "rows", "kind": "datasets", "revision": "main", "path": "a.txt", "job_id": job}
    return names | {"entry_id": entry["id"], "event_id": entry["events"][0]["id"]} | dict.fromkeys(
        ("config_name", "app_name", "deployment_name"), "rows"
    )  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A platform inside this process, on a port."""
    home = tmp_path_factory.mktemp("fuzz").resolve() / "home"
    server: uvicorn.Server | None = None
    opened = threading.Event()
    failures: list[Exception] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        bound = socket.create_server(("127.0.0.1", 0))
        urls = Urls.at(f"http://127.0.0.1:{bound.getsockname()[1]}")
        platform = Platform(home, BaseModel(SHIPPED_ID, SHIPPED_PATH), urls)
        app = platform.app(opened.set, lambda error: (failures.append(error), opened.set()))  # type: ignore[arg-type, func-returns-value]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            assert opened.wait(120) and not failures, failures
            watch = Watch()
            watch.home = home
            address = urls.nemo_url.removesuffix("/nemo")
            with httpx.Client(base_url=address, timeout=LONGEST_SECONDS, trust_env=False) as client:
                yield Target(client, app.openapi(), furnished(client), watch)
            watch.home = None
        finally:
            server.should_exit = True
            thread.join(60)


def test_nothing_fails_hangs_or_writes_elsewhere(target: Target) -> None:
    seen: Counter[str] = Counter()
    slowest: list[tuple[float, Request]] = []

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        derandomize=REQUESTS < 1000,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        request = data.draw(requests(target.openapi, target.there))
        began = time.monotonic()
        try:
            reply = target.client.request(*request[:2], content=request.content, headers=request.headers)
        except httpx.InvalidURL:
            return  # the client itself refuses to send this
        slowest.append((time.monotonic() - began, request))
        seen[str(reply.status_code)] += 1
        assert reply.status_code < 500, (request, reply.text[:500])
        if reply.status_code >= 400 and request.method != "HEAD":
            assert reply.json()["detail"], request
        assert target.watch.outside == [], request

    one()
    print(f"\n{sum(seen.values())} requests: {dict(sorted(seen.items()))}; slowest: {max(slowest, key=lambda pair: pair[0])}")
    # Enough of the bodies are good ones: otherwise only the doors were tried.
    assert seen["200"] > 0.1 * REQUESTS and seen["422"] > 0
    body = {"model": BASE, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    assert target.client.post("/nim/v1/chat/completions", json=body).status_code == 200
    assert target.watch.outside == []


def test_the_watch_hears_what_is_written_elsewhere(tmp_path: Path) -> None:
    watch = Watch()
    watch.home = tmp_path / "home"
    thread = threading.Thread(target=(tmp_path / "elsewhere").write_text, args=("x",))
    thread.start()
    thread.join()
    watch.home = None
    assert [line.split("/")[-1] for line in watch.outside] == ["elsewhere"]
