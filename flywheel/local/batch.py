"""A running batch: several half-written answers, each with its own length and adapter, that advance by one token a step.

Rows join and leave between steps; their attention caches stand side by side, padded on the left. Beginnings that were read before
(the same tools, the same conversation so far) are not computed again. Knows the model's forward pass, not text or requests.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flywheel.local.adapters import Adapter, AdapterBank

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Layers = list[tuple["torch.Tensor", "torch.Tensor"]]  # keys and values of each layer: rows × heads × tokens × size

_REMEMBERED_BYTES = 128 * 1024**2
_WORTH_REUSING = 16  # tokens; below that, copying costs as much as computing


@dataclass
class _Row(Generic[T]):
    item: T
    adapter: Adapter | None
    length: int  # tokens in the cache


@dataclass(eq=False)
class _Beginning:
    adapter: Adapter | None
    tokens: list[int]
    layers: Layers

    @property
    def size(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


class Batch(Generic[T]):
    """Rows being generated, each carrying an `item` of the caller's. Used by the one thread that runs the model."""

    def __init__(self, model: Any, bank: AdapterBank) -> None:
        self._model = model
        self._bank = bank
        self._rows: list[_Row[T]] = []
        # transformers renames the argument: 5.24 warns of the old name, versions before do not know the new one
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self._cache = _cache([])
        self._beginnings: list[_Beginning] = []  # the most recently used last

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def items(self) -> list[T]:
        """The callers' items, in the order of `step`'s tokens and logits."""
        return [row.item for row in self._rows]

    def read(self, tokens: list[int], adapter: Adapter | None) -> tuple[torch.Tensor, Layers]:
        """Run a prompt through the model: the logits (vocabulary) after its last token, and its cache for `join`."""
        import torch

        known, layers = self._longest_beginning(tokens, adapter)
        cache = _cache(layers)
        self._bank.route([adapter])
        inputs, positions = torch.tensor([tokens[known:]]), torch.arange(known, len(tokens))[None]
        logits = self._forward(inputs, torch.ones(1, len(tokens), dtype=torch.long), positions, cache)
        layers = _layers(cache)
        self._remember(_Beginning(adapter, tokens, layers))
        return logits[0], layers

    def embed(self, tokens: list[int], adapter: Adapter | None) -> torch.Tensor:
        """The mean of the last layer's states (size) over a text's tokens, of length one. The rows are left alone."""
        import torch

        self._bank.route([adapter])
        states = self._model.base_model(input_ids=torch.tensor([tokens]), use_cache=False).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(0), dim=0)

    def join(self, item: T, adapter: Adapter | None, layers: Layers) -> None:
        """Add a row that was read."""
        self._rows.append(_Row(item, adapter, layers[0][0].shape[2]))
        if len(self._rows) == 1:
            self._cache = _cache(layers)
            return
        running = _layers(self._cache)
        width = max(layers[0][0].shape[2], running[0][0].shape[2])
        order = sorted(
            range(len(self._rows)), key=lambda place: id(self._rows[place].adapter)
        )  # neighbours by adapter, for the bank
        self._rows = [self._rows[place] for place in order]
        pairs = zip(running, layers, strict=True)
        self._cache = _cache(
            [(_stacked(old[0], new[0], width)[order], _stacked(old[1], new[1], width)[order]) for old, new in pairs]
        )

    def leave(self, gone: Callable[[T], bool]) -> None:
        """Drop the rows whose item is gone, and the padding that only they needed."""
        places = [place for place, row in enumerate(self._rows) if not gone(row.item)]
        if len(places) == len(self._rows):
            return
        self._rows = [self._rows[place] for place in places]
        width = max((row.length for row in self._rows), default=0)
        kept = [(keys[places, :, -width:], values[places, :, -width:]) for keys, values in _layers(self._cache)] if width else []
        self._cache = _cache(kept)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to each row: the logits (rows × vocabulary) of what follows."""
        import torch

        width = self._cache.get_seq_length()
        padding = torch.tensor([[width - row.length] for row in self._rows])
        self._bank.route([row.adapter for row in self._rows])
        mask = (torch.arange(width + 1)[None] >= padding).long()
        logits = self._forward(torch.tensor([[token] for token in tokens]), mask, width - padding, self._cache)
        for row in self._rows:
            row.length += 1
        return logits

    def _forward(self, inputs: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits (rows × vocabulary) after the last of the inputs; the cache grows by the inputs."""
        cached = {self._cache_name: cache, "use_cache": True}
        output = self._model(input_ids=inputs, attention_mask=mask, position_ids=positions, logits_to_keep=1, **cached)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def forget(self, adapter: Adapter | None) -> None:
        """Drop what is remembered of an adapter that is served no more."""
        self._beginnings = [beginning for beginning in self._beginnings if beginning.adapter is not adapter]

    def _longest_beginning(self, tokens: list[int], adapter: Adapter | None) -> tuple[int, Layers]:
        best, shared = None, _WORTH_REUSING - 1
        for beginning in self._beginnings:
            if beginning.adapter is adapter and (common := _common(beginning.tokens, tokens[:-1])) > shared:
                best, shared = beginning, common
        if best is None:
            return 0, []
        self._beginnings.append(self._beginnings.pop(self._beginnings.index(best)))
        return shared, [(keys[:, :, :shared], values[:, :, :shared]) for keys, values in best.layers]

    def _remember(self, beginning: _Beginning) -> None:
        adapter, tokens = beginning.adapter, beginning.tokens
        self._beginnings = [known for known in self._beginnings if known.adapter is not adapter or known.tokens != tokens]
        self._beginnings.append(beginning)
        total = sum(known.size for known in self._beginnings)
        while total > _REMEMBERED_BYTES:
            total -= self._beginnings.pop(0).size


def _common(left: list[int], right: list[int]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(left), len(right)))


def _stacked(above: torch.Tensor, below: torch.Tensor, width: int) -> torch.Tensor:
    import torch

    return torch.cat([torch.nn.functional.pad(tensor, (0, 0, width - tensor.shape[2], 0)) for tensor in (above, below)])


def _cache(layers: Layers) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()
    for place, (keys, values) in enumerate(layers):
        cache.update(keys, values, place)
    return cache


def _layers(cache: Any) -> Layers:
    return [(layer.keys, layer.values) for layer in cache.layers]
