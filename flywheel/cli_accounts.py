"""The commands about who may do what: people and the audit log.

Knows how a password is asked for and how accounts are listed. The rules are `people`'s. Whoever may type here owns the state
folder and so may do everything; a password is never an argument, where other people of the machine could read it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from flywheel.audit import Audit
from flywheel.cli_shell import Commands, Output, json_option, opened_state
from flywheel.errors import InputError
from flywheel.people import ROLES, Account, People, Role

BY = "command line"
stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input, not the terminal.")
MISSING = (
    "Nobody has the developer role yet, so nobody can train, promote or manage people on the pages; this command line can.\n"
    "Give it with `flywheel people role NAME developer`."
)


@click.group(cls=Commands)
def people() -> None:
    """Who may sign in, and what they may do.

    Roles: end_user chats and rates; reviewer corrects; developer trains, promotes and manages people. One may have several.

    Example: flywheel people add ann --role developer --role reviewer --role end_user
    """


@contextmanager
def opened_people() -> Iterator[People]:
    """The people of the state folder."""
    with opened_state() as (_, store):
        yield People(store.database)


@people.command()
@click.argument("name")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="May be given several times. [default: end_user]")
@stdin_option
@json_option
@click.pass_obj
def add(output: Output, name: str, roles: tuple[Role, ...], password_stdin: bool) -> None:
    """Add a person; asks for their password. With the first one, signing in begins for everybody.

    Example: flywheel people add ann --role developer
    """
    with opened_people() as found:
        first = not found.any()
        account = found.add(name, roles or ("end_user",), _password(password_stdin), by=BY)
        if first:
            output.note("From now on everybody must sign in; what was said before stays with the person 'local'.")
        if not found.developers():
            output.note(MISSING)
    output.result(account_object(account), f"{account.name} may sign in now, as {_roles(account)}.")


@people.command("list")
@json_option
@click.pass_obj
def list_(output: Output) -> None:
    """List everybody: roles, state, when they last used the chat.

    Example: flywheel people list
    """
    with opened_people() as found:
        accounts = found.all()
    lines = [f"{a.name:<28} {_roles(a):<32} {_state(a):<22} {a.last_seen or ''}".rstrip() for a in accounts]
    text = "\n".join(lines) or "Nobody: on this machine alone, no sign-in is asked for. Add with `flywheel people add NAME`."
    output.result({"people": [account_object(account) for account in accounts]}, text)


@people.command()
@click.argument("name")
@click.argument("roles", type=click.Choice(ROLES), nargs=-1, required=True)
@json_option
@click.pass_obj
def role(output: Output, name: str, roles: tuple[Role, ...]) -> None:
    """Give NAME these ROLES and no others, from this moment.

    Example: flywheel people role ann end_user reviewer
    """
    with opened_people() as found:
        account = found.set_roles(name, roles, by=BY)
        if account.provider:
            output.note("The identity provider's own word replaces this when they sign in next.")
        if not found.developers():
            output.note(MISSING)
    output.result(account_object(account), f"{account.name} is now {_roles(account)}.")


@people.command()
@click.argument("name")
@json_option
@click.pass_obj
def disable(output: Output, name: str) -> None:
    """Let NAME do nothing any more, from this moment; what they said stays.

    Example: flywheel people disable ann
    """
    with opened_people() as found:
        found.disable(name, by=BY)
        if not found.developers():
            output.note(MISSING)
        account = found.find(name)
    output.result(account_object(account), f"{account.name} is disabled and signed out everywhere.")


@people.command()
@click.argument("name")
@json_option
@click.pass_obj
def enable(output: Output, name: str) -> None:
    """Let NAME sign in again.

    Example: flywheel people enable ann
    """
    with opened_people() as found:
        found.enable(name, by=BY)
        account = found.find(name)
    output.result(account_object(account), f"{account.name} may sign in again.")


@people.command()
@click.argument("name")
@stdin_option
@json_option
@click.pass_obj
def password(output: Output, name: str, password_stdin: bool) -> None:
    """Give NAME a new password, which is asked for; they are signed out everywhere.

    Example: flywheel people password ann
    """
    with opened_people() as found:
        account = found.find(name)
        found.set_password(name, _password(password_stdin), by=BY)
    output.result(account_object(account), f"{account.name} has a new password and is signed out everywhere.")


@people.command("sign-out")
@click.argument("name")
@json_option
@click.pass_obj
def sign_out(output: Output, name: str) -> None:
    """End all sign-ins of NAME.

    Example: flywheel people sign-out ann
    """
    with opened_people() as found:
        ended = found.sign_out(name, by=BY)
    output.result({"name": name, "ended": ended}, f"{ended} sign-in{'' if ended == 1 else 's'} of {name} ended.")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="At most so many lines.")
@json_option
@click.pass_obj
def audit(output: Output, limit: int) -> None:
    """Show who did what that not everybody may do, newest first.

    Example: flywheel audit --limit 20
    """
    with opened_state() as (_, store):
        entries = Audit(store.database).entries(limit)
    lines = [f"{one.created_at[:19]}Z  {one.person}: {one.action} {one.subject} {one.told()}".rstrip() for one in entries]
    output.result({"audit": [asdict(entry) for entry in entries]}, "\n".join(lines) or "The audit log is empty.")


def account_object(account: Account) -> dict[str, Any]:
    """An account for JSON."""
    return asdict(account) | {"roles": sorted(account.roles)}


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the password at; give it on standard input with --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True))


def _roles(account: Account) -> str:
    return ", ".join(role for role in ROLES if role in account.roles) or "without a role"


def _state(account: Account) -> str:
    if account.disabled:
        return "disabled"
    return "identity provider" if account.provider else "one-time password" if account.one_time else ""
