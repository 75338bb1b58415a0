"""Signing in, and staying so: who is behind a token, until when, and how often one may guess.

A token is random and known to its browser only; the store keeps its hash, so that a copy of the store signs nobody in. Knows
people and sessions; knows nothing of cookies or pages.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

from flywheel.audit import Audit
from flywheel.database import Database, now
from flywheel.errors import Conflict, InputError
from flywheel.people import ROLES, Account, People, Person

LONGEST = timedelta(days=7)
"""After which somebody must sign in again, however busy."""
PROVIDER_LONGEST = timedelta(hours=12)
"""The same where an identity provider gives the roles, since only the next sign-in hears of a change there."""
IDLE = timedelta(hours=24)
"""Of no use, after which a session ends."""
SEEN_EVERY = timedelta(minutes=1)
"""How exact `last_seen` is; a write at every request would be dear."""

WINDOW = timedelta(minutes=15)
NAME_TRIES, ADDRESS_TRIES = 10, 50
"""Failed tries within the window for one name, and from one address (many people may share one), before nobody may try."""

WRONG = "The name or the password is wrong."


@dataclass(frozen=True)
class Session:
    """One browser that is signed in. id: names it without signing anybody in. one_time: the password must be changed first."""

    id: str
    person: Person
    display_name: str
    one_time: bool
    provider: bool
    browser: str
    created_at: str
    last_seen: str


class Sessions:
    """The sessions of one store."""

    def __init__(self, database: Database, people: People) -> None:
        self._database, self._people = database, people
        self._audit = Audit(database)
        self._key = database.secret("sign_in_key")

    # signing in ------------------------------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, *, address: str, browser: str) -> str:
        """The token of a new session. Raises as `checked`."""
        return self.begin(self.checked(name, password, address=address), browser)

    def checked(self, name: str, password: str, *, address: str) -> Account:
        """Whose password this is. Raises InputError where name or password is wrong, Conflict after too many tries.

        A try counts as failed before it is looked at, so that many at once count too.
        """
        name, moment = name.strip().lower()[:200], now()
        by_name, by_address = self._hash(f"name {name}"), self._hash(f"address {_network(address)}")
        with self._database.transaction():
            self._refuse_guessing({by_name: NAME_TRIES, by_address: ADDRESS_TRIES})
            self._database.insert_many("failed_sign_ins", [{"who": who, "failed_at": moment} for who in (by_name, by_address)])
        account = self._people.verified(name, password)
        if account is None:
            self._note_lock(name, by_name)
            raise InputError(WRONG)
        with self._database.transaction():
            self._database.execute("DELETE FROM failed_sign_ins WHERE who = ?", (by_name,))
            self._database.execute("DELETE FROM failed_sign_ins WHERE who = ? AND failed_at = ?", (by_address, moment))
        return account

    def begin(self, account: Account, browser: str) -> str:
        """The token of a new session for somebody who has shown who they are."""
        token, moment = secrets.token_urlsafe(32), datetime.now(UTC)
        longest = PROVIDER_LONGEST if account.provider else LONGEST
        row = {"token_hash": _digest(token), "person": account.name, "browser": browser[:200], "created_at": moment.isoformat()}
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM sessions WHERE expires_at < ? OR last_seen < ?", (now(), (moment - IDLE).isoformat())
            )
            expiry = {"last_seen": moment.isoformat(), "expires_at": (moment + longest).isoformat()}
            self._database.insert("sessions", row | expiry)
            self._audit.record(account.name, "sign in")
        return token

    def _refuse_guessing(self, who: dict[str, int]) -> None:
        since = datetime.now(UTC) - WINDOW
        self._database.execute("DELETE FROM failed_sign_ins WHERE failed_at < ?", (since.isoformat(),))
        for one, tries in who.items():
            sql = "SELECT failed_at FROM failed_sign_ins WHERE who = ? ORDER BY failed_at DESC LIMIT 1 OFFSET ?"
            full = self._database.first(sql, (one, tries - 1))
            if full is not None:
                minutes = int((datetime.fromisoformat(full["failed_at"]) - since).total_seconds() // 60) + 1
                raise Conflict(f"Too many failed tries. Try again in {minutes} minute{'' if minutes == 1 else 's'}.")

    def _note_lock(self, name: str, by_name: str) -> None:
        """Say in the audit log that somebody's name is locked, once."""
        found = self._database.query("SELECT 1 FROM failed_sign_ins WHERE who = ?", (by_name,))
        if len(found) == NAME_TRIES and self._database.first("SELECT 1 FROM people WHERE name = ?", (name,)):
            self._audit.record(name, "lock sign-in", name, minutes=WINDOW.seconds // 60)

    def _hash(self, text: str) -> str:
        """What was typed as a name may have been a password, so only this of it is kept."""
        return hmac.digest(self._key, text.encode("utf-8", "replace"), "sha256").hex()

    # staying so ------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Session | None:
        """The session behind a token; None where it has ended or its person is disabled. Notes that it was seen."""
        moment = datetime.now(UTC)
        found = self._query("s.token_hash = ?", _digest(token))
        if not found:
            return None
        if datetime.fromisoformat(found[0].last_seen) < moment - SEEN_EVERY:
            sql = "UPDATE sessions SET last_seen = ? WHERE token_hash = ?"
            self._database.execute(sql, (moment.isoformat(), found[0].id))
        return found[0]

    def of(self, name: str) -> list[Session]:
        """Where a person is signed in, the latest used first."""
        return self._query("s.person = ?", name)

    def end(self, token: str) -> None:
        """Sign out of one browser."""
        self._database.execute("DELETE FROM sessions WHERE token_hash = ?", (_digest(token),))

    def end_one(self, name: str, session_id: str) -> None:
        """End one of a person's sessions, which they chose from their list."""
        self._database.execute("DELETE FROM sessions WHERE person = ? AND token_hash = ?", (name, session_id))

    def _query(self, which: str, value: str) -> list[Session]:
        moment = datetime.now(UTC)
        rows = self._database.query(
            "SELECT s.*, p.display_name, p.roles, p.one_time, p.subject FROM sessions s JOIN people p ON p.name = s.person"
            f" WHERE {which} AND p.disabled = 0 AND s.expires_at > ? AND s.last_seen > ? ORDER BY s.last_seen DESC",
            (value, moment.isoformat(), (moment - IDLE).isoformat()),
        )
        return [
            Session(
                id=row["token_hash"],
                person=Person(row["person"], frozenset(json.loads(row["roles"])) & frozenset(ROLES)),
                display_name=row["display_name"],
                one_time=bool(row["one_time"]),
                provider=row["subject"] is not None,
                browser=row["browser"],
                created_at=row["created_at"],
                last_seen=row["last_seen"],
            )
            for row in rows
        ]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _network(address: str) -> str:
    """An IPv4 address, or the 64 bits of an IPv6 one that a single household may have."""
    try:
        wide = ip_address(address).version == 6
    except ValueError:
        return address
    return str(ip_network(f"{address}/64", strict=False)) if wide else address
