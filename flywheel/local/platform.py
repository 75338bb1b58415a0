"""One whole platform: state, files, engine, jobs and their HTTP, built together, opened and stopped in order.

Knows which part needs which, and that the port answers before the model is loaded. Knows no command line and no signal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI

from flywheel.local import datastore, entities, intake, nim
from flywheel.local.base_model import BaseModel
from flywheel.local.customizer import Customizer
from flywheel.local.deployment import Deployment
from flywheel.local.engine import Engine
from flywheel.local.evaluator import Evaluator
from flywheel.local.generation import UnknownModel
from flywheel.local.guardrails import Guardrails
from flywheel.local.repos import Repos
from flywheel.local.server import create_app
from flywheel.local.state import Entity, Exists, State

log = logging.getLogger(__name__)


class Urls(NamedTuple):
    """Where the platform's services answer, under NVIDIA's names for them."""

    nemo_url: str
    nds_url: str
    nim_url: str

    @classmethod
    def at(cls, address: str) -> Urls:
        """The services' addresses on a server such as `http://127.0.0.1:8000`."""
        return cls(f"{address}/nemo", f"{address}/nds", f"{address}/nim")


class Platform:
    """All parts of one platform over its home folder."""

    def __init__(self, home: Path, base: BaseModel, urls: Urls) -> None:
        """Open the state and begin to load the model in the background. Nothing runs before the app of `app` is served."""
        self._base = base
        self._state = State(home)
        with suppress(Exists):
            self._state.create("namespace", "", datastore.HOME_NAMESPACE, entities.Namespace().model_dump(exclude={"id"}))
        self._repos = Repos(self._state)
        self._engine = Engine(base.id, base.path)
        self._customizer = Customizer(self._state, self._repos, self._engine, home, base.id, base.path)
        self._evaluator = Evaluator(self._state, self._repos, urls.nim_url)
        self._deployment = Deployment(self._state, self._engine, urls.nim_url)
        self._guardrails = Guardrails(self._state, self._repos, self._engine)

    def app(self, opened: Callable[[], None], failed: Callable[[Exception], None]) -> FastAPI:
        """The application to serve. One of the two is called once: when chat and jobs are answered, or if they never will be."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            opening = asyncio.create_task(self._open(opened, failed))
            yield
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await self._stop()

        services = {
            "/nemo": [
                entities.router(self._state, self._model_deleted),
                self._customizer.router(),
                self._evaluator.router(),
                self._deployment.router(),
                self._guardrails.router(),
                intake.router(self._state, self._repos),
            ],
            "/nds": [datastore.router(self._repos)],
            "/nim": [nim.router(self._engine)],
        }
        return create_app(services, lifespan)

    async def _open(self, opened: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        log.info("loading the model %s from %s", self._base.id, self._base.path)
        try:
            await _in_daemon(self._engine.wait_ready)
            await self._customizer.start()
            await self._evaluator.start()
            log.info("ready: serving %s", ", ".join(self._engine.models()))
            opened()
        except Exception as error:
            log.exception("the platform could not be opened")
            failed(error)

    async def _stop(self) -> None:
        log.info("stopping")
        # Each is stopped whatever happens to the others: a training child must not outlive this process.
        for result in await asyncio.gather(self._evaluator.stop(), self._customizer.stop(), return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a part of the platform did not stop cleanly", exc_info=result)
        if self._engine.ready:
            await asyncio.to_thread(self._engine.close)
        self._state.close()

    def _model_deleted(self, model: Entity) -> None:
        name = f"{model['namespace']}/{model['name']}"
        with suppress(UnknownModel):
            self._engine.unload_adapter(name)
        self._customizer.forget(name)


async def _in_daemon(act: Callable[[], None]) -> None:
    """Wait for something that blocks and cannot be interrupted, in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def run() -> None:
        error: Exception | None = None
        try:
            act()
        except Exception as raised:
            error = raised
        # The loop is closed where the process stopped waiting.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True).start()
    await done
