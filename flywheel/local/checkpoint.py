"""A training job's checkpoint: one safetensors file with everything that the next step depends on.

Knows how to write it whole or not at all, and to read it back. Knows neither models nor jobs; tensors are opaque.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

_BEST = "best/"


class Progress(BaseModel):
    """How far a job is. `step` counts finished steps; `recent` holds the losses since the last one was logged.

    `best_loss` and `best_epoch` (counted from 1) are those of the best validation so far.
    """

    step: int = 0
    recent: list[float] = []
    best_loss: float | None = None
    best_epoch: int | None = None


class Checkpoint(BaseModel, arbitrary_types_allowed=True):
    """Progress, the state of training, and the adapter of the best validation so far (empty where there was none)."""

    progress: Progress
    state: dict[str, Tensor]
    best: dict[str, Tensor]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file at `path`; a reader sees the old one or the new one. Raises OSError, for example on a full disk."""
    tensors = {**checkpoint.state, **{_BEST + name: tensor for name, tensor in checkpoint.best.items()}}
    draft = path.with_name(path.name + ".draft")
    with draft.open("wb") as file:
        file.write(save(tensors, {"progress": checkpoint.progress.model_dump_json()}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None where there is none yet."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        progress = Progress.model_validate_json(file.metadata()["progress"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    best = {name.removeprefix(_BEST): tensor for name, tensor in tensors.items() if name.startswith(_BEST)}
    return Checkpoint(progress=progress, state={k: v for k, v in tensors.items() if not k.startswith(_BEST)}, best=best)
