"""The canary's test: how often it cries wolf when looked at all the time, and how soon it sees harm."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binomtest

from flywheel.canary_evidence import Arms, Seen, evidence, judge

shares = st.sampled_from([0.05, 0.2, 0.5, 0.8])
counts = st.integers(0, 60)


@pytest.mark.parametrize(("candidate", "current", "share"), [(0, 0, 0.2), (3, 1, 0.2), (9, 30, 0.1), (2, 40, 0.5)])
def test_the_evidence_is_the_mean_likelihood_ratio(candidate: int, current: int, share: float) -> None:
    def ratio(p: float) -> float:
        return (p / share) ** candidate * ((1 - p) / (1 - share)) ** current / (1 - share)

    whole, _ = quad(ratio, share, 1)
    assert math.exp(evidence(Arms(candidate, current), share)) == pytest.approx(whole, rel=0.03)


@given(counts, counts, shares)
def test_one_more_bad_conversation_speaks_against_whose_it_is(candidate: int, current: int, share: float) -> None:
    now = evidence(Arms(candidate, current), share)
    assert evidence(Arms(candidate + 1, current), share) > now > evidence(Arms(candidate, current + 1), share)


@given(counts, counts, shares)
def test_it_does_not_grow_by_itself(candidate: int, current: int, share: float) -> None:
    """The expectation of E after the next bad conversation of an equally good pair is E."""
    now = math.exp(evidence(Arms(candidate, current), share))
    after = [math.exp(evidence(Arms(candidate + one, current + 1 - one), share)) for one in (1, 0)]
    assert share * after[0] + (1 - share) * after[1] == pytest.approx(now)


def life(chance: random.Random, bad: tuple[float, float], share: float, conversations: int) -> tuple[str | None, int]:
    """A canary that is looked at after every conversation: how it is decided, and after how many of the candidate's."""
    every, down, errors = [0, 0], [0, 0], [0, 0]
    while True:
        arm = 0 if chance.random() < share else 1
        every[arm] += 1
        down[arm] += chance.random() < bad[arm]
        errors[arm] += chance.random() < bad[arm]
        found = judge(Seen(Arms(*every), Arms(*down), Arms(*errors)), share=share, conversations=conversations, alpha=0.05)
        if found:
            return found.status, every[0]


@pytest.mark.parametrize(("rate", "share"), [(0.3, 0.2), (0.05, 0.5)])
def test_a_harmless_candidate_is_taken_back_no_more_often_than_alpha(rate: float, share: float) -> None:
    chance = random.Random(5)
    alarms = sum(life(chance, (rate, rate), share, 40)[0] == "rolled_back" for _ in range(250))
    assert binomtest(alarms, 250, 0.05, alternative="greater").pvalue > 0.01


def test_a_harmful_candidate_is_taken_back_soon() -> None:
    chance = random.Random(5)
    lives = [life(chance, (0.5, 0.1), 0.2, 50) for _ in range(40)]
    assert sum(status == "rolled_back" for status, _ in lives) >= 38
    assert sorted(count for _, count in lives)[20] < 25


def test_a_better_candidate_is_promoted() -> None:
    chance = random.Random(5)
    assert {life(chance, (0.02, 0.3), 0.2, 30) for _ in range(20)} == {("promoted", 30)}


def test_the_decision_names_what_was_seen() -> None:
    seen = Seen(Arms(20, 80), Arms(14, 6), Arms(1, 2))
    found = judge(seen, share=0.2, conversations=50, alpha=0.05)
    assert found == (
        "rolled_back",
        "significantly more thumbs down: in 14 of its 20 conversations, with the current model in 6 of 80",
    )
    assert judge(Seen(Arms(20, 80), Arms(1, 6), Arms(1, 2)), share=0.2, conversations=21, alpha=0.05) is None
    enough = judge(Seen(Arms(21, 80), Arms(1, 6), Arms(1, 2)), share=0.2, conversations=21, alpha=0.05)
    assert (
        enough and enough.status == "promoted" and enough.reason.startswith("21 conversations without harm: thumbs down in 1 of")
    )
