"""Rows as the tensors of one forward pass: padded side by side, or packed behind the prompt beginning that they share.

The rows of one application offer the same tools, so most of every prompt is the same tokens. Packed rows pay for them once: each
sees the shared beginning and itself, at the positions it would have alone, so that the loss is the same. Knows tokens and
labels; no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from flywheel.local.chat_format import IGNORED

TOKENS_AT_ONCE = 2048
PACKED_TOKENS = 1024
"""The most in one packed row: attention grows with its square."""
SHAPE_STEP = 64
WORTH_SHARING = 64


class Example(NamedTuple):
    """One row as tokens: ids, and labels of the same length that are IGNORED wherever nothing is to be learned."""

    ids: list[int]
    labels: list[int]

    @property
    def answer_start(self) -> int:
        """The position of the first label."""
        return next(i for i, label in enumerate(self.labels) if label != IGNORED)

    @property
    def answer_length(self) -> int:
        """How many labels there are."""
        return sum(label != IGNORED for label in self.labels)


class Batch(NamedTuple):
    """One forward pass: ids and positions (rows, width), the attention mask, and the labels of the last `kept` columns."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    kept: int


def parts(examples: Sequence[Example]) -> list[list[Example]]:
    """Cut a batch into forward passes of bounded size, and so of bounded memory; rows with the same beginning go together."""
    families: dict[tuple[int, ...], list[Example]] = {}
    for number, example in enumerate(examples):
        shareable = example.answer_start > WORTH_SHARING
        families.setdefault(tuple(example.ids[:WORTH_SHARING]) if shareable else (-number,), []).append(example)
    alone = sorted((family[0] for family in families.values() if len(family) == 1), key=lambda example: len(example.ids))
    found = _cut(alone, TOKENS_AT_ONCE) if alone else []
    for family in families.values():
        if len(family) > 1:
            found += _cut(family, PACKED_TOKENS)
    return found


def _cut(examples: Sequence[Example], limit: int) -> list[list[Example]]:
    found = [[examples[0]]]
    for example in examples[1:]:
        if _width([*found[-1], example]) <= limit:
            found[-1].append(example)
        else:
            found.append([example])
    return found


def batch_of(examples: Sequence[Example]) -> Batch:
    """The tensors of a part, in whichever form takes fewer tokens."""
    prefix = shared_prefix(examples)
    return _packed(examples, prefix) if _packs(examples, prefix) else padded(examples)


def shared_prefix(examples: Sequence[Example]) -> int:
    """How many first tokens all rows have in common, none of them learned by any, and one more token before the first label."""
    limit = min(example.answer_start for example in examples) - 1
    first, last = min(example.ids for example in examples), max(example.ids for example in examples)
    return next((i for i in range(limit) if first[i] != last[i]), max(limit, 0))


def _packs(examples: Sequence[Example], prefix: int) -> bool:
    return len(examples) > 1 and prefix >= WORTH_SHARING


def _width(examples: Sequence[Example]) -> int:
    """How many tokens one forward pass over these rows computes."""
    prefix = shared_prefix(examples)
    if _packs(examples, prefix):
        return prefix + sum(len(example.ids) - prefix for example in examples)
    return len(examples) * max(len(example.ids) for example in examples)


def _packed(examples: Sequence[Example], prefix: int) -> Batch:
    """One row: the shared beginning, then what each example has of its own."""
    ids, labels = list(examples[0].ids[:prefix]), [IGNORED] * prefix
    positions, owners = list(range(prefix)), [0] * prefix
    for number, example in enumerate(examples, start=1):
        own = len(example.ids) - prefix
        ids += example.ids[prefix:]
        labels += example.labels[prefix:]
        positions += range(prefix, prefix + own)
        owners += [number] * own
    blank = _rounded(len(ids)) - len(ids)
    ids, positions, owners = ids + [0] * blank, positions + [0] * blank, owners + [-1] * blank
    labels += [IGNORED] * blank
    owner, place = torch.tensor(owners), torch.arange(len(ids))
    seen = ((owner[:, None] == owner[None, :]) | (owner[None, :] == 0)) & (place[:, None] >= place[None, :])
    mask = torch.zeros(1, 1, len(ids), len(ids)).masked_fill_(~seen, torch.finfo(torch.float32).min)
    kept = len(ids) - prefix + 1  # the last shared token predicts the first own one
    return Batch(torch.tensor([ids]), torch.tensor([positions]), mask, torch.tensor([labels[-kept:]]), kept)


def padded(examples: Sequence[Example]) -> Batch:
    """Rows side by side, padded on the left, so that the logits of the last columns are all that is needed."""
    width = _rounded(max(len(example.ids) for example in examples))
    kept = min(width, _rounded(max(len(example.ids) - example.answer_start for example in examples) + 1))
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        start = width - len(example.ids)
        ids[row, start:], labels[row, start:] = torch.tensor(example.ids), torch.tensor(example.labels)
        mask[row, start:] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return Batch(ids, positions, mask, labels[:, -kept:], kept)


def _rounded(length: int) -> int:
    # The processor's library keeps a compiled kernel for every shape it has met: few shapes save memory and time.
    return -(-length // SHAPE_STEP) * SHAPE_STEP
