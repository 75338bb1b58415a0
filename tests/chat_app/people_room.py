"""The web app in this process, over real HTTP, with a model server that says what it was told to: for tests of who may do what.

Knows how to start and stop it and how to become somebody; what they may do, the tests know.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import uvicorn
from fastapi import FastAPI

from chat_app.services import Services
from chat_app.settings import Settings
from chat_app.web import create_app
from flywheel.people import People, Role
from flywheel.promote import Registry
from flywheel.runs import Wheel
from flywheel.sessions import Sessions
from flywheel.settings import Settings as FlywheelSettings
from flywheel.store import Store
from tests.chat_app.conftest import free_port
from tests.fakes import ScriptedNim

PASSWORD = "four quiet green boats"
COOKIE = "flywheel_session"
ROLES: dict[str, set[Role]] = {
    "una": {"end_user"}, "rita": {"reviewer"}, "dev": {"developer"}, "all": {"end_user", "reviewer", "developer"}, "none": set(),
}  # fmt: skip
"""Somebody for each role, for all of them and for none."""


@dataclass(frozen=True)
class Room:
    """A running app."""

    url: str
    app: FastAPI
    services: Services
    people: People
    sessions: Sessions

    def client(self, name: str | None = None) -> httpx.Client:
        """A browser of its own, signed in as somebody or as nobody."""
        cookies = {COOKIE: self.token(name)} if name else None
        return httpx.Client(base_url=self.url, cookies=cookies, trust_env=False, timeout=30)

    def token(self, name: str) -> str:
        """A new session's secret."""
        return self.sessions.begin(self.people.find(name), "a test")

    def page(self, path: str) -> Any:
        """Gradio's own application under a path."""
        return next(route.app for route in self.app.routes if getattr(route, "path", "") == path)  # type: ignore[attr-defined]

    def blocks(self, path: str) -> gr.Blocks:
        """The page under a path."""
        found: gr.Blocks = self.page(path).get_blocks()
        return found


@contextmanager
def running(home: Path, nim: ScriptedNim, **settings: Any) -> Iterator[Room]:
    """The app over a state folder, until the end of the block."""
    home.mkdir(exist_ok=True)
    flywheel = FlywheelSettings(home=home, nemo_url=nim.url, nds_url=nim.url, nim_url=nim.url, base_model="local/tool-llama-5m")
    port = free_port()
    store = Store(flywheel.store_path)
    Registry(store.database).begin(flywheel.base_model)
    wheel = Wheel(flywheel, store)
    services = Services.build(Settings(flywheel=flywheel, port=port, **settings), store, wheel)
    made: list[tuple[FastAPI, uvicorn.Server]] = []

    async def serve() -> None:
        # Gradio's locks are made here, in the loop that uses them; elsewhere it would leave loops of its own behind
        app = create_app(services, lambda: {"web": True, "model": True, "loading": []})
        config = uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False)
        made.append((app, uvicorn.Server(config)))
        await made[0][1].serve()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    while not (made and made[0][1].started):
        assert thread.is_alive()
        time.sleep(0.02)
    people = People(store.database)
    try:
        yield Room(f"http://127.0.0.1:{port}", made[0][0], services, people, Sessions(store.database, people))
    finally:
        made[0][1].should_exit = True
        thread.join(timeout=20)
        wheel.close()
        store.close()


def add_everybody(people: People) -> None:
    """The people of ROLES."""
    for name, roles in ROLES.items():
        people.add(name, roles, PASSWORD, by="test")
