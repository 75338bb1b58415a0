"""Which questions are nearly the same, and that everyday questions from templates do not all become one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.near_duplicates import SAME, NearTexts, clusters
from flywheel.rows import question_key
from flywheel.starter import load_everyday

EVERYDAY_200 = Path(__file__).parent.parent / "benchmarks" / "everyday_200.jsonl"


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("10 km in miles", "11 km in miles", True),
        ("What's the weather in Oslo today?", "what is the weather in Oslo today", True),
        ("remind me to call mum tomorrow at 5 pm", "Remind me to call mum tomorrow at 6:30 pm, please", True),
        ("weather in Oslo", "weather in Rome", False),
        ("10 km in miles", "10 kg in pounds", False),
        ("5 * 3", "5 / 3", False),
    ],
)
def test_numbers_and_small_words_make_no_difference_and_other_values_do(one: str, other: str, near: bool) -> None:
    index = NearTexts()
    index.add("one", one)
    assert [*index.near(other)] == (["one"] if near else [])
    assert (len({*clusters([one, other])}) == 1) is near


def test_with_numbers_as_they_are_only_copies_are_near() -> None:
    said = [
        "this bot is useless and should be shut down",
        "This bot is useless and should be shut down!!",
        "10 km in miles",
        "11 km in miles",
    ]
    assert clusters(said, SAME, numbers=True) == [0, 0, 2, 3]


def test_everyday_questions_do_not_fall_into_one_group() -> None:
    sizes = Counter(clusters([row.question for row in load_everyday()]))
    assert max(sizes.values()) <= 20 and len(sizes) > 0.75 * len(load_everyday())
    hand_written = [json.loads(line)[0] for line in EVERYDAY_200.read_text(encoding="utf-8").splitlines()]
    assert len({*clusters(hand_written)}) == 200


WORDS = st.lists(
    st.sampled_from(["weather", "Oslo", "Rome", "in", "3", "4.5", "#", "_", "+", "?", "é", "\ud800"]), max_size=5
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS | st.text(max_size=8), max_size=12))
def test_the_same_question_is_always_near_and_what_is_near_is_in_one_cluster(texts: list[str]) -> None:
    found = clusters(texts)
    index = NearTexts()
    for place, text in enumerate(texts):
        assert {found[int(key)] for key in index.near(text)} <= {found[place]}
        index.add(str(place), text)
        assert str(place) in index.near(text)
    by_key = {question_key(text): place for text, place in zip(texts, found, strict=True) if text.strip(" _#?+")}
    assert all(by_key[question_key(text)] == place for text, place in zip(texts, found, strict=True) if text.strip(" _#?+"))
