"""Who may do what: people, their roles and passwords, and the one local person on a machine where nobody else was defined.

Knows names, roles and password hashes; knows nothing of pages, of cookies or of what a role's work is. Whoever is disabled, or
gets a new password, is signed out everywhere with it. Every change says in the audit log who made it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from flywheel.audit import Audit
from flywheel.database import Database, dump, now
from flywheel.errors import Conflict, InputError, NotFound

Role = Literal["end_user", "reviewer", "developer"]
ROLES: tuple[Role, ...] = get_args(Role)

LOCAL = "local"
"""The name of the one person on loopback while no people are defined."""

RESERVED = (LOCAL, "command-line", "erased-", "oidc-")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1000
HASHER = PasswordHasher(memory_cost=47_104, time_cost=1, parallelism=1)  # argon2id as OWASP's first choice: 46 MiB, one lane
ACCOUNTS = "SELECT p.*, (SELECT max(last_seen) FROM sessions s WHERE s.person = p.name) AS last_seen FROM people p"


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in. name: unique, as it stands with ratings and reviews. roles: what they may do."""

    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        """Whether they have the role."""
        return role in self.roles


LOCAL_PERSON = Person(LOCAL, frozenset(ROLES))


@dataclass(frozen=True)
class Account:
    """What is stored of a person. one_time: their password is good for choosing their own only. provider: they sign in there.

    last_seen: when they last used one of their present sign-ins; None without any.
    """

    name: str
    display_name: str
    roles: frozenset[Role]
    one_time: bool
    provider: bool
    disabled: bool
    created_at: str
    last_seen: str | None


