"""What goes on beside the runs and may take its time: telling the webhook, removing what old runs left.

Done by the process that works runs off, in a thread of its own. Knows in which order; how, `webhook` and `retain` know.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from flywheel.errors import FlywheelError, InputError
from flywheel.history import RunRecords
from flywheel.nemo import Nemo
from flywheel.policy import read_policy
from flywheel.retain import Retention
from flywheel.settings import Settings
from flywheel.store import Store
from flywheel.webhook import Webhook

LOOK_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Upkeep:
    """One object a process; `on_duty` says whether this process is the one that does it."""

    def __init__(self, settings: Settings, store: Store, nemo: Nemo, on_duty: Callable[[], bool]) -> None:
        self._settings, self._nemo, self._on_duty = settings, nemo, on_duty
        self._records = RunRecords(store.database)
        self._webhook = Webhook(store.database, settings.webhook_secret, lambda: read_policy(settings.home).notify)
        self._retention = Retention(settings, store, lambda: read_policy(settings.home).retention)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look_around, name="upkeep", daemon=True)
        self._told: dict[str, str] = {}

    def problem(self) -> str | None:
        """Why nobody is told what happens, or None."""
        try:
            read_policy(self._settings.home).notify.address()
        except InputError as error:
            return str(error)
        return None

    def start(self) -> None:
        """Begin to look around."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is being done just now is ended first."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look_around(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            if self._on_duty():
                self._try("the webhook", self._webhook.deliver)
                self._try("old runs", self._tidy)

    def _tidy(self) -> None:
        for run in self._retention.leaving():
            if self._closing.is_set() or self._records.active():
                return
            self._retention.remove(run, self._nemo)

    def _try(self, what: str, action: Callable[[], object]) -> None:
        """Do it; what keeps it from being done is told once, and tried again at the next look."""
        try:
            action()
        except FlywheelError as error:
            if self._told.get(what) != str(error):
                logger.warning("%s: %s", what, error)
            self._told[what] = str(error)
        else:
            self._told.pop(what, None)
