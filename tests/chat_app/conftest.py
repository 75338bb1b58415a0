"""The real web app as a process of its own, with a local platform or a scripted model server, and Chromium looking at it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from chat_app.rails import Rails
from flywheel.ledger import Ledger
from flywheel.policy import read_policy
from flywheel.review import ReviewDesk
from flywheel.store import Store
from tests.browser import find_chromium
from tests.chat_app.turn_room import Room, furnished
from tests.fakes import ScriptedNim

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


expect.set_options(timeout=20_000)


class WebApp(NamedTuple):
    """A running web app: its address, its state folder, what it printed, its process."""

    url: str
    home: Path
    log: Path
    process: subprocess.Popen[bytes]

    def text(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8")


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_web_app(home: Path, **environment: str) -> WebApp:
    """Start the app and wait until the first question can be asked."""
    app = launch_web_app(home, **environment)
    wait_for(app, "model")
    return app


def launch_web_app(home: Path, **environment: str) -> WebApp:
    """Start `python -m chat_app`; wait for nothing."""
    port = free_port()
    log = home.parent / f"{home.name}-app.log"
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("NEMO", "NDS", "NIM"))}
    settings |= {"FLYWHEEL_HOME": str(home), "CHAT_PORT": str(port)} | environment
    with open(log, "ab") as output:
        process = subprocess.Popen([sys.executable, "-m", "chat_app"], stdout=output, stderr=output, env=settings)
    return WebApp(f"http://127.0.0.1:{port}", home, log, process)


def wait_for(app: WebApp, part: str) -> None:
    """Wait until its "web" part or its "model" answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert app.process.poll() is None, app.text()
        try:
            if httpx.get(f"{app.url}/healthz", timeout=5).json()[part]:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(app.text())


def stop_web_app(app: WebApp) -> None:
    """Press Ctrl-C and wait for a clean end."""
    app.process.send_signal(signal.SIGINT)
    assert app.process.wait(timeout=40) == 0, app.text()


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The web app with its own local platform and an empty state folder."""
    app = start_web_app(tmp_path_factory.mktemp("web") / "home")
    yield app
    stop_web_app(app)


@pytest.fixture(scope="module")
def nim() -> Iterator[ScriptedNim]:
    with ScriptedNim() as running:
        yield running


@pytest.fixture(scope="module")
def app(nim: ScriptedNim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The app, with a model server that says what it was told to."""
    urls = {"NEMO_URL": nim.url, "NDS_URL": nim.url, "NIM_URL": nim.url}
    running = start_web_app(tmp_path_factory.mktemp("pages") / "home", **urls)
    yield running
    stop_web_app(running)


@pytest.fixture
def store(app: WebApp) -> Iterator[Store]:
    """The app's own store, from outside."""
    with closing(Store(app.home / "flywheel.db")) as opened:
        yield opened


@pytest.fixture
def desk(app: WebApp, store: Store) -> ReviewDesk:
    """The review desk, under the app's policy, with nothing left to decide."""
    opened = ReviewDesk(store, Ledger(store.database), read_policy(app.home).review)
    for item in opened.queue():
        opened.claims.release(item.turn_id, item.claimed_by or "")
        opened.reject(item.turn_id, "local")
    return opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, per module: Playwright runs an event loop in this thread, and other tests call `asyncio.run`."""
    path = find_chromium()
    assert path, "run `python -m tests.browser` first: it installs Chromium or says how"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> BrowserContext:
    """One window for all pages that ask for no special one: it fetches Gradio's scripts once."""
    return browser.new_context(locale="en-US")


@pytest.fixture
def open_page(browser: Browser, window: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end no request may have left the app's address, and no script may have failed.

    Options (viewport, color_scheme …) give the page a window of its own.
    """
    pages: list[Page] = []
    offsite: list[Request] = []
    errors: list[str] = []

    def go(url: str, **options: Any) -> Page:
        page = (browser.new_context(**{"locale": "en-US"} | options) if options else window).new_page()
        page.set_default_timeout(20_000)
        origin = "/".join(url.split("/")[:3])
        page.on("request", lambda r: None if r.url.startswith((origin, "data:", "blob:")) else offsite.append(r))
        # what the page's own policy forbade was never sent
        page.on("requestfailed", lambda r: offsite.remove(r) if r in offsite and r.failure == "csp" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator("#top").wait_for()
        pages.append(page)
        return page

    yield go
    for page in pages:
        page.close()
    assert not offsite, [request.url for request in offsite]
    assert not errors, errors


def ask(page: Page, question: str) -> None:
    """Ask on the Chat page and wait for the end of the answer."""
    page.locator("#box textarea").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("#chatbot").get_by_text(question).last).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(page.locator("#box").get_by_role("button", name="Send", exact=True)).to_be_visible()


@pytest.fixture(scope="module")
def rails() -> Rails:
    """The offline rails, loaded once a file."""
    return Rails()


@pytest.fixture
def room(tmp_path: Path, rails: Rails) -> Iterator[Room]:
    """Where a turn runs with scripted replies."""
    with furnished(tmp_path, rails) as room:
        yield room
