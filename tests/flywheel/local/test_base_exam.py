"""How answers of a base model are judged, and which rows can be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.local.base.exam import ExamSet, Question, Share, exam_sets, judge, sets_from_rows
from flywheel.local.base.families import bank, held_out
from flywheel.local.call_form import Call
from flywheel.local.generation import Completion

CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def question(answer: dict[str, Any]) -> Question:
    return Question([{"role": "user", "content": "time in Rome"}], [CLOCK], {"role": "assistant", "content": "", **answer})


def called(*cities: str, name: str = "clock") -> dict[str, Any]:
    return {"tool_calls": [{"type": "function", "function": {"name": name, "arguments": {"city": city}}} for city in cities]}


def completion(content: str | None = None, *calls: Call) -> Completion:
    return Completion(
        model="m", content=content, tool_calls=calls, finish_reason="stop", prompt_tokens=1, completion_tokens=1, mean_logprob=0.0
    )


def test_a_call_is_right_by_name_and_in_full_only_with_all_its_arguments_and_calls() -> None:
    exam = ExamSet("calls", "call", [question(called("Rome"))] * 4 + [question(called("Rome", "Oslo"))])
    rome = Call("clock", {"city": "Rome"})
    answers = [
        completion(None, rome),
        completion(None, Call("clock", {"city": "Bari"})),
        completion("I cannot do that."),
        completion(None, rome, rome),
        completion(None, rome, Call("clock", {"city": "Oslo"})),
    ]
    result = judge(exam, answers)
    assert (result.called, result.full, result.refused) == (Share(3, 5), Share(2, 5), Share(1, 5))


def test_words_are_right_without_a_call_and_a_sentence_only_as_it_is() -> None:
    asked = [question({"content": "It is noon."})] * 2
    answers = [completion("It is noon!"), completion(None, Call("clock", {}))]
    assert judge(ExamSet("words", "words", asked), answers).full == Share(1, 2)
    assert judge(ExamSet("sentence", "sentence", asked), answers).full == Share(0, 2)


@pytest.mark.parametrize(("right", "of", "low", "high"), [(8, 10, 0.490, 0.943), (0, 20, 0.0, 0.161), (50, 100, 0.404, 0.596)])
def test_the_interval_is_wilsons(right: int, of: int, low: float, high: float) -> None:
    assert Share(right, of).interval == pytest.approx((low, high), abs=0.001)


def test_rows_are_read_one_by_one_or_with_the_tools_they_share(tmp_path: Path) -> None:
    user, words = {"role": "user", "content": "time in Rome"}, {"role": "assistant", "content": "Hello!"}
    call = {"role": "assistant", "content": "", **called("Rome")}
    lines = [{"messages": [user, call], "tools": [CLOCK]}, {"tools": [CLOCK], "conversations": [[user, call], [user, words]]}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    calls, spoken = sets_from_rows(path, 100)
    assert (calls.judged, len(calls.questions), spoken.judged, len(spoken.questions)) == ("call", 2, "words", 1)
    assert calls.questions[0].messages == [user] and calls.questions[0].tools == [CLOCK]
    assert len(sets_from_rows(path, 1)[0].questions) == 1


def test_a_row_that_cannot_be_asked_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"messages": []}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="a row needs 'messages'"):
        sets_from_rows(path, 10)


def test_held_out_families_are_asked_with_the_answer_among_the_tools() -> None:
    exam = next(exam_sets(20))
    names = {name for family in bank() if held_out(family) for name in bank()[family]["names"]}
    plain = {"".join(filter(str.isalnum, name)).lower() for name in names}
    for asked in exam.questions:
        name = asked.answer["tool_calls"][0]["function"]["name"]
        assert name in [tool["function"]["name"] for tool in asked.tools]
    targets = [
        "".join(filter(str.isalnum, asked.answer["tool_calls"][0]["function"]["name"])).lower() for asked in exam.questions
    ]
    assert sum(target in plain for target in targets) >= 8
