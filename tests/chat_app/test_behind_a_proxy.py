"""The app as a team reaches it: over https, through a proxy that speaks plain http with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect

from flywheel.people import ROLES, People
from flywheel.store import Store
from tests.chat_app.conftest import ask, free_port, start_web_app, stop_web_app
from tests.chat_app.page_material import Open, thumb
from tests.chat_app.people_room import PASSWORD
from tests.chat_app.tls_proxy import proxied
from tests.fakes import NimReply, ScriptedNim


@pytest.fixture
def address(nim: ScriptedNim, tmp_path: Path) -> Iterator[str]:
    """The https address of an app with one person."""
    home, outside = tmp_path / "home", free_port()
    home.mkdir()
    with closing(Store(home / "flywheel.db")) as store:
        People(store.database).add("ann", ROLES, PASSWORD, by="test")
    public = f"https://chat.localhost:{outside}"
    app = start_web_app(home, NEMO_URL=nim.url, NDS_URL=nim.url, NIM_URL=nim.url, CHAT_PUBLIC_URL=public)
    with proxied("chat.localhost", outside, int(app.url.rpartition(":")[2]), tmp_path):
        yield public
        stop_web_app(app)


@pytest.mark.slow
def test_signing_in_and_chatting_over_https(address: str, nim: ScriptedNim, open_page: Open) -> None:
    nim.answer_with(lambda _: NimReply("I am a stub."))
    page = open_page(f"{address}/chat/", ignore_https_errors=True)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#top nav a")).to_have_text(["Chat", "Review", "Wheel", "People"])
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-flywheel_session", True, True)
    ask(page, "Who are you?")
    expect(page.locator("#chatbot").get_by_text("I am a stub.")).to_be_visible()
    thumb(page, "Like").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Thank you, noted.")
    page.get_by_role("link", name="Review").click()
    expect(page.locator("#queue")).to_contain_text("Who are you?")
    page.get_by_role("link", name="ann").click()
    expect(page).to_have_url(f"{address}/account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.context.cookies() == []

    other = address.replace("chat.localhost", "127.0.0.1")  # the same app, but not the address that people use
    page = open_page(f"{other}/sign-in", ignore_https_errors=True)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("another site may not do this")).to_be_visible()
