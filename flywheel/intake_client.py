"""NeMo Intake as the flywheel uses it, through NVIDIA's client: entries by their `external_id`, and events on them.

Each verb is safe to repeat. Whatever the client raises becomes a PlatformError. Knows nothing of the store, nor of what an entry
says; whether the service is NVIDIA's or the local platform makes no difference here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import nemo_microservices
from nemo_microservices import NeMoMicroservices

from flywheel.errors import PlatformError
from flywheel.settings import Settings
from flywheel.transport import Patience, behind_proxy, spoken_to

PAGE = 100
STEADY = Patience(connect=5.0, read=10.0, retries=0)
"""Nobody waits for Intake: what fails is tried again at the next synchronisation."""

UNKNOWN_ROUTE = (404, 405, 501)

Entry = dict[str, Any]


class NoIntake(PlatformError):
    """The platform answers, and has no Intake."""


class IntakeClient:
    """The Intake of one installation, for one namespace. Every verb raises PlatformError."""

    def __init__(self, settings: Settings, patience: Patience = STEADY) -> None:
        """Make the client; nothing is sent yet. The settings must name NEMO_URL."""
        if not settings.nemo_url:
            raise PlatformError("no services are named: start the local platform first, or set NEMO_URL, NDS_URL and NIM_URL")
        self.url = settings.nemo_url.rstrip("/")
        self.namespace = settings.namespace
        timeout = httpx.Timeout(patience.read, connect=patience.connect)
        self._nemo = NeMoMicroservices(
            base_url=self.url, max_retries=patience.retries, timeout=timeout,
            http_client=httpx.Client(timeout=timeout, follow_redirects=True, trust_env=behind_proxy(self.url)),
        )  # fmt: skip
        self._entries = self._nemo.intake.entries

    def close(self) -> None:
        """Close all connections."""
        self._nemo.close()

    def require(self) -> None:
        """Raises NoIntake where the platform does not answer Intake's routes."""
        with self._spoken_to("list its entries"):
            try:
                page = self._entries.list(page_size=1)
            except nemo_microservices.APIStatusError as error:
                if error.status_code in UNKNOWN_ROUTE:
                    raise NoIntake(f"there is no Intake at {self.url}: it does not know /v1/intake/entries") from error
                raise
            if not isinstance(page.data, list):
                raise ValueError("no list of entries")

    def create(self, entry: Entry) -> bool:
        """Make the entry; False where one with its `external_id` is there already."""
        with self._spoken_to(f"keep the entry {entry['external_id']!r}"):
            try:
                self._entries.create(**entry)
            except nemo_microservices.ConflictError:
                return False
        return True

    def rate(self, external_id: str, rating: dict[str, Any]) -> None:
        """Let this be the entry's rating; {} takes it away."""
        with self._spoken_to(f"change the rating of {external_id!r}"):
            self._entries.update(_external(external_id), user_rating=rating)  # type: ignore[arg-type]

    def replace_events(self, external_id: str, application: str, events: list[dict[str, Any]]) -> None:
        """Let these stand in the place of the events that bear our application's name; others' stay."""
        with self._spoken_to(f"change the events of {external_id!r}"):
            entry: dict[str, Any] = self._entries.retrieve(_external(external_id)).to_dict(mode="json")
            for event in entry.get("events") or []:
                if is_by(event, application):
                    self._entries.events.delete(str(event["id"]), entry_id=str(entry["id"]))
            if events:
                self._entries.events.create(str(entry["id"]), events=events)  # type: ignore[arg-type]

    def delete(self, external_id: str) -> None:
        """Remove the entry; one that is not there is no fault."""
        with self._spoken_to(f"delete the entry {external_id!r}"):
            try:
                self._entries.delete(_external(external_id))
            except nemo_microservices.NotFoundError:
                pass

    def changed(self, since: str) -> Iterator[Entry]:
        """Entries of our app that were changed at or after a moment of Intake's clock ("" = ever), the last changed first."""
        wanted: Any = {"context": {"app": f"{self.namespace}/chat"}, **({"updated_at": {"gte": since}} if since else {})}
        with self._spoken_to("list what was changed"):
            for entry in self._entries.list(filter=wanted, sort="-updated_at", page_size=PAGE):
                yield entry.to_dict(mode="json")

    @contextmanager
    def _spoken_to(self, action: str) -> Iterator[None]:
        with spoken_to("Intake", self.url, action):
            yield


def is_by(event: dict[str, Any], application: str) -> bool:
    """Whether an event bears this application's name."""
    return (event.get("created_by") or {}).get("application") == application


def _external(identity: str) -> str:
    return f"external:{identity}"
