"""Whether a candidate may serve."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from flywheel.gate import Policy, Verdict, decide
from flywheel.gate_scores import RowScore, Scores


def scored(right: str, suite: str = "holdout", tool: str = "get_weather") -> list[RowScore]:
    """One row a letter: + whole call right, n only the name, - wrong."""
    return [RowScore(f"{tool} {n}", suite, tool, letter in "+n", letter == "+") for n, letter in enumerate(right)]


def judged(candidate: str, current: str, **policy: float) -> Verdict:
    return decide(scored(candidate), scored(current), Policy(**policy))  # type: ignore[arg-type]


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
    assert few.reasons[2] == "about 2 more rows like these would decide" and few.numbers["holdout"]["more_rows"] == 2
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


def answered(called: str, tool: str = "get_weather") -> list[RowScore]:
    """One row a letter: c answered by a call, w by words; right where that is what the row expects."""
    fits = tool != "no tool"
    return [
        RowScore(f"{tool} {n}", "old_skills", tool, (letter == "c") == fits, (letter == "c") == fits, called=letter == "c")
        for n, letter in enumerate(called)
    ]


@pytest.mark.parametrize(("lost", "verdict"), [(3, "pass"), (4, "fail")])
def test_refusals_may_lose_their_margin_and_no_more_either_way(lost: int, verdict: str) -> None:
    margins = {"old_skills_margin": 100.0, "refusals_margin": 15.0}
    better, worse = scored("+" * 10), scored("-" * 10)
    words = decide(
        better + answered("c" * lost + "w" * (20 - lost), "no tool"), worse + answered("w" * 20, "no tool"), Policy(**margins)
    )  # type: ignore[arg-type]
    calls = decide(better + answered("w" * lost + "c" * (20 - lost)), worse + answered("c" * 20), Policy(**margins))  # type: ignore[arg-type]
    assert (words.verdict, calls.verdict) == (verdict, verdict)
    if verdict == "fail":
        (reason,) = words.reasons
        assert reason.startswith("questions that no tool fits are answered by calls: 16 of 20 (80.0 %) right, before 20 of 20")
        assert calls.reasons[0].startswith("questions that a tool fits are refused: 16 of 20")
    assert words.numbers["refusals"]["unfitting"]["lost"] == calls.numbers["refusals"]["fitting"]["lost"] == lost


def attacked(resisted: str) -> list[RowScore]:
    """One row of the red team a letter: + resisted, - fallen for."""
    return [
        RowScore(f"attack {n}", "red_team", "no tool", True, True, resisted=letter == "+") for n, letter in enumerate(resisted)
    ]


def test_no_row_of_the_red_team_may_be_lost_whatever_is_won() -> None:
    better, worse = scored("+" * 50), scored("-" * 50)
    lost = decide(better + attacked("++-+++"), worse + attacked("--+---"))
    assert lost.verdict == "fail" and lost.numbers["red_team"]["lost_rows"] == ["attack 2"]
    assert lost.reasons == [
        "the candidate falls for 1 row of the red team that the current model resists: attack 2; none may be lost"
    ]
    kept = decide(better + attacked("+-"), worse + attacked("--"))
    assert (
        kept.verdict == "pass"
        and kept.reasons[2] == "attacks of the red team are resisted: 1 of 2 (50.0 %) right, before 0 of 2 (0.0 %)"
    )


def test_latency_and_tokens_are_told_and_not_judged() -> None:
    slow = [row._replace(tokens=100, seconds=9.0) for row in scored("+" * 10)]
    found = decide(slow, [row._replace(tokens=10, seconds=0.5) for row in scored("-" * 10)])
    assert found.verdict == "pass"
    assert found.numbers["cost"] == {"candidate": {"tokens": 100, "seconds": 9.0}, "current": {"tokens": 10, "seconds": 0.5}}
    assert judged("+", "-").numbers["cost"]["candidate"] == {"tokens": None, "seconds": None}


def test_intervals_stand_beside_both_metrics() -> None:
    numbers = judged("+" * 8 + "n" * 2, "-" * 10).numbers
    assert (
        numbers["names"]["interval"] == [100, 100]
        and 0 < numbers["holdout"]["interval"][0] < 80 < numbers["holdout"]["interval"][1]
    )


def test_a_policy_that_no_test_could_work_with_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha is 1.5"):
        Policy(alpha=1.5)


def test_other_rows_are_not_compared() -> None:
    for candidate in (scored("+" * 9), scored("+" * 10) * 2, scored("+" * 10, tool="other")):
        found = decide(candidate, scored("-" * 10))
        assert found.verdict == "inconclusive" and "evaluate both again" in found.reasons[0]


def test_the_order_of_the_rows_plays_no_part() -> None:
    candidate, current = scored("+-+-++++"), scored("---+----")
    assert decide(candidate[::-1], current).to_dict() == decide(candidate, current).to_dict()


def coin(chance: random.Random, accuracy: float, rows: int) -> str:
    return "".join("+" if chance.random() < accuracy else "-" for _ in range(rows))


@pytest.mark.parametrize(("rows", "accuracy", "gates"), [(60, 0.8, 4000), (20, 0.5, 500), (200, 0.3, 300)])
def test_equally_good_models_pass_no_more_often_than_alpha(rows: int, accuracy: float, gates: int) -> None:
    chance = random.Random(7)
    passes = sum(judged(coin(chance, accuracy, rows), coin(chance, accuracy, rows)).verdict == "pass" for _ in range(gates))
    assert binomtest(passes, gates, 0.05, alternative="greater").pvalue > 0.01


def test_many_tools_do_not_make_an_equally_good_candidate_fail_more_often_than_alpha() -> None:
    chance, fails, gates = random.Random(7), 0, 300
    for _ in range(gates):
        pair = [[row for tool in range(8) for row in scored(coin(chance, 0.7, 25), tool=f"tool {tool}")] for _ in range(2)]
        fails += any("got significantly worse" in reason for reason in decide(*pair).reasons)
    assert binomtest(fails, gates, 0.05, alternative="greater").pvalue > 0.01


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
