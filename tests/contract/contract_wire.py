"""What the tests of the contract share: the services' addresses, and the ear on the wire between them and their clients."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import NamedTuple

import httpx


class Services(NamedTuple):
    """Where the services answer, the base model that they serve, and the local platform's home (None for real services)."""

    nemo_url: str
    nds_url: str
    nim_url: str
    base_model: str
    base_version: str
    home: Path | None

    @property
    def config(self) -> str:
        """The base model's customization config."""
        return f"{self.base_model}@{self.base_version}"


class Wire:
    """Every request that the clients of the suite send, as `service METHOD /path`."""

    def __init__(self, services: Services) -> None:
        self._bases = {"nemo": services.nemo_url, "nds": services.nds_url, "nim": services.nim_url}
        self.requests: list[str] = []
        self.bodies: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> None:
        """Take note of a request: a hook of httpx."""
        url = str(request.url.copy_with(query=None))
        for service, base in self._bases.items():
            if url.startswith(base + "/"):
                self.requests.append(f"{service} {request.method} {url.removeprefix(base)}")
                self.bodies.append(request)

    async def hear(self, request: httpx.Request) -> None:
        """The same for asynchronous clients."""
        self(request)

    def client(self) -> httpx.Client:
        """A plain client that is heard."""
        # The real services may be slow, the local ones share a processor with their own training.
        return httpx.Client(event_hooks={"request": [self]}, timeout=120, trust_env=False)


def fresh_namespace() -> str:
    """A name that nobody else uses."""
    return f"contract-{uuid.uuid4().hex[:10]}"
