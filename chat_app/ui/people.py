"""The People page: who may do what, adding and changing them, and the audit log. Builds and wires only.

A new person gets a password for one use, shown once: whoever adds them never knows the one that they will use. The audit log is
shown as it was written, in English.
"""

from __future__ import annotations

import html
from typing import Any, cast

import gradio as gr

from chat_app import guard
from chat_app.services import Services
from chat_app.ui import frame, times
from chat_app.ui.toasts import refusal, refused, tell
from chat_app.ui.wheel_view import table
from chat_app.ui.words import ENGLISH, STATIC, Words, spoken_by
from flywheel.errors import NotFound
from flywheel.people import ROLES, Account, People, Person, Role, one_time_password

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
SHOWN_ENTRIES = 200


class PeoplePage:
    """Handlers of the People page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.people = People(services.store.database)

    # reading ---------------------------------------------------------------------------------------------------------

    def whole(self, words: Words, chosen: str | None, told: str = "") -> tuple[Any, ...]:
        """Everything, in the order of `outputs`."""
        accounts = self.people.all()
        account = next((account for account in accounts if account.name == chosen), None)
        return (
            people_table(accounts, words),
            audit_table(self.services),
            gr.Dropdown(choices=[(label(one), one.name) for one in accounts], value=account.name if account else None),
            gr.CheckboxGroup(role_choices(words), value=sorted(account.roles) if account else []),
            gr.Column(visible=account is not None),
            gr.Button(value=words("enable" if account and account.disabled else "disable")),
            gr.Button(interactive=account is not None and not account.provider),
            told,
        )

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """Open the page: (*outputs, the roles of a new person)."""
        guard.person(request, "developer")
        words = spoken_by(request)
        return *self.whole(words, None), gr.CheckboxGroup(role_choices(words))

    def choose(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Look at one person."""
        guard.person(request, "developer")
        return self.whole(spoken_by(request), chosen)

    # changing --------------------------------------------------------------------------------------------------------

    def add(self, name: str, roles: list[str], request: gr.Request) -> tuple[Any, ...]:
        """Add a person and show their password for one use; the form is emptied: (*outputs, name, roles)."""
        person, words, wanted = guard.person(request, "developer"), spoken_by(request), cast(list[Role], roles)
        if not self.people.any() and "developer" not in wanted:
            raise refusal(words("first_developer"), words("did_not_work"))
        first, password = not self.people.any(), one_time_password()
        account = refused(lambda: self.people.add(name or "", wanted, password, by=person.name, one_time=True), words)
        told = once(account, password, words)
        if first:
            told += f'<p><b>{words("from_now_on")}</b> <a href="/sign-in">{words("sign_in")}</a> {words("with_this")}</p>'
        return *self.whole(words, account.name, told), "", ["end_user"]

    def set_roles(self, chosen: str | None, roles: list[str], request: gr.Request) -> tuple[Any, ...]:
        """Give the chosen person these roles and no others."""
        person, words = guard.person(request, "developer"), spoken_by(request)
        account = self.account(chosen, words)
        wanted = cast(list[Role], roles)
        if account.name == person.name and "developer" not in wanted:
            raise refusal(words("keep_developer"), words("did_not_work"))
        refused(lambda: self.people.set_roles(account.name, wanted, by=person.name), words)
        tell(words("provider_decides" if account.provider else "stored"))
        return self.whole(words, account.name)

    def switch(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Disable the chosen person, or enable them again."""
        person, words = guard.person(request, "developer"), spoken_by(request)
        account = self.other(chosen, person, words)
        change = self.people.enable if account.disabled else self.people.disable
        refused(lambda: change(account.name, by=person.name), words)
        return self.whole(words, account.name)

    def sign_out(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """End all sign-ins of the chosen person."""
        person, words = guard.person(request, "developer"), spoken_by(request)
        account = self.account(chosen, words)
        tell(words("ended", count=refused(lambda: self.people.sign_out(account.name, by=person.name), words)))
        return self.whole(words, account.name)

    def new_password(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Give the chosen person a password for one use, and show it."""
        person, words = guard.person(request, "developer"), spoken_by(request)
        account, password = self.other(chosen, person, words), one_time_password()
        refused(lambda: self.people.set_password(account.name, password, by=person.name, one_time=True), words)
        return self.whole(words, account.name, once(account, password, words))

    def account(self, chosen: str | None, words: Words) -> Account:
        """The chosen person."""
        try:
            return self.people.find(chosen or "")
        except NotFound:
            raise refusal(words("choose_person"), words("did_not_work")) from None

    def other(self, chosen: str | None, person: Person, words: Words) -> Account:
        """The chosen person, who is not oneself."""
        account = self.account(chosen, words)
        if account.name == person.name:
            raise refusal(words("yourself"), words("did_not_work"))
        return account


def label(account: Account) -> str:
    """A person in a list."""
    return account.name if account.display_name == account.name else f"{account.display_name} ({account.name})"


def role_choices(words: Words) -> list[tuple[str, str]]:
    """The roles, each with what it may do."""
    return [(words(f"is_{role}"), role) for role in ROLES]


def once(account: Account, password: str, words: Words) -> str:
    """A password for one use."""
    shown = words("password_of", who=html.escape(label(account)), password=f'<code id="one-time">{password}</code>')
    return f'<div class="notice" role="status"><p>{shown}</p><p>{words("shown_once")}</p></div>'


def people_table(accounts: list[Account], words: Words) -> str:
    """Everybody."""
    rows = [
        [label(one), roles_text(one, words), state(one, words), words.clock(one.last_seen) if one.last_seen else ""]
        for one in accounts
    ]
    headers = [words("person"), words("roles").lower(), words("state"), words("last_seen")]
    return table(headers, rows, words("nobody"))


def roles_text(account: Account, words: Words) -> str:
    """Their roles in words."""
    return ", ".join(sorted(words(role) for role in account.roles)) or words("none")


def state(account: Account, words: Words) -> str:
    """What is special about an account."""
    if account.disabled:
        return words("disabled")
    return words("at_provider") if account.provider else words("one_time") if account.one_time else ""


def audit_table(services: Services) -> str:
    """Who did what, newest first."""
    entries = services.audit.entries(SHOWN_ENTRIES)
    rows = [[times.clock(one.created_at), one.person, one.action, one.subject, one.told()] for one in entries]
    shown = table(["when", "who", "did", "to", "detail"], rows, "Nothing yet.")
    return f'<div lang="en">{shown}</div>'


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = PeoplePage(services)
    blocks = gr.Blocks(title="People · Flywheel Chat", analytics_enabled=False)
    with blocks:
        frame.header("people")
        told = gr.HTML(padding=False, elem_id="told")
        everybody = gr.HTML(padding=False, elem_id="everybody")
        with gr.Row():
            with gr.Column(min_width=320):
                name = gr.Textbox(label=STATIC("add_person"), max_length=64, elem_id="new-name")
                new_roles = gr.CheckboxGroup(
                    role_choices(ENGLISH), value=["end_user"], label=STATIC("roles"), elem_id="new-roles"
                )
                add = gr.Button(STATIC("add"), variant="primary", elem_id="add-person")
            with gr.Column(min_width=320):
                chosen = gr.Dropdown(label=STATIC("change_person"), choices=[], elem_id="chosen")
                with gr.Column(visible=False) as change:
                    roles = gr.CheckboxGroup(role_choices(ENGLISH), label=STATIC("roles"), elem_id="roles")
                    save = gr.Button(STATIC("store_roles"), variant="primary", elem_id="save-roles")
                    with gr.Row():
                        switch = gr.Button(STATIC("disable"), size="md", elem_id="switch", min_width=100)
                        out = gr.Button(STATIC("out_everywhere"), size="md", elem_id="out", min_width=100)
                        renew = gr.Button(STATIC("renew"), size="md", elem_id="renew", min_width=100)
        with gr.Accordion(STATIC("audit_log"), open=False, elem_id="audit"):
            log = gr.HTML(padding=False)

        outputs = [everybody, log, chosen, roles, change, switch, renew, told]
        blocks.load(page.load, None, [*outputs, new_roles], **PRIVATE)
        chosen.input(page.choose, chosen, outputs, **PRIVATE)
        add.click(page.add, [name, new_roles], [*outputs, name, new_roles], **PRIVATE)
        save.click(page.set_roles, [chosen, roles], outputs, **PRIVATE)
        switch.click(page.switch, chosen, outputs, **PRIVATE)
        out.click(page.sign_out, chosen, outputs, **PRIVATE)
        renew.click(page.new_password, chosen, outputs, **PRIVATE)
        frame.labels(blocks, "developer")
    return blocks
