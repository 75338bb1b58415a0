"""Which questions lean on the one before them."""

from __future__ import annotations

import json

import pytest

from chat_app.follow_up import leans_on_the_last
from tests.benchmarks import everyday


@pytest.mark.parametrize(
    "question",
    ["and in euros?", "What about Oslo?", "same for Sweden", "now 120 USD", "in yen?", "send it back, it is damaged",
     "is it raining there?", "and to buy milk on Friday", "convert that to miles"],
)  # fmt: skip
def test_leaning(question: str) -> None:
    assert leans_on_the_last(question)


@pytest.mark.parametrize(
    "question",
    ["", "What time is it in Oslo?", "A1004 doesn't fit, send it back", "list everything that was delivered to me",
     "Convert 10 km to miles", "and please tell me now what time it is in the beautiful city of Rome"],
)  # fmt: skip
def test_standing_alone(question: str) -> None:
    assert not leans_on_the_last(question)


def test_nearly_no_everyday_question_leans() -> None:
    questions = [json.loads(line)[0] for line in everyday.QUESTIONS.read_text(encoding="utf-8").splitlines()]
    assert len(questions) == 200 and sum(map(leans_on_the_last, questions)) <= 2
