"""Serves some of the local platform's routers on a real port, in a thread, for the tests beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn
from fastapi import APIRouter

from flywheel.local.server import create_app


class LocalServer(NamedTuple):
    """A running server's address, without a slash at the end."""

    url: str


@contextmanager
def serve(services: Mapping[str, list[APIRouter]]) -> Iterator[LocalServer]:
    """Serve the routers under their prefixes until the block ends."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(services), port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield LocalServer(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(timeout=10)
