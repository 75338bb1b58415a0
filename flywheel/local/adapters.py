"""LoRA adapters beside one base model: read from peft's folders, applied row by row within one batch.

Each adapter adds `up(down(x))` to the outputs of the linear layers it names, for the rows of the batch that asked for it and for
no others; the base weights are never touched, so adapters come and go at any step. Knows peft's files; does not know requests or
tokens. peft itself would do the same (`adapter_names`), at nearly twice the time per generated token.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

_PREFIX = "base_model.model."
_MORE_THAN_LORA = ("use_dora", "fan_in_fan_out", "modules_to_save", "alpha_pattern", "lora_bias", "trainable_token_indices")


class AdapterError(ValueError):
    """The folder holds no adapter that fits the base model; the text says which folder and why."""


class Pair(NamedTuple):
    """The two matrices of one layer: `down` (inputs × rank) and `up` (rank × outputs, scaling included)."""

    down: torch.Tensor
    up: torch.Tensor


class Adapter(NamedTuple):
    """One adapter: its model id and a pair of matrices for each layer that it changes, by the layer's name in the base model."""

    model_id: str
    layers: dict[str, Pair]


class Group(NamedTuple):
    """Consecutive rows of a batch, `start` to `stop` (exclusive), that one adapter answers."""

    adapter: Adapter
    start: int
    stop: int


class AdapterBank:
    """Applies adapters inside a model's forward pass. Used by the one thread that runs the model."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._hooked: set[str] = set()
        self._groups: Sequence[Group] = ()

    def prepare(self, adapter: Adapter) -> None:
        """Let the layers that this adapter names take part in `route`."""
        for name in adapter.layers.keys() - self._hooked:
            self._model.get_submodule(name).register_forward_hook(self._hook(name))
            self._hooked.add(name)

    def route(self, adapters: Sequence[Adapter | None]) -> None:
        """Say who answers each row of the coming forward passes; None is the base model. Neighbours go together."""
        groups: list[Group] = []
        for row, adapter in enumerate(adapters):
            if groups and groups[-1].adapter is adapter and groups[-1].stop == row:
                groups[-1] = groups[-1]._replace(stop=row + 1)
            elif adapter is not None:
                groups.append(Group(adapter, row, row + 1))
        self._groups = groups

    def _hook(self, name: str) -> Callable[[torch.nn.Module, tuple[Any, ...], torch.Tensor], torch.Tensor]:
        def add(_layer: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            for adapter, start, stop in self._groups:
                if pair := adapter.layers.get(name):
                    output[start:stop] += inputs[0][start:stop] @ pair.down @ pair.up
            return output

        return add


def read_adapter(model_id: str, folder: Path, model: torch.nn.Module) -> Adapter:
    """Read peft's `adapter_config.json` and `adapter_model.safetensors`, and check every matrix against the base model.

    Raises `AdapterError` where files are missing, do not fit, hold numbers that are not finite, or need more than plain LoRA.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError(f"cannot read the adapter {model_id!r} in {str(folder)!r}: {error}") from error
    _check_config(model_id, config)
    names = {name.rsplit(".lora_", 1)[0] for name in tensors}
    layers = {name.removeprefix(_PREFIX): _pair(model_id, name, tensors, config, model) for name in sorted(names)}
    if not layers or len(tensors) != 2 * len(layers):
        raise AdapterError(
            f"the adapter {model_id!r} holds {len(tensors)} matrices for {len(layers)} layers; plain LoRA has two each"
        )
    return Adapter(model_id, layers)


def _check_config(model_id: str, config: Any) -> None:
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise AdapterError(f"the adapter {model_id!r} is of type {kind!r}; only LORA can be served")
    used = [name for name in _MORE_THAN_LORA if config.get(name)] + ["bias"] * (config.get("bias", "none") != "none")
    if used:
        raise AdapterError(f"the adapter {model_id!r} uses {', '.join(used)}; only plain LoRA can be served")


def _pair(model_id: str, name: str, tensors: dict[str, torch.Tensor], config: dict[str, Any], model: torch.nn.Module) -> Pair:
    import torch

    down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
    layer = dict(model.named_modules()).get(name.removeprefix(_PREFIX))
    if down is None or up is None or not isinstance(layer, torch.nn.Linear):
        raise AdapterError(f"the adapter {model_id!r} changes {name!r}, which is no linear layer of the base model")
    rank = down.shape[0]
    if down.shape != (rank, layer.in_features) or up.shape != (layer.out_features, rank):
        raise AdapterError(
            f"the adapter {model_id!r} is for another base model: {name!r} has matrices {tuple(down.shape)} and {tuple(up.shape)}"
            f" for a layer of {layer.in_features} inputs and {layer.out_features} outputs"
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise AdapterError(f"the adapter {model_id!r} has numbers in {name!r} that are not finite: its training diverged")
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    dtype = layer.weight.dtype
    return Pair(down.T.to(dtype).contiguous(), (up.T.to(dtype) * scale).contiguous())
