"""The shipped rows: made by the generator, sound, apart from each other, and true to the chat's own tools.

Run as a program, this file freezes the tools and their results again and makes the rows again.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel import starter
from flywheel.local.base.draw import Draw
from flywheel.rows import Row, check_row, normalise_tool
from flywheel.starter import generate, results
from tests.fakes import OpenMeteo
from tools import TOOLS, ToolContext, ToolResult

REFREEZE = """The chat's tools have changed. Freeze them and make the rows again:
PYTHONPATH=. python tests/flywheel/test_starter.py"""
INVENTED = 450
EARLY = "2026-03-02T00:00:00+00:00"
"""A moment at which no time of the day is over yet."""
MAY_REFUSE = ("order_status", "request_return", "delete_reminder")  # no such order or reminder: known only when it is looked up


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    frozen: list[dict[str, Any]] = json.loads(results.TOOL_RESULTS.read_text(encoding="utf-8"))
    return frozen


def run(call: dict[str, Any], home: Path, moment: str, weather: OpenMeteo) -> ToolResult:
    context = ToolContext("somebody", home, now=lambda: datetime.fromisoformat(moment), transport=weather)
    return asyncio.run(TOOLS[call["name"]].run(call["arguments"], context))


def outcome(case: dict[str, Any], home: Path) -> dict[str, Any]:
    """What the chat's tool makes of a frozen case today, after the calls that came before it."""
    weather = OpenMeteo()
    if "service" in case:
        weather.enqueue(httpx.Response(200, json=case["service"]) if case["service"] else httpx.ConnectError("offline"))
    for call in case.get("before", []):
        assert run(call, home, case["now"], weather).error is None, (case, call)
    result = run(case["call"], home, case["now"], weather)
    if case.get("declined"):
        assert result.error is None, case
        return {"error": results.DECLINED}
    return {"error": result.error} if result.content is None else result.content


