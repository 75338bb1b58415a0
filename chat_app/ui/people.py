"""The People page: who may do what, adding and changing them, and the audit log. Builds and wires only.

A new person gets a password for one use, shown once: whoever adds them never knows the one that they will use.
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
from flywheel.errors import NotFound
from flywheel.people import Account, People, Person, Role, one_time_password

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
ROLE_WORDS: dict[Role, str] = {
    "end_user": "End user: chats and rates",
    "reviewer": "Reviewer: corrects",
    "developer": "Developer: trains, promotes, manages people",
}
SHOWN_ENTRIES = 200


class PeoplePage:
    """Handlers of the People page over the app's services."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.people = People(services.store.database)

    # reading ---------------------------------------------------------------------------------------------------------

    def whole(self, chosen: str | None, told: str = "") -> tuple[Any, ...]:
        """Everything, in the order of `outputs`."""
        accounts = self.people.all()
        account = next((account for account in accounts if account.name == chosen), None)
        return (
            people_table(accounts),
            audit_table(self.services),
            gr.Dropdown(choices=[(label(one), one.name) for one in accounts], value=account.name if account else None),
            gr.CheckboxGroup(value=sorted(account.roles) if account else []),
            gr.Column(visible=account is not None),
            gr.Button(value="Enable" if account and account.disabled else "Disable"),
            gr.Button(interactive=account is not None and not account.provider),
            told,
        )

    def load(self, request: gr.Request) -> tuple[Any, ...]:
        """Open the page."""
        guard.person(request, "developer")
        return self.whole(None)

    def choose(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Look at one person."""
        guard.person(request, "developer")
        return self.whole(chosen)

    # changing --------------------------------------------------------------------------------------------------------

    def add(self, name: str, roles: list[str], request: gr.Request) -> tuple[Any, ...]:
        """Add a person and show their password for one use; the form is emptied: (*outputs, name, roles)."""
        person, wanted = guard.person(request, "developer"), cast(list[Role], roles)
        if not self.people.any() and "developer" not in wanted:
            raise refusal("The first person needs the developer role: with them, signing in begins for everybody.")
        first, password = not self.people.any(), one_time_password()
        account = refused(lambda: self.people.add(name or "", wanted, password, by=person.name, one_time=True))
        told = once(account, password)
        if first:
            told += (
                '<p><b>From now on everybody must sign in, you too.</b> <a href="/sign-in">Sign in</a> with this password.</p>'
            )
        return *self.whole(account.name, told), "", ["end_user"]

    def set_roles(self, chosen: str | None, roles: list[str], request: gr.Request) -> tuple[Any, ...]:
        """Give the chosen person these roles and no others."""
        person, account = guard.person(request, "developer"), self.account(chosen)
        wanted = cast(list[Role], roles)
        if account.name == person.name and "developer" not in wanted:
            raise refusal("You cannot take the developer role from yourself; another developer can.")
        refused(lambda: self.people.set_roles(account.name, wanted, by=person.name))
        tell("The provider's word replaces this at their next sign-in." if account.provider else "Stored.")
        return self.whole(account.name)

    def switch(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Disable the chosen person, or enable them again."""
        person = guard.person(request, "developer")
        account = self.other(chosen, person)
        change = self.people.enable if account.disabled else self.people.disable
        refused(lambda: change(account.name, by=person.name))
        return self.whole(account.name)

    def sign_out(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """End all sign-ins of the chosen person."""
        person, account = guard.person(request, "developer"), self.account(chosen)
        ended = refused(lambda: self.people.sign_out(account.name, by=person.name))
        tell(f"{ended} sign-in{'' if ended == 1 else 's'} ended.")
        return self.whole(account.name)

    def new_password(self, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Give the chosen person a password for one use, and show it."""
        person = guard.person(request, "developer")
        account, password = self.other(chosen, person), one_time_password()
        refused(lambda: self.people.set_password(account.name, password, by=person.name, one_time=True))
        return self.whole(account.name, once(account, password))

    def account(self, chosen: str | None) -> Account:
        """The chosen person."""
        try:
            return self.people.find(chosen or "")
        except NotFound:
            raise refusal("Choose a person first.") from None

    def other(self, chosen: str | None, person: Person) -> Account:
        """The chosen person, who is not oneself."""
        account = self.account(chosen)
        if account.name == person.name:
            raise refusal("That is yourself: use your account page, or ask another developer.")
        return account


def label(account: Account) -> str:
    """A person in a list."""
    return account.name if account.display_name == account.name else f"{account.display_name} ({account.name})"


def once(account: Account, password: str) -> str:
    """A password for one use."""
    who = html.escape(label(account))
    words = "Give it to them now; it is shown this once, and they choose their own when they sign in."
    return (
        f'<div class="notice" role="status"><p>Password of {who}: <code id="one-time">{password}</code></p><p>{words}</p></div>'
    )


def people_table(accounts: list[Account]) -> str:
    """Everybody."""
    rows = [[label(one), roles_text(one), state(one), times.clock(one.last_seen) if one.last_seen else ""] for one in accounts]
    nobody = "Nobody is defined: one local person may do everything on this machine, without a sign-in."
    return table(["person", "roles", "state", "last seen"], rows, nobody)


def roles_text(account: Account) -> str:
    """Their roles in words."""
    return ", ".join(sorted(account.roles)).replace("_", " ") or "none"


def state(account: Account) -> str:
    """What is special about an account."""
    if account.disabled:
        return "disabled"
    return "signs in at the provider" if account.provider else "has a one-time password" if account.one_time else ""


def audit_table(services: Services) -> str:
    """Who did what, newest first."""
    entries = services.audit.entries(SHOWN_ENTRIES)
    rows = [[times.clock(one.created_at), one.person, one.action, one.subject, one.told()] for one in entries]
    return table(["when", "who", "did", "to", "detail"], rows, "Nothing yet.")


def build(services: Services) -> gr.Blocks:
    """The page."""
    page = PeoplePage(services)
    blocks = gr.Blocks(title="People · Flywheel Chat", analytics_enabled=False)
    with blocks:
        frame.header("People")
        told = gr.HTML(padding=False, elem_id="told")
        everybody = gr.HTML(padding=False, elem_id="everybody")
        with gr.Row():
            with gr.Column(min_width=320):
                name = gr.Textbox(label="Add a person: name", max_length=64, elem_id="new-name")
                new_roles = gr.CheckboxGroup(
                    [(words, role) for role, words in ROLE_WORDS.items()], value=["end_user"], label="Roles", elem_id="new-roles"
                )
                add = gr.Button("Add", variant="primary", elem_id="add-person")
            with gr.Column(min_width=320):
                chosen = gr.Dropdown(label="Change a person", choices=[], elem_id="chosen")
                with gr.Column(visible=False) as change:
                    roles = gr.CheckboxGroup(
                        [(words, role) for role, words in ROLE_WORDS.items()], label="Roles", elem_id="roles"
                    )
                    save = gr.Button("Store the roles", variant="primary", elem_id="save-roles")
                    with gr.Row():
                        switch = gr.Button("Disable", size="md", elem_id="switch", min_width=100)
                        out = gr.Button("Sign out everywhere", size="md", elem_id="out", min_width=100)
                        renew = gr.Button("New one-time password", size="md", elem_id="renew", min_width=100)
        with gr.Accordion("Audit log", open=False, elem_id="audit"):
            log = gr.HTML(padding=False)

        outputs = [everybody, log, chosen, roles, change, switch, renew, told]
        blocks.load(page.load, None, outputs, **PRIVATE)
        chosen.input(page.choose, chosen, outputs, **PRIVATE)
        add.click(page.add, [name, new_roles], [*outputs, name, new_roles], **PRIVATE)
        save.click(page.set_roles, [chosen, roles], outputs, **PRIVATE)
        switch.click(page.switch, chosen, outputs, **PRIVATE)
        out.click(page.sign_out, chosen, outputs, **PRIVATE)
        renew.click(page.new_password, chosen, outputs, **PRIVATE)
    return blocks
