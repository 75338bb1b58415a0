"""Whether a candidate may serve."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.gate import Policy, RowScore, Scores, Verdict, decide, mcnemar, wins_needed


def scored(right: str, suite: str = "holdout", tool: str = "get_weather") -> list[RowScore]:
    """One row a letter: + whole call right, n only the name, - wrong."""
    return [RowScore(f"{tool} {n}", suite, tool, letter in "+n", letter == "+") for n, letter in enumerate(right)]


def judged(candidate: str, current: str, **policy: float) -> Verdict:
    return decide(scored(candidate), scored(current), Policy(**policy))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("won", "lost", "expected"),
    [(0, 0, 1.0), (1, 0, 1 / 2), (5, 0, 1 / 32), (0, 5, 1.0), (8, 2, 56 / 1024), (9, 1, 11 / 1024), (10, 4, 1471 / 16384)],
)
def test_mcnemar_is_exact(won: int, lost: int, expected: float) -> None:
    assert mcnemar(won, lost) == expected


counts = st.integers(0, 200)


@given(counts, counts)
def test_mcnemar_keeps_the_symmetries_of_the_binomial(won: int, lost: int) -> None:
    assert 0 < mcnemar(won, lost) <= 1
    assert mcnemar(won + 1, lost) <= mcnemar(won, lost) <= mcnemar(won, lost + 1)
    assert mcnemar(won, lost) + mcnemar(lost + 1, won - 1) == pytest.approx(1) if won else mcnemar(won, lost) == 1


@given(st.integers(0, 60), st.sampled_from([0.2, 0.05, 0.01]))
def test_wins_needed_is_the_least_that_is_significant(lost: int, alpha: float) -> None:
    needed = wins_needed(lost, alpha)
    assert mcnemar(needed, lost) < alpha <= mcnemar(needed - 1, lost)


def test_clearly_better_passes_and_clearly_worse_fails() -> None:
    better = judged("+" * 8 + "-" * 2, "-" * 8 + "+-")
    assert better.verdict == "pass"
    assert better.reasons[0] == (
        "the candidate is significantly better on the holdout: 8 of 10 (80.0 %) whole calls right, "
        "the current model 1 of 10 (10.0 %); 8 rows won, 1 lost (p = 0.02)"
    )
    worse = judged("-" * 8 + "+-", "+" * 8 + "-" * 2)
    assert worse.verdict == "fail" and "significantly worse on the holdout" in worse.reasons[0]
    assert better.numbers["holdout"]["p_better"] == worse.numbers["holdout"]["p_worse"] == 10 / 512
    assert better.numbers["holdout"]["points"] == -worse.numbers["holdout"]["points"] == 70


def test_a_right_name_with_wrong_arguments_wins_nothing() -> None:
    assert judged("n" * 30, "-" * 30).verdict == "inconclusive"


@given(st.text("+-n", max_size=60))
def test_the_same_answers_are_inconclusive(right: str) -> None:
    assert judged(right, right).verdict == "inconclusive"


def test_inconclusive_says_what_the_rows_could_have_shown() -> None:
    assert decide([], []).reasons[0] == "there are no holdout rows to compare the two on: import examples or approve more"
    few = judged("+++", "---")
    assert few.verdict == "inconclusive" and "3 rows can show no difference of any size, 5 are the least" in few.reasons[1]
    assert few.numbers["holdout"]["smallest_visible_points"] is None
    close = judged("+" * 4 + "-" * 36, "-" * 3 + "-" + "+" + "-" * 35)
    assert close.reasons[1] == (
        "the smallest gain that 40 rows can show is 12.5 points (5 rows won and none lost); with 1 lost it takes 7 won"
    )
    assert close.numbers["holdout"]["smallest_visible_points"] == 12.5
    assert "wrong on only 2 of 40 rows" in judged("+" * 40, "+" * 38 + "--").reasons[1]


@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (10, "pass"), (11, "fail")])
def test_old_skills_may_lose_their_margin_and_no_more(lost: int, verdict: str) -> None:
    old_candidate, old_current = scored("-" * lost + "+" * (100 - lost), "old_skills"), scored("+" * 100, "old_skills")
    found = decide(scored("+" * 10) + old_candidate, scored("-" * 10) + old_current)
    assert found.verdict == verdict
    if verdict == "fail":
        (reason,) = found.reasons
        assert reason == "old skills were lost: 89 of 100 (89.0 %) right, before 100 of 100 (100.0 %); at most 10 points may go"


def test_a_better_candidate_that_breaks_one_tool_fails() -> None:
    candidate = scored("+" * 60) + scored("-" * 20, tool="local_time")
    current = scored("-" * 60) + scored("+" * 20, tool="local_time")
    found = decide(candidate, current)
    assert found.verdict == "fail" and found.reasons[0].startswith("'local_time' got significantly worse: 0 of 20")
    few = decide(candidate[:79], current[:79])
    assert few.verdict == "pass" and few.numbers["tools"]["local_time"]["rows"] == 19


def test_other_rows_are_not_compared() -> None:
    for candidate in (scored("+" * 9), scored("+" * 10) * 2, scored("+" * 10, tool="other")):
        found = decide(candidate, scored("-" * 10))
        assert found.verdict == "inconclusive" and "evaluate both again" in found.reasons[0]


def test_the_order_of_the_rows_plays_no_part() -> None:
    candidate, current = scored("+-+-++++"), scored("---+----")
    assert decide(candidate[::-1], current).to_dict() == decide(candidate, current).to_dict()


@pytest.mark.parametrize(("rows", "accuracy"), [(20, 0.5), (60, 0.8), (200, 0.3)])
def test_equally_good_models_pass_no_more_often_than_alpha(rows: int, accuracy: float) -> None:
    chance = random.Random(7)

    def model() -> str:
        return "".join("+" if chance.random() < accuracy else "-" for _ in range(rows))

    passes = sum(judged(model(), model()).verdict == "pass" for _ in range(2000))
    assert passes / 2000 <= 0.05


def test_power_is_real_too() -> None:
    chance = random.Random(7)
    verdicts = [
        judged("".join("+-"[chance.random() > 0.8] for _ in range(60)), "".join("+-"[chance.random() > 0.4] for _ in range(60)))
        for _ in range(200)
    ]
    assert sum(found.verdict == "pass" for found in verdicts) > 190


def test_scores_tell_holdout_tools_and_suites_apart() -> None:
    scores = Scores.of(scored("++n-") + scored("+-", tool="no tool") + scored("+++-", "old_skills"))
    raw = scores.to_dict()
    assert (raw["count"], raw["function_name_accuracy"], raw["function_name_and_args_accuracy"]) == (6, 4 / 6, 3 / 6)
    assert raw["tools"]["no tool"]["count"] == 2 and raw["tools"]["get_weather"]["function_name_accuracy"] == 0.75
    assert raw["suites"]["old_skills"]["function_name_and_args_accuracy"] == 0.75
    assert Scores.from_dict(json.loads(json.dumps(raw))) == scores
    assert Scores.of([]).to_dict() == {
        "count": 0, "function_name_accuracy": 0, "function_name_and_args_accuracy": 0, "tools": {}, "suites": {}
    }  # fmt: skip


def test_a_verdict_is_plain_json() -> None:
    raw = judged("+" * 8, "-" * 8).to_dict()
    assert json.loads(json.dumps(raw)) == raw and raw["verdict"] == "pass"
