"""A training run's checkpoint: a folder of safetensors files, each small enough to be carried anywhere, and the run's counters.

A checkpoint is written beside the former and takes its place at once; a reader sees the old one or the new one. Knows neither
models nor training; tensors are opaque.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

SHARD_BYTES = 15 * 1024**2
_CURRENT = "checkpoint.json"


class Counters(NamedTuple):
    """How far a run is: finished steps, tokens seen, seconds spent; the next batch is number `place` of pool `pool`."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pool: int = 0
    place: int = 0


def write_checkpoint(folder: Path, counters: Counters, state: dict[str, Tensor]) -> None:
    """Replace the checkpoint in `folder`. Raises OSError, for example on a full disk."""
    name = f"checkpoint-{counters.step}"
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for number, shard in enumerate(_sharded(state)):
        save_file(shard, target / f"{number:03d}.safetensors")
    draft = folder / f"{_CURRENT}.draft"
    with draft.open("w", encoding="utf-8") as file:
        json.dump({"folder": name, "counters": counters._asdict()}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _CURRENT)
    for former in folder.glob("checkpoint-*"):
        if former != target:
            shutil.rmtree(former)


def read_checkpoint(folder: Path) -> tuple[Counters, dict[str, Tensor]] | None:
    """The checkpoint in `folder`, or None where there is none."""
    path = folder / _CURRENT
    if not path.exists():
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    state: dict[str, Tensor] = {}
    for shard in sorted((folder / saved["folder"]).glob("*.safetensors")):
        state |= load_file(shard)
    return Counters(**saved["counters"]), state


def remove_checkpoint(folder: Path) -> None:
    """Drop the checkpoint in `folder`, if there is one."""
    (folder / _CURRENT).unlink(missing_ok=True)
    for former in folder.glob("checkpoint-*"):
        shutil.rmtree(former)


def _sharded(state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        if shards[-1] and size + tensor.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.detach().contiguous().cpu()
        size += tensor.nbytes
    return shards
