"""Questions that are nearly the same: MinHash finds candidates, the share of common letter groups decides.

Numbers count as equal, so that "10 km in miles" and "11 km in miles" are near; other values are words like any others. Pure and
deterministic. Knows texts only; what becomes of near duplicates is decided elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from rensa import RMinHash, RMinHashLSH

NEAR = 0.7
"""Two texts are near from this share of common letter groups on (Jaccard). Measured on 933 everyday questions that were made from
templates: the largest group has 13 of them; at 0.6 it would have 42."""
SAME = 0.9
"""From this share on, with numbers as they are, one text is a copy of the other."""

_LETTERS = 4
_PERMUTATIONS, _BANDS = 192, 32
"""Six rows a band: of pairs at 0.7 one in fifty is missed, at 0.75 one in five hundred; with fewer rows, questions that only
begin alike would all be candidates of each other."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_BETWEEN = re.compile(r"[^\w*/%]+|_+")


class NearTexts:
    """An index of texts by key. numbers: whether different numbers make different texts."""

    def __init__(self, threshold: float = NEAR, *, numbers: bool = False) -> None:
        self._threshold, self._numbers = threshold, numbers
        self._index = RMinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, num_bands=_BANDS)
        self._texts: list[str] = []
        self._keys: dict[str, list[str]] = {}

    def add(self, key: str, text: str) -> None:
        """Remember a text under a key."""
        folded = _folded(text, self._numbers)
        if folded not in self._keys:
            self._index.insert(len(self._texts), _minhash(_groups(folded)))
            self._texts.append(folded)
        self._keys.setdefault(folded, []).append(key)

    def near(self, text: str) -> Iterator[str]:
        """The keys of texts that are near this one, in the order in which their like was added."""
        groups = _groups(_folded(text, self._numbers))
        for place in sorted(self._index.query(_minhash(groups))):
            if _shared(groups, _groups(self._texts[place])) >= self._threshold:
                yield from self._keys[self._texts[place]]


def clusters(texts: Sequence[str], threshold: float = NEAR, *, numbers: bool = False) -> list[int]:
    """For each text the place of the first one in its cluster: texts that are near, or are linked by texts that are."""
    index = RMinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    folded = [_folded(text, numbers) for text in texts]
    first: dict[str, int] = {}
    for place, text in enumerate(folded):
        first.setdefault(text, place)
    linked = {place: place for place in first.values()}

    def root(place: int) -> int:
        while linked[place] != place:
            linked[place] = linked[linked[place]]
            place = linked[place]
        return place

    for text, place in first.items():
        groups = _groups(text)
        minhash = _minhash(groups)
        for other in index.query(minhash):
            if root(other) != root(place) and _shared(groups, _groups(folded[other])) >= threshold:
                older, younger = sorted((root(other), root(place)))
                linked[younger] = older
        index.insert(place, minhash)
    return [root(first[text]) for text in folded]


def words(text: str) -> list[str]:
    """A text's words in order, folded; numbers count as equal."""
    return _folded(text, numbers=False).split()


def _folded(text: str, numbers: bool) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_BETWEEN.sub(" ", folded if numbers else _NUMBER.sub("0", folded)).split()) or folded


@lru_cache(maxsize=8192)
def _groups(folded: str) -> frozenset[str]:
    """All runs of four letters, with the spaces around."""
    padded = f" {folded} "
    return frozenset(padded[place : place + _LETTERS] for place in range(max(1, len(padded) - _LETTERS + 1)))


def _minhash(groups: frozenset[str]) -> RMinHash:
    minhash = RMinHash(num_perm=_PERMUTATIONS, seed=1)
    minhash.update([group.encode("utf-8", "replace").decode() for group in sorted(groups)])
    return minhash


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)
