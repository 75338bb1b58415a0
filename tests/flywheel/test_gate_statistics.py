"""The statistics behind the gate, against scipy's and against drawing by hand."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from flywheel.gate_statistics import bootstrap_interval, holm, mcnemar, rows_to_decide, wins_needed


@pytest.mark.parametrize(
    ("won", "lost", "expected"),
    [(0, 0, 1.0), (1, 0, 1 / 2), (5, 0, 1 / 32), (0, 5, 1.0), (8, 2, 56 / 1024), (9, 1, 11 / 1024), (10, 4, 1471 / 16384)],
)
def test_mcnemar_is_exact(won: int, lost: int, expected: float) -> None:
    assert mcnemar(won, lost) == expected


counts = st.integers(0, 200)


@given(counts, counts)
def test_mcnemar_equals_the_binomial_test_of_scipy(won: int, lost: int) -> None:
    reference = binomtest(won, won + lost, 0.5, alternative="greater").pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(reference, rel=1e-9)


@given(counts, counts)
def test_mcnemar_keeps_the_symmetries_of_the_binomial(won: int, lost: int) -> None:
    assert 0 < mcnemar(won, lost) <= 1
    assert mcnemar(won + 1, lost) <= mcnemar(won, lost) <= mcnemar(won, lost + 1)
    assert mcnemar(won, lost) + mcnemar(lost + 1, won - 1) == pytest.approx(1) if won else mcnemar(won, lost) == 1


@given(st.integers(0, 60), st.sampled_from([0.2, 0.05, 0.01]))
def test_wins_needed_is_the_least_that_is_significant(lost: int, alpha: float) -> None:
    needed = wins_needed(lost, alpha)
    assert mcnemar(needed, lost) < alpha <= mcnemar(needed - 1, lost)


def test_holm_rejects_from_the_smallest_on_until_one_holds() -> None:
    assert holm({"a": 0.001, "b": 0.02, "c": 0.04, "d": 0.6}, 0.05) == {"a"}
    assert holm({"a": 0.001, "b": 0.012, "c": 0.02, "d": 0.04}, 0.05) == {"a", "b", "c", "d"}
    assert holm({"a": 0.03}, 0.05) == {"a"} and holm({"a": 0.03, "b": 0.03}, 0.05) == set() == holm({}, 0.05)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_bonferroni_and_no_correction(found: list[float]) -> None:
    p_values = {str(place): p for place, p in enumerate(found)}
    rejected = holm(p_values, 0.05)
    assert {name for name, p in p_values.items() if p < 0.05 / len(p_values)} <= rejected
    assert rejected <= {name for name, p in p_values.items() if p < 0.05}


@pytest.mark.parametrize(("won", "lost", "rows"), [(12, 4, 60), (3, 3, 20), (40, 10, 300)])
def test_the_interval_is_that_of_resampled_rows(won: int, lost: int, rows: int) -> None:
    chance, differences = random.Random(1), [1] * won + [-1] * lost + [0] * (rows - won - lost)
    means = sorted(100 * sum(chance.choices(differences, k=rows)) / rows for _ in range(4000))
    step = 100 / rows
    assert bootstrap_interval(won, lost, rows) == pytest.approx((means[100], means[-101]), abs=1.5 * step)
    assert bootstrap_interval(won, lost, rows) == bootstrap_interval(won, lost, rows)


def test_an_interval_of_nothing_is_no_error() -> None:
    assert bootstrap_interval(0, 0, 0) == (0, 0) and bootstrap_interval(5, 0, 5) == (100, 100)


@pytest.mark.parametrize(("won", "lost", "rows"), [(4, 1, 40), (0, 3, 30), (9, 4, 60), (2, 0, 10)])
def test_so_many_more_rows_do_decide_four_times_out_of_five(won: int, lost: int, rows: int) -> None:
    more = rows_to_decide(won, lost, rows, 0.05)
    assert more is not None
    chance, decided = random.Random(3), 0
    for _ in range(1000):
        further = chance.choices("wl=", (won, lost, rows - won - lost), k=more)
        wins, losses = won + further.count("w"), lost + further.count("l")
        decided += min(mcnemar(wins, losses), mcnemar(losses, wins)) < 0.05
    assert 0.75 <= decided / 1000 <= 0.92


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_it_is_told_on_the_spot_and_the_same_for_both_sides(won: int, lost: int, tied: int) -> None:
    began = time.process_time()
    more = rows_to_decide(won, lost, won + lost + tied, 0.05)
    assert time.process_time() - began < 0.1
    assert more == rows_to_decide(lost, won, won + lost + tied, 0.05)
    assert more is None if won == lost else more is None or more >= 1
