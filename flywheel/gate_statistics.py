"""The statistics of comparing two models on the same rows: exact tests, corrected for many, intervals, what is missing.

Pure and deterministic: whatever is drawn at random is drawn from a fixed seed. Knows counts of won and lost rows; knows neither
rows, tools nor policies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

SEED = 20_24
RESAMPLES = 4000
POWER = 0.8
MOST_ROWS = 10_000
"""More rows than anybody will bring: beyond it, none are promised to decide."""


class Interval(NamedTuple):
    """Where a difference lies, in percentage points."""

    low: float
    high: float


def mcnemar(won: int, lost: int) -> float:
    """Exact one-sided p-value: how likely are at least `won` of the won + lost rows if the two models are equally good."""
    total = won + lost
    ways = term = math.comb(total, won)
    for wins in range(won, total):
        term = term * (total - wins) // (wins + 1)
        ways += term
    return ways / (1 << total)


def wins_needed(lost: int, alpha: float) -> int:
    """The fewest rows that a candidate must win to be significantly better, if it loses `lost` rows."""
    won = lost + 1
    while mcnemar(won, lost) >= alpha:
        won += 1
    return won


def holm(p_values: Mapping[str, float], alpha: float) -> set[str]:
    """Which of several hypotheses are rejected so that one wrong rejection among all is no likelier than alpha.

    Holm, "A simple sequentially rejective multiple test procedure" (1979): the smallest p-value must stay below alpha / m, the
    next below alpha / (m - 1), and so on to the first that does not.
    """
    rejected: set[str] = set()
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p_value >= alpha / (len(p_values) - place):
            break
        rejected.add(name)
    return rejected


@lru_cache(maxsize=4096)
def bootstrap_interval(won: int, lost: int, rows: int, confidence: float = 0.95) -> Interval:
    """The paired percentile bootstrap interval of candidate minus current, in percentage points; (0, 0) without rows.

    Drawing rows with replacement draws won, lost and tied ones in their shares: a multinomial draw of counts is a resample.
    """
    if rows == 0:
        return Interval(0.0, 0.0)
    drawn = _draws(won, lost, rows).multinomial(rows, _shares(won, lost, rows), size=RESAMPLES)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / rows, [tail, 100 - tail])
    return Interval(round(float(low), 2), round(float(high), 2))


@lru_cache(maxsize=4096)
def rows_to_decide(won: int, lost: int, rows: int, alpha: float) -> int | None:
    """How many more rows like these would decide four times out of five, one way or the other; None if none would.

    More rows are drawn in the shares seen so far and added to these, ever more until the test decides POWER of the draws. Where
    the two are equally good as far as seen, or MOST_ROWS would not do, None. Few rows make it a guess.
    """
    if won == lost or rows == 0:
        return None
    ahead, behind = max(won, lost), min(won, lost)
    too_few, more = 0, 1
    while not _decided(ahead, behind, rows, more, alpha):
        if more == MOST_ROWS:
            return None
        too_few, more = more, min(2 * more, MOST_ROWS)
    while more - too_few > max(1, more // 20):  # a guess to a twentieth is exact enough
        middle = (too_few + more) // 2
        if _decided(ahead, behind, rows, middle, alpha):
            more = middle
        else:
            too_few = middle
    return more


def _decided(ahead: int, behind: int, rows: int, more: int, alpha: float) -> bool:
    """Whether so many more rows decide in POWER of the draws."""
    drawn = _draws(ahead, behind, more).multinomial(more, _shares(ahead, behind, rows), size=400)
    won, total = ahead + drawn[:, 0], ahead + behind + drawn[:, 0] + drawn[:, 1]
    # The binomial's critical value by the normal with the continuity correction: off by one row at most, which a guess may be.
    wanted = np.ceil(total / 2 + 0.5 + NormalDist().inv_cdf(1 - alpha) * np.sqrt(total) / 2)
    return float(np.mean(won >= wanted)) >= POWER


def _shares(won: int, lost: int, rows: int) -> list[float]:
    return [won / rows, lost / rows, (rows - won - lost) / rows]


def _draws(*counts: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *counts])
