"""Replay: the rows that the base model learned from, mixed in so that old skills stay, and how often a correction is seen.

Pure. Knows nothing of sides beyond what it is told not to come near.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from flywheel.augment import values_of, variants
from flywheel.near_duplicates import NearTexts
from flywheel.rows import Row

if TYPE_CHECKING:
    from flywheel.ledger import Example

MAX_COPIES = 3
COPIED_ROWS = 100
"""A lone correction among hundreds of imported rows is seen once an epoch and drowned by them. It therefore comes with variants
of itself (augment.py), at most three rows in all and only while all of them together stay within a hundred: many corrections
carry themselves."""
MIN_REPLAY, MAX_REPLAY = 80, 400
MIN_VALIDATION_REPLAY = 20

T = TypeVar("T")


def copies(train: Sequence[Example]) -> int:
    """How many rows a correction trains as, itself included."""
    corrections = sum(example.source == "correction" for example in train)
    return max(1, min(MAX_COPIES, COPIED_ROWS // max(corrections, 1)))


def seed_of(train: Iterable[Example]) -> str:
    """What decides every choice and order in a dataset: the rows that train, in any order."""
    return hashlib.sha256("".join(sorted(example.row.digest for example in train)).encode()).hexdigest()


def varied(train: Sequence[Example], count: int, examined: NearTexts, seed: str) -> dict[str, list[Row]]:
    """Example id → the further rows that a correction trains as: variants, or the row itself where nothing can be varied.

    None asks nearly what is examined or checked, and none puts one person's words into another's: values come from imported rows
    and from their own.
    """
    found: dict[str, list[Row]] = {}
    corrections = [example for example in train if example.source == "correction"] if count else []
    known = {
        person: values_of(example.row for example in train if example.person in (None, person))
        for person in {example.person for example in corrections}
    }
    for example in corrections:
        made = variants(example.row, 2 * count, known[example.person], seed=seed)
        fit = [row for row in made if next(examined.near(row.question), None) is None][:count]
        found[example.id] = fit + [example.row] * (count - len(fit))
    return found


def replay_beside(rows: int, pool: int) -> int:
    """How many of a pool's rows train beside so many others: as many, within bounds."""
    return min(max(MIN_REPLAY, rows), MAX_REPLAY, pool)


def share_replay(pool: list[Row], training: int, validation: int) -> tuple[list[Row], list[Row]]:
    """(replay that trains, replay that checks): as many as there are other training rows; at most a tenth of all checks."""
    pool = _with_refusals(pool)
    checks = min(max(MIN_VALIDATION_REPLAY, validation), -(-len(pool) // 10) if len(pool) > 1 else 0)
    checking = pool[:checks]
    checked = {row.question_key for row in checking}
    training_replay = [row for row in pool[checks:] if row.question_key not in checked]
    return training_replay[: replay_beside(training, len(training_replay))], checking


def _with_refusals(pool: list[Row]) -> list[Row]:
    """The pool in an order in which every third row, while there are any, is a question that no tool fits.

    Corrections and imports are mostly calls: a model that sees little else forgets to say no, which is the first thing that goes.
    """
    refusals = [row for row in pool if not row.calls and row.messages[-2].get("role") == "user"]
    others = [row for row in pool if row.calls or row.messages[-2].get("role") != "user"]
    mixed: list[Row] = []
    while refusals and len(others) > 1:
        mixed += [refusals.pop(0), others.pop(0), others.pop(0)]
    return mixed + refusals + others


def shuffled(items: Iterable[T], seed: str) -> list[T]:
    """In an order that the seed decides."""
    mixed = list(items)
    random.Random(seed).shuffle(mixed)
    return mixed


def unique(rows: Iterable[Row]) -> list[Row]:
    """Each row once."""
    return list({row.digest: row for row in rows}.values())