class People:
    """The people of one store. `by` is who makes a change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._audit = Audit(database)

    # reading ---------------------------------------------------------------------------------------------------------

    def any(self) -> bool:
        """Whether people are defined at all; then nobody is the local person any more."""
        return self._database.first("SELECT 1 FROM people LIMIT 1") is not None

    def all(self) -> list[Account]:
        """Everybody, by name."""
        return [_account(row) for row in self._database.query(f"{ACCOUNTS} ORDER BY p.name")]

    def find(self, name: str) -> Account:
        """Raises NotFound."""
        row = self._database.first(f"{ACCOUNTS} WHERE p.name = ?", (name.strip().lower(),))
        if row is None:
            raise NotFound(f"there is no person {name!r}; `flywheel people list` names them")
        return _account(row)

    def developers(self) -> list[Account]:
        """Those who can train, promote and manage people on the pages."""
        return [account for account in self.all() if "developer" in account.roles and not account.disabled]

    # passwords -------------------------------------------------------------------------------------------------------

    def verified(self, name: str, password: str) -> Account | None:
        """The person with this name and password; None where either is wrong or they are disabled. Takes as long for each."""
        row = self._database.first("SELECT * FROM people WHERE name = ?", (name.strip().lower(),))
        stored = (row or {}).get("password_hash")
        try:
            HASHER.verify(stored or _nobodys_hash(), password[: LONGEST_PASSWORD + 1])
        except (Argon2Error, InvalidHashError):
            return None
        if row is None or stored is None or row["disabled"]:
            return None
        if HASHER.check_needs_rehash(stored):
            self._database.update("people", row["name"], {"password_hash": HASHER.hash(password)})
        return self.find(row["name"])

    def set_password(self, name: str, password: str, *, by: str, one_time: bool = False) -> None:
        """Give a new password and end their sessions. Raises InputError for a bad one, Conflict where a provider keeps it."""
        account = self.find(name)
        if account.provider:
            raise Conflict(f"{account.name!r} signs in at the identity provider; the password is changed there")
        changes = {"password_hash": HASHER.hash(_sound(password, account.name)), "one_time": int(one_time)}
        with self._database.transaction():
            self._database.update("people", account.name, changes)
            self._end_sessions(account.name)
            self._audit.record(by, "set password", account.name)

    # changing --------------------------------------------------------------------------------------------------------

    def add(self, name: str, roles: Collection[Role], password: str, *, by: str, one_time: bool = False) -> Account:
        """Add a person. Raises InputError for a bad name or password, Conflict where the name is taken."""
        name = _usable(name)
        row = _new_row(name, name, roles) | {"password_hash": HASHER.hash(_sound(password, name)), "one_time": int(one_time)}
        with self._database.transaction():
            if self._database.first("SELECT 1 FROM people WHERE name = ?", (name,)):
                raise Conflict(f"there is a person {name!r} already; choose another name")
            self._database.insert("people", row)
            self._audit.record(by, "add person", name, roles=sorted(roles))
        return self.find(name)

    def set_roles(self, name: str, roles: Collection[Role], *, by: str) -> Account:
        """From now on they have these roles and no others; at an identity provider's next word, that one's again."""
        account = self.find(name)
        with self._database.transaction():
            self._database.update("people", account.name, {"roles": dump(sorted(roles))})
            self._audit.record(by, "set roles", account.name, roles=sorted(roles))
        return self.find(name)

    def disable(self, name: str, *, by: str) -> None:
        """They may do nothing from now on; what they said stays."""
        account = self.find(name)
        with self._database.transaction():
            self._database.update("people", account.name, {"disabled": 1})
            self._end_sessions(account.name)
            self._audit.record(by, "disable person", account.name)

    def enable(self, name: str, *, by: str) -> None:
        """They may sign in again."""
        account = self.find(name)
        with self._database.transaction():
            self._database.update("people", account.name, {"disabled": 0})
            self._audit.record(by, "enable person", account.name)

    def sign_out(self, name: str, *, by: str) -> int:
        """End all their sessions; returns how many there were."""
        account = self.find(name)
        with self._database.transaction():
            ended = self._end_sessions(account.name)
            self._audit.record(by, "sign out everywhere", account.name, sessions=ended)
        return ended

    def from_provider(self, issuer: str, sub: str, display_name: str, roles: Collection[Role]) -> Account:
        """Whom an identity provider vouches for, with the roles that it says; made at their first sign-in. Raises Conflict."""
        subject = f"{issuer} {sub}"
        with self._database.transaction():
            row = self._database.first("SELECT name, roles FROM people WHERE subject = ?", (subject,))
            shown = " ".join(display_name.split())[:80]
            if row is None:
                name = _provider_name(shown, subject)
                self._database.insert("people", _new_row(name, shown or name, roles) | {"subject": subject})
                self._audit.record(name, "add person", name, roles=sorted(roles))
            else:
                name = row["name"]
                self._database.update("people", name, {"roles": dump(sorted(roles)), "display_name": shown or name})
                if set(json.loads(row["roles"])) != set(roles):
                    self._audit.record(name, "set roles", name, roles=sorted(roles))
        account = self.find(name)
        if account.disabled:
            raise Conflict("Your account is disabled here; ask whoever runs this chat.")
        return account

    def _end_sessions(self, name: str) -> int:
        found = self._database.query("SELECT 1 FROM sessions WHERE person = ?", (name,))
        self._database.execute("DELETE FROM sessions WHERE person = ?", (name,))
        return len(found)


@cache
def _nobodys_hash() -> str:
    """Nothing fits it; made once, since hashing is dear by intention."""
    return HASHER.hash(secrets.token_hex())


def one_time_password() -> str:
    """Random, and easy to read out: `hq3k-7wpm-x2nd-9vtb`."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def _account(row: dict[str, Any]) -> Account:
    return Account(
        name=row["name"],
        display_name=row["display_name"],
        roles=frozenset(json.loads(row["roles"])) & frozenset(ROLES),
        one_time=bool(row["one_time"]),
        provider=row["subject"] is not None,
        disabled=bool(row["disabled"]),
        created_at=row["created_at"],
        last_seen=row["last_seen"],
    )


def _new_row(name: str, display_name: str, roles: Collection[Role]) -> dict[str, Any]:
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise InputError(f"unknown role {unknown[0]!r}; known are {', '.join(ROLES)}")
    row = {"name": name, "display_name": display_name, "roles": dump(sorted(roles)), "password_hash": None, "one_time": 0}
    return row | {"subject": None, "disabled": 0, "created_at": now()}


def _usable(name: str) -> str:
    """The name in small letters. Raises InputError."""
    name = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._@+-]{0,63}", name):
        raise InputError(f"{name!r} cannot be a name: use up to 64 letters (a to z), digits and . _ @ + -")
    if name.startswith(RESERVED):
        raise InputError(f"{name!r} cannot be a name: the product itself uses it; choose another")
    return name


def _sound(password: str, name: str) -> str:
    """The password. Raises InputError where it is too easy."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InputError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; several words are a good one")
    if len(set(password)) < 5 or (name in password.lower() and len(password) < len(name) + SHORTEST_PASSWORD):
        raise InputError("this password is too easy to guess: it repeats itself or holds the name; several words are a good one")
    return password


def _provider_name(display_name: str, subject: str) -> str:
    """Readable, and stable and unique by the account's `sub`: `ann-miller-3f2a91bc`."""
    readable = re.sub(r"[^a-z0-9]+", "-", display_name.lower().partition("@")[0])[:40].strip("-")
    return f"{readable or 'person'}-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"
