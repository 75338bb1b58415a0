"""From one local person to a team, as people see it in the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.chat_app.conftest import WebApp, ask
from tests.chat_app.page_material import Open
from tests.fakes import NimReply, ScriptedNim

OWN = "a password of my own"


@pytest.mark.slow
def test_the_first_person_signs_in_chats_and_signs_out(app: WebApp, nim: ScriptedNim, open_page: Open) -> None:
    nim.answer_with(lambda _: NimReply("I am a stub."))
    local = open_page(f"{app.url}/people/")
    expect(local.locator("#top")).to_contain_text("One local person: no sign-in on this machine")
    local.get_by_label("Add a person: name").fill("Dev")
    local.locator("#add-person").click()
    expect(local.get_by_text("The first person needs the developer role")).to_be_visible()
    local.locator("#new-roles").get_by_text("Developer").click()
    local.locator("#add-person").click()
    password = local.locator("#one-time").inner_text()
    expect(local.locator("#told")).to_contain_text("From now on everybody must sign in, you too")
    expect(local.locator("#everybody")).to_contain_text("has a one-time password")

    page = open_page(f"{app.url}/chat/", viewport={"width": 390, "height": 800})
    expect(page).to_have_url(f"{app.url}/sign-in?next=/chat/")
    page.get_by_label("Name").fill("dev")
    page.get_by_label("Password").fill("a wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Choose one of your own to go on.")).to_be_visible()
    page.get_by_label("Present password").fill(password)
    page.get_by_label("New password (at least 12 characters)").fill(OWN)
    page.get_by_label("The new password again").fill(OWN)
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("status")).to_have_text("Your password is changed.")

    page.get_by_role("link", name="To the chat").click()
    expect(page.locator("#top nav a")).to_have_text(["Chat", "Wheel", "People"])
    ask(page, "Who are you?")
    expect(page.locator("#chatbot").get_by_text("I am a stub.")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{app.url}/chat/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
