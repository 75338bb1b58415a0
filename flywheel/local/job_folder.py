"""A training job's folder: all that the platform and its training child say to each other.

The platform writes the data and the spec; the child appends events, replaces its checkpoint, leaves an adapter and an outcome.
Knows file names and that every file is whole or absent, whatever is killed when. Knows neither torch nor HTTP.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from flywheel.local.hyperparameters import Hyperparameters
from flywheel.local.training_rows import PROMPT_TEMPLATE

STOPPED = 75
"""The child's exit status when it was asked to stop and saved a checkpoint: the job is to be resumed (EX_TEMPFAIL)."""


class Unfit(Exception):
    """The job cannot be trained as it is; the text is the reason, for the person who started it."""


class TrainingSpec(BaseModel):
    """What the child is to do. `tools` are offered in rows that bring none; a checkpoint is due every `checkpoint_seconds`.

    prompt_template names the two fields of a row without messages: what is asked, and what is answered.
    """

    base_id: str
    base_path: Path
    max_seq_length: int
    hyperparameters: Hyperparameters
    tools: list[dict[str, Any]] = []
    prompt_template: str = PROMPT_TEMPLATE
    checkpoint_seconds: float = 10.0


class Outcome(BaseModel):
    """How the child ended. `detail` is the reason of a failure, written for the person who started the job."""

    status: Literal["completed", "failed"]
    detail: str | None = None


class JobFolder:
    """The files of one training job under `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "log"
        self.checkpoint = path / "checkpoint.safetensors"
        self.adapter = path / "adapter"
        self._spec, self._events, self._outcome = path / "spec.json", path / "metrics.jsonl", path / "outcome.json"

    def write_spec(self, spec: TrainingSpec) -> None:
        """Say what to train; written last, after the data, so that a folder with a spec is complete."""
        replace_text(self._spec, spec.model_dump_json())

    def spec(self) -> TrainingSpec | None:
        """What to train, or None where the platform has not finished preparing the folder."""
        return TrainingSpec.model_validate_json(self._spec.read_bytes()) if self._spec.exists() else None

    def say(self, event: str, **fields: Any) -> None:
        """Append one event with its moment."""
        line = json.dumps({"event": event, "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat(), **fields})
        with self._events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self) -> list[dict[str, Any]]:
        """All events so far; a last line that is still being written is left out."""
        if not self._events.exists():
            return []
        whole = self._events.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def forget_events_after(self, step: int) -> None:
        """Drop the events of the steps from `step` on: they are about to happen again."""
        kept = [event for event in self.events() if event.get("step", -1) < step]
        replace_text(self._events, "".join(json.dumps(event) + "\n" for event in kept))

    def write_outcome(self, outcome: Outcome) -> None:
        """Say how it ended."""
        replace_text(self._outcome, outcome.model_dump_json())

    def outcome(self) -> Outcome | None:
        """How it ended, or None where it has not."""
        return Outcome.model_validate_json(self._outcome.read_bytes()) if self._outcome.exists() else None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of what the child printed."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20_000))
            text = file.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, and make sure that it is on the disk."""
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
