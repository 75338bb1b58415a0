"""Tells another service of events: each a small JSON, signed, sent again with growing pauses until it was taken.

The events table is the outbox, so nothing is lost when this process dies; what was taken just before that comes again, under the
same id. Sends ids, verdicts and model names; never what people wrote.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx

from flywheel.database import Database, dump
from flywheel.errors import InputError
from flywheel.events import SELECT, Event, event_from

SIGNATURE = "X-Flywheel-Signature"
"""Header: `sha256=` and the HMAC-SHA256 of the body under WEBHOOK_SECRET, in hex; left out where there is no secret."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
ATTEMPTS = 30
"""About a day."""
TIMEOUT = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """webhook: where events are sent; "" = nowhere."""

    webhook: str = ""

    def address(self) -> str | None:
        """The address, or None. Raises InputError for one that would carry the words in the clear."""
        if not self.webhook:
            return None
        parts = urlsplit(self.webhook)
        if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
            return self.webhook
        raise InputError(f"webhook in [notify] is {self.webhook!r}; give an https address, or one on this machine")


class Webhook:
    """The outbox of one installation. policy: reads the present policy, or raises InputError."""

    def __init__(self, database: Database, secret: str, policy: Callable[[], Policy]) -> None:
        self._database = database
        self._secret = secret
        self._policy = policy

    def deliver(self, moment: datetime | None = None) -> int:
        """Send what is due and say how many were taken; stops at the first that was not. Raises InputError."""
        moment = moment or datetime.now(UTC)
        address = self._policy().address()
        if address is None:  # what happens now is no news to somebody who asks to be told later
            self._database.execute("UPDATE events SET settled_at = ? WHERE settled_at IS NULL", (_stamp(moment),))
            return 0
        due = f"{SELECT} WHERE e.settled_at IS NULL AND e.due_at <= ? ORDER BY e.id LIMIT 20"
        events = [event_from(record) for record in self._database.query(due, (_stamp(moment),))]
        for taken, event in enumerate(events):
            fault = self._send(address, event)
            if fault is not None:
                self._put_off(event, moment, fault)
                return taken
            self._database.execute("UPDATE events SET settled_at = ? WHERE id = ?", (_stamp(moment), event.id))
        return len(events)

    def _send(self, address: str, event: Event) -> str | None:
        """None where it was taken, else what went wrong."""
        body = dump(payload(event)).encode()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers[SIGNATURE] = f"sha256={hmac.digest(self._secret.encode(), body, hashlib.sha256).hex()}"
        try:
            proxied = urlsplit(address).hostname not in LOOPBACK
            answer = httpx.post(address, content=body, headers=headers, timeout=TIMEOUT, trust_env=proxied)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"HTTP {answer.status_code}"

    def _put_off(self, event: Event, moment: datetime, fault: str) -> None:
        """Try it again after a pause that doubles, or give it up after ATTEMPTS."""
        found = self._database.first("SELECT attempts FROM events WHERE id = ?", (event.id,)) or {"attempts": 0}
        attempts = found["attempts"] + 1
        due = moment + min(PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
        settled = _stamp(moment) if attempts >= ATTEMPTS else None
        sql = "UPDATE events SET attempts = ?, due_at = ?, settled_at = ? WHERE id = ?"
        self._database.execute(sql, (attempts, _stamp(due), settled, event.id))
        if settled or attempts == 1:
            how = "was given up" if settled else "will be tried again"
            logger.warning("the webhook did not take event %d (%s); it %s", event.id, fault, how)


def payload(event: Event) -> dict[str, str | int | None]:
    """What is sent of an event. Its id stays the same whenever it is sent again."""
    return {
        "id": event.id,
        "event": "run ended" if event.kind == "ended" else event.kind,
        "at": event.created_at,
        "run": event.run_id,
        "status": event.status,
        "outcome": event.outcome,
        "verdict": event.verdict,
        "model": event.model,
    }


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
