"""Samples as batches of tokens: rendered by the model's own chat template, several turns behind one list of tools.

The tools of a sample stand once at the start of a row and its turns behind them; each turn sees the tools and itself, at the
positions it would have alone. Only what the assistant says carries labels. Batches come in *pools*: pool number n of a seed is
the same on every machine, so that a run can go on where it stopped. Knows no model and no optimiser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from flywheel.local.base.draw import Draw
from flywheel.local.base.turns import Sample, Turns
from flywheel.local.chat_format import ChatFormat

POOL_SAMPLES = 160
"""So many samples are drawn at once and sorted by length, to waste little on padding."""
MAX_TOKENS = 1024
"""Longer rows are left out: attention grows with the square of their length."""
LENGTH_STEP = 32
_SEEDS_APART = 1_000_000
_PADDING = -1


class Encoded(NamedTuple):
    """One row. `turn` is 0 in the shared beginning, then the turn's number; `labels` are -1 or the token that comes next."""

    ids: list[int]
    positions: list[int]
    turn: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Rows side by side, padded on the right: four tensors (rows, width) as in `Encoded`, padding being turn -1."""

    ids: torch.Tensor
    positions: torch.Tensor
    turn: torch.Tensor
    labels: torch.Tensor

    @property
    def tokens(self) -> int:
        """How many tokens are not padding."""
        return int((self.turn != _PADDING).sum())

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.ids.to(device), self.positions.to(device), self.turn.to(device), self.labels.to(device))

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """The attention mask (rows, 1, width, width), added to the scores: who sees whom."""
        seen = (self.turn[:, :, None] == self.turn[:, None, :]) | (self.turn[:, None, :] == 0)
        width = self.turn.shape[1]
        seen &= torch.ones(width, width, dtype=torch.bool, device=seen.device).tril()
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


class Encoder:
    """Renders samples with the tokenizer and the chat template in a folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._chat = ChatFormat(self._tokenizer, self._tokenizer.model_max_length)
        markers: Any = self._tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>", "<|end|>"])
        self._user, self._assistant, self._end = markers

    def encode(self, sample: Sample) -> Encoded:
        """A sample as one row."""
        first = self._ids(self._chat.text(sample.turns[0].messages, sample.tools, opened=False))
        start = first.index(self._user)
        row = Encoded(first[:start], list(range(start)), [0] * start, [_PADDING] * start)
        for number, turn in enumerate(sample.turns, 1):
            # The tools stand before every turn alike: from the second on they need not be rendered again.
            own = first[start:] if number == 1 else self._ids(self._chat.text(turn.messages, None, opened=False))[1:]
            row.ids.extend(own)
            row.positions.extend(range(start, start + len(own)))
            row.turn.extend([number] * len(own))
            row.labels.extend(self._labels(own))
        return row

    def _labels(self, ids: list[int]) -> list[int]:
        """The token that comes next, wherever the assistant writes it, its end of turn included."""
        labels, speaking = [], False
        for token, following in zip(ids, [*ids[1:], _PADDING], strict=True):
            speaking = token == self._assistant or (speaking and token != self._end)
            labels.append(following if speaking else _PADDING)
        return labels

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class Pools(Dataset[list[Batch]]):
    """Pool number n of a seed: the batches, in random order, of POOL_SAMPLES fresh samples."""

    def __init__(self, folder: Path, seed: int, batch_tokens: int, samples: int = POOL_SAMPLES) -> None:
        self._folder = folder
        self._seed = seed
        self._batch_tokens = batch_tokens
        self._samples = samples
        self._encoder: Encoder | None = None

    def __len__(self) -> int:
        return _SEEDS_APART

    def __getitem__(self, pool: int) -> list[Batch]:
        if self._encoder is None:  # made where it is used: tokenizers do not travel well between processes
            self._encoder = Encoder(self._folder)
        seed = self._seed * _SEEDS_APART + pool
        turns = Turns(seed)
        rows = [self._encoder.encode(turns.sample()) for _ in range(self._samples)]
        batches = _cut([row for row in rows if len(row.ids) <= MAX_TOKENS], self._batch_tokens)
        return [collate(batch) for batch in Draw(seed).some(batches, len(batches))]


def batches(pools: Pools, *, start: int, skip: int, workers: int) -> Iterator[tuple[int, int, Batch]]:
    """Batches from pool `start` on, without its first `skip`: (pool, place in it, batch). `workers` processes draw ahead."""
    loader = DataLoader(
        pools, batch_size=None, sampler=range(start, len(pools)), num_workers=workers, prefetch_factor=2 if workers else None
    )
    for pool, drawn in enumerate(loader, start):
        for place, batch in enumerate(drawn):
            if pool > start or place >= skip:
                yield pool, place, Batch(*batch)


def collate(rows: list[Encoded]) -> Batch:
    """Rows as a batch."""
    width = _rounded(max(len(row.ids) for row in rows))
    blanks = (0, 0, _PADDING, _PADDING)
    columns = zip(*rows, strict=True)
    padded = [[part + [blank] * (width - len(part)) for part in parts] for parts, blank in zip(columns, blanks, strict=True)]
    return Batch(*(torch.tensor(part) for part in padded))


def _cut(rows: list[Encoded], batch_tokens: int) -> list[list[Encoded]]:
    """Rows of like length together, as many as fit `batch_tokens` with their padding."""
    found: list[list[Encoded]] = [[]]
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if found[-1] and (len(found[-1]) + 1) * _rounded(len(row.ids)) > batch_tokens:
            found.append([])
        found[-1].append(row)
    return [batch for batch in found if batch]


def _rounded(length: int) -> int:
    # The processor's library keeps a compiled kernel for every shape it has met: few shapes save memory and time.
    return -(-length // LENGTH_STEP) * LENGTH_STEP
