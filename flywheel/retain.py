"""What is kept of old runs: the record always; datasets' files, adapters and logs of the newest runs only.

What serves, what served before it, and what waits for a decision is kept however old. Knows which run may go and what belongs to
it. When that is looked at, others decide.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flywheel.database import now
from flywheel.errors import StorageError
from flywheel.history import Run, RunRecords
from flywheel.promote import Registry
from flywheel.settings import Settings
from flywheel.store import Store

if TYPE_CHECKING:
    from flywheel.nemo import Nemo

ALL = 10**9


@dataclass(frozen=True)
class Policy:
    """runs: of so many newest runs the files and models are kept; 0 = of all."""

    runs: int = 20


class Retention:
    """The old runs of one installation. policy: reads the present policy, or raises InputError."""

    def __init__(self, settings: Settings, store: Store, policy: Callable[[], Policy]) -> None:
        self._settings = settings
        self._database = store.database
        self._policy = policy
        self._records, self._registry = RunRecords(store.database), Registry(store.database)

    def leaving(self) -> list[Run]:
        """The runs whose files and models may go, oldest first. Raises InputError."""
        keep = self._policy().runs
        if keep <= 0:
            return []
        older = self._records.runs(ALL)[keep:]
        needed = self._needed()
        return [run for run in reversed(older) if _over(run) and run.removed_at is None and not needed & _models(run)]

    def remove(self, run: Run, nemo: Nemo) -> None:
        """Remove what a run left; may be repeated. Raises PlatformError, StorageError: then it is tried again later."""
        for model in sorted(_models(run)):
            nemo.remove_model(model)
        for dataset_id in run.datasets.values():
            nemo.remove_dataset(dataset_id)
            self._remove_folder(dataset_id)
        self._database.update("runs", run.id, {"removed_at": now()})

    def _remove_folder(self, dataset_id: str) -> None:
        folder = self._settings.home / "datasets" / dataset_id
        try:
            for place in (folder, folder.with_suffix(".draft")):
                if place.exists():
                    shutil.rmtree(place)
        except OSError as error:
            raise StorageError(f"cannot remove {str(folder)!r}: {error.strerror}; look at its permissions") from error

    def _needed(self) -> set[str]:
        """What serves now and what a roll-back may bring back."""
        served = self._registry.served().model
        return {served} | {move.previous for move in self._registry.promotions(ALL) if move.model == served and move.previous}


def _models(run: Run) -> set[str]:
    """All that it trained."""
    return {facts["model"] for facts in run.candidates.values()} | ({run.candidate} if run.candidate else set())


def _over(run: Run) -> bool:
    """Whether nothing will come of the run any more; a candidate about which nobody has decided may still serve."""
    return not run.active and (run.status != "succeeded" or run.outcome in ("promoted", "rejected"))
