"""From one local person to a team, as people see it in the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from flywheel.people import ROLES, People, Role
from flywheel.store import Store
from tests.chat_app.conftest import WebApp, ask
from tests.chat_app.page_material import Open, faults, thumb
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


@pytest.mark.slow
def test_in_spanish_and_readable(app: WebApp, store: Store, open_page: Open) -> None:
    """The browser's language counts, then the one that was chosen; nothing on the way is hard to read or to use."""
    people = People(store.database)
    people.add("eva", ROLES, OWN, by="test")
    people.add("una", ("end_user",), OWN, by="test", one_time=True)
    page = open_page(f"{app.url}/people/", locale="es-ES")
    page.get_by_label("Nombre").fill("eva")
    page.get_by_label("Contraseña").fill("no es esta")
    page.get_by_role("button", name="Iniciar sesión").click()
    expect(page.get_by_role("alert")).to_have_text("El nombre o la contraseña no es correcto.")
    expect(page.get_by_label("Contraseña")).to_be_focused()
    assert faults(page, 390, 1440) == {}
    page.get_by_label("Contraseña").fill(OWN)
    page.get_by_role("button", name="Iniciar sesión").click()

    expect(page.locator("#top nav a")).to_have_text(["Chat", "Revisión", "Rueda", "Personas"])
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page).to_have_title("Personas · Flywheel Chat")
    expect(page.locator("#everybody")).to_contain_text("tiene una contraseña de un solo uso")
    page.get_by_role("button", name="Registro de acciones").click()
    page.get_by_label("Cambiar a una persona").click()
    page.get_by_role("option", name="eva").click()
    page.get_by_role("button", name="Desactivar").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("Esa persona eres tú")
    page.get_by_label("Añadir a una persona: nombre").fill("eva")
    page.get_by_role("button", name="Añadir").click()
    expect(page.get_by_test_id("toast-body").last).to_contain_text("ya existe la persona 'eva'")
    assert faults(page, 390, 1440) == {}

    page.get_by_role("link", name="eva").click()
    page.get_by_label("Contraseña actual").fill(OWN)
    page.get_by_label("Contraseña nueva (al menos 12 caracteres)").fill("corta")
    page.get_by_label("La contraseña nueva otra vez").fill("corta")
    page.get_by_role("button", name="Cambiarla").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Una contraseña tiene de 12 a 1000 caracteres; varias palabras hacen una buena"
    )
    assert faults(page, 390, 1440) == {}
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Change your password")).to_be_visible()
    page.goto(f"{app.url}/people/")
    expect(page.get_by_label("Add a person: name")).to_be_visible()
    expect(page.locator("#top nav a").last).to_have_text("People")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_the_way_of_each_role(app: WebApp, nim: ScriptedNim, store: Store, open_page: Open, width: int) -> None:
    """Each lands where their work is, does it, and hears at another's door whom to ask."""
    people, question = People(store.database), f"How many miles is {width} km?"
    nim.answer_with(lambda _: NimReply("I am a stub."))

    def entered(role: Role, tabs: list[str]) -> Page:
        people.add(f"{role}-{width}", [role], OWN, by="test")
        page = open_page(app.url, viewport={"width": width, "height": 840})
        page.get_by_label("Name").fill(f"{role}-{width}")
        page.get_by_label("Password").fill(OWN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#top nav a")).to_have_text(tabs)
        return page

    chat = entered("end_user", ["Chat"])
    ask(chat, question)
    thumb(chat, "Dislike").click()
    chat.get_by_label("should have called one").check()
    chat.locator("#why-send").click()
    expect(chat.get_by_text("Thank you. A reviewer will see it")).to_be_visible()
    chat.goto(f"{app.url}/review/")
    expect(chat.get_by_role("heading", name="Not for this account")).to_be_visible()

    review = entered("reviewer", ["Review"])
    expect(review.locator("#turn")).to_contain_text(question)
    review.get_by_label("These tool calls").check()
    review.locator("#tool-0 input").fill("convert_units")
    review.keyboard.press("Enter")
    review.locator("#field-0-value input").fill(str(width))
    review.locator("#field-0-from_unit textarea").fill("km")
    review.locator("#field-0-to_unit textarea").fill("miles")
    review.locator("#approve").click()
    expect(review.locator("#said")).to_contain_text("Stored.")
    review.goto(f"{app.url}/wheel/")
    expect(review.locator("main")).to_contain_text("Your account may not train and promote. Ask ")

    wheel = entered("developer", ["Wheel", "People"])
    expect(wheel.locator("#train")).to_be_enabled()
    wheel.locator("#rollback").click()
    expect(wheel.get_by_test_id("toast-body")).to_contain_text("there is nothing to roll back to")
    wheel.goto(f"{app.url}/chat/")
    expect(wheel.locator("main")).to_contain_text("Your account may not chat. Ask ")
