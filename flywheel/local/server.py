"""The local platform's HTTP: services under their prefixes on one port.

Knows where each service stands: `/nemo` is NEMO_URL, `/nds` is NDS_URL, `/nim` is NIM_URL. Knows no route of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI

from flywheel.local import answers
from flywheel.local.guard import Guard

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(services: Mapping[str, list[APIRouter]], lifespan: Lifespan | None = None) -> FastAPI:
    """One application in which every prefix, such as `/nds`, carries its routers; lifespan starts and stops what they need."""
    # No pages of documentation: their scripts come from the network, and the clients know the routes.
    app = FastAPI(title="flywheel local platform", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    for prefix, routers in services.items():
        for router in routers:
            app.include_router(router, prefix=prefix)
    answers.install(app)
    app.add_middleware(Guard)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "live"}

    return app