def shape(value: Any) -> Any:
    """Keys in order and kinds of values; of a list, its first item."""
    if isinstance(value, dict):
        return [(key, shape(part)) for key, part in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


def called(row: Row) -> str:
    return row.calls[0].name if row.calls else ""


def test_files_are_what_the_generator_makes() -> None:
    exam = generate.old_skills()
    assert starter.EVERYDAY.read_text(encoding="utf-8") == starter.pack(generate.everyday())
    assert starter.OLD_SKILLS.read_text(encoding="utf-8") == starter.pack(exam)
    assert starter.REPLAY.read_text(encoding="utf-8") == starter.pack(generate.replay(exam))
    assert list(starter.load_old_skills()) == exam and list(starter.load_everyday()) == generate.everyday()


def test_frozen_tools_are_the_chats_own() -> None:
    assert starter.shipped_tools() == [tool.schema for tool in TOOLS.values()], REFREEZE
    assert len(TOOLS) == 13
    assert [normalise_tool(tool) for tool in starter.shipped_tools()] == starter.shipped_tools()


def test_everyday_rows_cover_every_tool_and_every_way_to_say_no() -> None:
    rows = starter.load_everyday()
    assert [problem for row in rows for problem in check_row(row)] == []
    counts = Counter(map(called, rows))
    assert set(counts) == {*TOOLS, ""} and all(60 <= counts[name] <= 65 for name in TOOLS)
    assert 105 <= counts[""] <= 120 and 880 <= len(rows) <= 960
    assert all(row.tools == starter.shipped_tools() for row in rows)


def test_the_tools_own_examples_and_others_like_them_are_among_the_everyday_questions() -> None:
    asked = {row.question: called(row) for row in starter.load_everyday()}
    phrases = json.loads((starter.EVERYDAY.parent / "everyday_phrases.json").read_text(encoding="utf-8"))
    for name, tool in TOOLS.items():
        core = [phrase if isinstance(phrase, str) else phrase[0] for phrase in phrases[name]["core"]]
        words = [re.sub(r"\\{\w+\\}", "(.+)", re.escape(phrase.rstrip("?"))) for phrase in core]
        patterns = [re.compile(rf"(?:\w+, )?{pattern}", re.IGNORECASE) for pattern in words]
        for example in tool.examples:
            assert asked[example] == name
            like = [pattern for pattern in patterns if pattern.fullmatch(example.rstrip("?"))]
            assert like, example
            alike = [question for question in asked if any(pattern.match(question) for pattern in like)]
            assert len(alike) >= 5, (example, alike)


def test_everyday_arguments_are_what_the_person_said() -> None:
    """Nothing is in a call that the question does not hold, save the words that an enum has for it and "next"."""
    for row in starter.load_everyday():
        for call in row.calls:
            for key, value in call.arguments.items():
                implied = key in ("status", "reason") or (key, value) == ("month", "next")
                assert implied or str(value) in row.question, (row.question, call)


@pytest.mark.slow
def test_everyday_calls_run(tmp_path: Path) -> None:
    """The real tools take every call; only what a certain person's orders and reminders decide may be refused."""
    ran, weather = 0, OpenMeteo()
    for row in starter.load_everyday():
        for call in row.calls:
            arguments = TOOLS[call.name].validate(call.arguments)
            result = run({"name": call.name, "arguments": arguments}, tmp_path, EARLY, weather)
            assert result.error is None or call.name in MAY_REFUSE, (row.question, call, result.error)
            ran += result.error is None
    assert ran > 600


@pytest.mark.slow
def test_frozen_results_have_the_shapes_that_the_tools_give_today(cases: list[dict[str, Any]], tmp_path: Path) -> None:
    for number, case in enumerate(cases):
        fresh = outcome(case, tmp_path / str(number))
        assert shape(fresh) == shape(case["result"]), (case, fresh, REFREEZE)


def test_results_of_every_tool_end_in_their_sentence(cases: list[dict[str, Any]]) -> None:
    rows = starter.load_replay()[INVENTED : INVENTED + len(cases)]
    assert len(cases) >= 120 and all(row.tools == starter.shipped_tools() for row in rows)
    told = Counter((case["call"]["name"], "error" in case["result"]) for case in cases)
    assert all(told[name, False] >= 6 for name in TOOLS)
    assert sum(count for (_, wrong), count in told.items() if wrong) >= 20
    for row, case in zip(rows, cases, strict=True):
        _, call, result, answer = row.messages
        TOOLS[case["call"]["name"]].validate(call["tool_calls"][0]["function"]["arguments"])
        assert json.loads(result["content"]) == case["result"] and "\n" not in answer["content"]
        if "error" not in case["result"]:
            assert answer["content"] == case["result"]["summary"] != ""
        elif case["result"]["error"] == results.DECLINED:
            assert answer["content"] == "All right, I did not do that."
        else:
            assert answer["content"] == f"Sorry, that did not work: {case['result']['error']}"


def test_old_skills_are_sound_and_mixed() -> None:
    invented = starter.load_replay()[:INVENTED]
    for rows, count in ((invented, INVENTED), (starter.load_old_skills(), 80)):
        assert len(rows) == count and [problem for row in rows for problem in check_row(row)] == []
        assert 0.18 <= sum(not row.calls and len(row.messages) == 2 for row in rows) / count <= 0.27
        assert all(2 <= len(row.tools) <= 6 and len(row.calls) <= 1 for row in rows)
    assert sum(len(row.messages) == 4 for row in invented) == 45
    assert all(len(row.messages) == 2 for row in starter.load_old_skills())


def test_natural_questions_are_replayed_too() -> None:
    taught = starter.load_replay()[-300:]
    assert [problem for row in taught for problem in check_row(row)] == []
    to_the_chat = [row for row in taught if row.tools == starter.shipped_tools()]
    assert len(to_the_chat) == 120 and {call.name for row in to_the_chat for call in row.calls} == {*TOOLS}
    assert 0.5 <= sum(bool(row.calls) for row in taught) / 300 <= 0.8


def test_no_question_is_asked_twice_and_the_exams_tools_are_nowhere_else() -> None:
    exam, others = starter.load_old_skills(), [*starter.load_replay(), *starter.load_everyday()]
    asked = Counter(row.question_key for row in [*exam, *others])
    assert [row.question for row in [*exam, *others] if asked[row.question_key] > 1] == []
    assert {name for row in exam for name in row.tool_names}.isdisjoint(name for row in others for name in row.tool_names)


def test_shipped_files_are_small() -> None:
    sizes = [path.stat().st_size for path in starter.EVERYDAY.parent.iterdir() if path.suffix in (".json", ".jsonl")]
    assert len(sizes) >= 8 and sum(sizes) < 1_200_000


def test_draws_are_the_same_everywhere() -> None:
    draw = Draw(7)
    assert [draw.between(1, 100) for _ in range(5)] == [33, 16, 66, 8, 54]
    assert draw.some("abcdef", 3) == ["d", "b", "f"] and draw.pick("xyz") == "x" and draw.real(0, 1, 3) == 0.425


def freeze() -> None:
    """Write the tools and the results of the frozen cases as they are today, and the rows that follow from them."""
    schemas = json.dumps([tool.schema for tool in TOOLS.values()], indent=1, ensure_ascii=False)
    starter.SHIPPED_TOOLS.write_text(schemas + "\n", encoding="utf-8")
    frozen = json.loads(results.TOOL_RESULTS.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(frozen):
            case["result"] = outcome(case, Path(folder, str(number)))
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in frozen)
    results.TOOL_RESULTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    generate.main()


if __name__ == "__main__":
    freeze()
