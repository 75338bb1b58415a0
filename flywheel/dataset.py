"""The data sets of a run: made from what the store holds, kept in the state folder, and recorded.

A run that compares recipes has one for each, of the same curation and with the same exam. Knows the store and the folder; what
goes into a data set `curate`, `red_team` and `preferences` decide.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flywheel.curate import Curated, curate
from flywheel.errors import StorageError
from flywheel.history import Run
from flywheel.ledger import Example, Ledger
from flywheel.pii import mask
from flywheel.policy import read_policy
from flywheel.preferences import with_preferences
from flywheel.quarantine import Quarantine
from flywheel.red_team import with_attacks
from flywheel.rows import Message, Row
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.starter import known_rows, load_old_skills, load_red_team, load_replay
from flywheel.store import Store


class Datasets:
    """The data sets of one installation."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._ledger = Ledger(store.database)

    def make(self, run: Run) -> None:
        """Make what a run learns from and record which example went where; repeating it after a crash begins anew.

        Raises InputError where nothing can train, StorageError.
        """
        caps = read_policy(self._settings.home).caps
        Quarantine(self._store.database).scan(known_rows(), caps)
        examples = self._ledger.examples()
        whole = curate(examples, load_replay(), load_old_skills(), run_id=run.id, caps=caps)
        whole = with_attacks(whole, load_red_team())
        made = {dataset_id: self._for(method, whole, examples) for method, dataset_id in run.datasets.items()}
        for dataset_id, curated in made.items():
            self._write(dataset_id, curated)
        with self._store.database.transaction():  # all or none: one that is recorded is not made again
            for dataset_id, curated in made.items():
                digest, manifest = curated.manifest["digest"], curated.manifest
                self._ledger.save_dataset(dataset_id, digest, manifest, curated.splits, run_id=run.id)

    def manifest(self, dataset_id: str) -> dict[str, Any] | None:
        """What was recorded of it; None until it is made."""
        return self._ledger.dataset(dataset_id)

    def files(self, dataset_id: str) -> dict[str, bytes]:
        """Path in the Data Store repo → content. Raises StorageError."""
        manifest = self.manifest(dataset_id) or {}
        return {path: self.read(dataset_id, path) for path in manifest["files"]}

    def read(self, dataset_id: str, path: str) -> bytes:
        """A file in the data set's folder. Raises StorageError."""
        try:
            return (self.folder(dataset_id) / path).read_bytes()
        except OSError as error:
            raise StorageError(f"the run's file {path!r} cannot be read: {error.strerror}; start another run") from error

    def folder(self, dataset_id: str) -> Path:
        """Where it is kept."""
        return self._settings.home / "datasets" / dataset_id

    def _for(self, method: str, whole: Curated, examples: list[Example]) -> Curated:
        if method == "sft":
            return whole
        spaced = self._settings.base_model != LOCAL_BASE_MODEL
        return with_preferences(whole, examples, self._wrong_answers(examples), spaced=spaced)

    def _wrong_answers(self, examples: list[Example]) -> dict[str, Message]:
        """Example id → what the model itself had said first, for corrections of its turns; masked as the examples are."""
        wrong: dict[str, Message] = {}
        for example in examples:
            if example.source == "correction" and example.turn_id:
                turn = self._store.turn(example.turn_id)
                said = next((each for each in turn.messages if each["role"] == "assistant"), None)
                if said is not None:
                    whole = Row([*turn.context, {"role": "user", "content": turn.question}, said], turn.tools)
                    wrong[example.id] = mask(whole).row.messages[-1]
        return wrong

    def _write(self, dataset_id: str, made: Curated) -> None:
        folder = self.folder(dataset_id)
        draft = folder.with_suffix(".draft")
        try:
            for place in (draft, folder):  # what a crash left
                shutil.rmtree(place, ignore_errors=True)
            for path, content in made.files.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                (draft / path).write_bytes(content)
            draft.rename(folder)
        except OSError as error:
            raise StorageError(f"cannot write the dataset {str(folder)!r}: {error.strerror}; make room and run again") from error
