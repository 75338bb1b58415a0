"""Seeded chance that gives the same draws on every Python: all of it comes from `random.Random.random`, which never changed.

Knows nothing of what is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Choices from one seed, in order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self._random.random() * len(items))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random.random() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def real(self, low: float, high: float, digits: int) -> float:
        """A number from low to high with so many decimals."""
        return round(low + self._random.random() * (high - low), digits)

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """So many of the items, in random order; all of them where there are fewer."""
        keyed = [(self._random.random(), index) for index in range(len(items))]
        return [items[index] for _, index in sorted(keyed)[:count]]
