"""Scores of texts, and what a judge's words become; both through the parameters that a config would bring."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from pydantic import ValidationError

from flywheel.local.llm_judge import Judge, judge_request, judged
from flywheel.local.templates import TaskError
from flywheel.local.text_metrics import corpus_bleu, text_scores

MESSAGES = [{"role": "user", "content": "{{ sample.output_text }}"}]


def judge(**scores: Any) -> Judge:
    return Judge.model_validate({"model": "m", "template": {"messages": MESSAGES}, "scores": scores})


def test_the_nearest_of_several_texts_counts() -> None:
    assert text_scores("em", "The Cat!", ["a dog", "cat"]) == {"em_score": 1.0}
    assert text_scores("f1", "cat sat", ["a dog", "the cat sat down"]) == {"f1_score": pytest.approx(0.8)}
    assert text_scores("rouge", "cat", ["dog", "cat"])["rouge_1_score"] == 1.0
    assert text_scores("bleu", "the cat sat on the mat", ["a dog", "the cat sat on the mat"])["sentence"] == pytest.approx(100)


@pytest.mark.parametrize("metric", ["bleu", "rouge", "f1", "em"])
def test_no_text_is_a_text(metric: Any) -> None:
    assert set(text_scores(metric, "", ["something"]).values()) == {0.0}
    assert all(0 <= score <= 100 for score in text_scores(metric, "", [""]).values())


def test_bleu_of_a_corpus_takes_all_words_together() -> None:
    texts = [("the cat sat on the mat", ["the cat sat on the mat", "a cat"]), ("no", ["yes it is"])]
    assert 0 < corpus_bleu(texts) < 100 and corpus_bleu(texts[:1]) == pytest.approx(100)
    assert corpus_bleu([]) == 0.0


def test_a_pattern_that_never_ends_is_given_up() -> None:
    began = time.monotonic()
    found = judged(judge(a={"parser": {"type": "regex", "pattern": r"^(a|aa)+$"}}), "a" * 60 + "!")
    assert math.isnan(found["a"]) and time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("kind", "parser", "text", "value"),
    [
        ("int", {"type": "regex", "pattern": r"(\d+)"}, "about 7 of 10", 7.0),
        ("float", {"type": "regex", "pattern": r"[\d.]+"}, "0.25", 0.25),
        ("int", {"type": "json", "json_path": "$.a.b"}, 'Sure: ```{"a": {"b": "3.9"}}```', 3.0),
        ("bool", {"type": "json", "json_path": "ok"}, '{"ok": true}', 1.0),
    ],
)
def test_a_judges_words_become_numbers(kind: str, parser: dict[str, str], text: str, value: float) -> None:
    assert judged(judge(a={"type": kind, "parser": parser}), text) == {"a": value}


@pytest.mark.parametrize("text", ["", "none", '{"a": 1', '{"a": {}}', '{"a": "1e999"}'])
def test_words_without_a_number_are_no_score(text: str) -> None:
    assert math.isnan(judged(judge(a={"parser": {"type": "json", "json_path": "a"}}), text)["a"])


@pytest.mark.parametrize(
    "parser", [{"type": "regex"}, {"type": "json"}, {"type": "regex", "pattern": "("}, {"type": "regex", "pattern": "x" * 2000}]
)
def test_a_parser_that_cannot_be_meant(parser: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        judge(a={"parser": parser})


def test_what_a_judge_is_asked() -> None:
    scores = {"a": {"parser": {"type": "regex", "pattern": "x"}}}
    assert judge_request(judge(**scores), {"sample": {"output_text": "hi"}}) == {"messages": [{"role": "user", "content": "hi"}]}
    nothing = Judge.model_validate({"model": "m", "template": {"messages": "{{ item.none | tojson }}"}, "scores": scores})
    with pytest.raises(TaskError, match="must render to a JSON list"):
        judge_request(nothing, {"item": {}})
