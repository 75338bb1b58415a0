"""What people read, and what is kept, when a process is killed or still loads: the real app and the real local platform."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flywheel.store import Store
from tests.chat_app.conftest import WebApp, ask, launch_web_app, stop_web_app, wait_for

pytestmark = pytest.mark.slow
NO_ANSWER = re.compile(r"The model server (does not answer|failed at this question)\. .*[Aa]sk again in a moment\.")
"""The second of the two where the new process listens already, but is not ready."""


class House:
    """The app with its platform, whose process can be held still, let go and killed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.app: WebApp = launch_web_app(home)

    def platform(self) -> dict[str, Any]:
        """Port and process id of the platform, once there is one."""
        deadline = time.monotonic() + 30
        while not (self.home / "platform.json").exists():
            assert time.monotonic() < deadline, self.app.text()
            time.sleep(0.01)
        state = json.loads((self.home / "platform.json").read_text(encoding="utf-8"))
        return {"port": state["port"], "pid": state["platform"]["pid"]}

    def signal(self, number: signal.Signals) -> None:
        """Send the platform a signal."""
        os.kill(self.platform()["pid"], number)

    def make_ready(self) -> None:
        """Let the platform go, and wait until it answers."""
        self.signal(signal.SIGCONT)
        wait_for(self.app, "model")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The web pages are up; the platform is held still while it loads."""
    made = House(tmp_path_factory.mktemp("outage") / "home")
    made.signal(signal.SIGSTOP)
    wait_for(made.app, "web")
    yield made
    made.signal(signal.SIGCONT)
    stop_web_app(made.app)


def hanging(page: Page, question: str, house: House) -> None:
    """Ask while the platform is held still, and wait until the turn is under way."""
    house.signal(signal.SIGSTOP)
    page.locator("#box textarea").fill(question)
    page.keyboard.press("Enter")
    with closing(Store(house.home / "flywheel.db")) as store:
        deadline = time.monotonic() + 20
        while not any(
            turn.question == question and turn.status == "running"
            for conversation in store.conversations("local")
            for turn in store.turns(conversation.id)
        ):
            assert time.monotonic() < deadline, house.app.text()
            time.sleep(0.05)


def test_a_question_while_the_model_loads(house: House, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{house.app.url}/chat/")
    ask(page, "Are you there?")
    expect(page.locator("#chatbot")).to_contain_text(NO_ANSWER)
    house.make_ready()
    ask(page, "And now?")
    expect(page.locator("#chatbot .bot .prose").last).not_to_contain_text("The model server")


def test_a_platform_that_is_killed_in_the_middle_of_a_turn(house: House, open_page: Callable[..., Page]) -> None:
    house.make_ready()
    page, before = open_page(f"{house.app.url}/chat/"), house.platform()
    hanging(page, "What is 2 + 2?", house)
    house.signal(signal.SIGKILL)
    expect(page.locator("#chatbot .bot .prose").last).to_contain_text(NO_ANSWER)
    deadline = time.monotonic() + 30
    while (after := house.platform())["pid"] == before["pid"]:
        assert time.monotonic() < deadline, house.app.text()
        time.sleep(0.05)
    assert after["port"] == before["port"]
    wait_for(house.app, "model")
    assert f"starting it again on port {before['port']}" in house.app.text()
    ask(page, "What is 3 + 3?")
    expect(page.locator("#chatbot .bot .prose").last).not_to_contain_text("The model server")
    with closing(Store(house.home / "flywheel.db")) as store:
        turns = store.turns(store.conversations("local")[0].id)
    assert [turn.status for turn in turns[-2:]] == ["failed", "answered"]


def test_an_app_that_is_killed_in_the_middle_of_a_turn(house: House, open_page: Callable[..., Page]) -> None:
    house.make_ready()
    page = open_page(f"{house.app.url}/chat/")
    page.get_by_role("button", name="Toggle Sidebar").click()
    page.locator("#new").click()
    ask(page, "A question that is rated")
    page.get_by_role("button", name="Like", exact=True).click()
    expect(page.get_by_text("Thank you, noted.")).to_be_visible()
    hanging(page, "A question in between", house)
    house.app.process.kill()
    house.app.process.wait()
    page.close()

    before = house.platform()
    house.app = launch_web_app(house.home)
    house.make_ready()
    assert house.platform() == before, "the platform of the killed app is taken over"
    again = open_page(f"{house.app.url}/chat/")
    expect(again.locator("#chatbot")).to_contain_text("A question in between")
    expect(again.locator("#chatbot .bot .prose").last).to_contain_text("Stopped.")
    expect(again.get_by_role("button", name="Liked", exact=True)).to_have_count(1)
    ask(again, "And on?")
    expect(again.locator("#chatbot .bot .prose").last).not_to_contain_text("The model server")
