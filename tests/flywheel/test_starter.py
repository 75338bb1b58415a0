"""The shipped rows: made by the generator, sound, apart from each other, and true to the chat's own tools."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from flywheel import starter
from flywheel.rows import Row, check_row, normalise_tool, read_rows
from flywheel.starter import generate
from flywheel.starter.draw import Draw
from tools import TOOLS, ToolContext

REFREEZE = """The chat's tools have changed. Freeze them again and make the rows again:
python -c "import json, tools, flywheel.starter as s; s.SHIPPED_TOOLS.write_text(
    json.dumps([t.schema for t in tools.TOOLS.values()], indent=1, ensure_ascii=False) + chr(10), encoding='utf-8')"
python -m flywheel.starter.generate"""

MAY_REFUSE = ("get_weather", "order_status", "request_return", "delete_reminder")  # no network, no such order, no such reminder


@pytest.fixture(scope="module")
def everyday() -> list[Row]:
    found = read_rows(starter.EVERYDAY)
    assert found.problems == []
    return [row for _, row in found.rows]


def test_files_are_what_the_generator_makes() -> None:
    exam = generate.old_skills()
    assert starter.EVERYDAY.read_text(encoding="utf-8") == generate.everyday()
    assert starter.OLD_SKILLS.read_text(encoding="utf-8") == starter.pack(exam)
    assert starter.REPLAY.read_text(encoding="utf-8") == starter.pack(generate.replay(exam))
    assert list(starter.load_old_skills()) == exam


def test_frozen_tools_are_the_chats_own() -> None:
    assert starter.shipped_tools() == [tool.schema for tool in TOOLS.values()], REFREEZE
    assert len(TOOLS) == 13
    assert [normalise_tool(tool) for tool in starter.shipped_tools()] == starter.shipped_tools()


def test_everyday_rows_cover_every_tool_and_every_way_to_say_no(everyday: list[Row]) -> None:
    called = Counter(row.calls[0].name if row.calls else "" for row in everyday)
    assert set(called) == {*TOOLS, ""} and all(called[name] >= 25 for name in TOOLS)
    assert 0.12 < called[""] / len(everyday) < 0.2
    assert len({row.question_key for row in everyday}) == len(everyday) > 390
    assert sum(len(row.tools) == len(TOOLS) for row in everyday) > len(everyday) * 0.15
    assert len({tuple(row.tool_names) for row in everyday}) > 350


def test_everyday_questions_differ_in_more_than_their_values(everyday: list[Row]) -> None:
    """For each tool many ways to ask: at most two rows may begin with the same three words."""
    for name in TOOLS:
        questions = [row.question for row in everyday if row.calls and row.calls[0].name == name]
        starts = Counter(" ".join(question.lower().split()[:3]) for question in questions)
        assert len(starts) > len(questions) * 0.6, (name, starts.most_common(5))


def test_everyday_arguments_are_what_the_person_said(everyday: list[Row]) -> None:
    implied = {"status", "reason", "month"}
    for row in everyday:
        for call in row.calls:
            for key, value in call.arguments.items():
                said = str(value) in row.question.replace(",", "") or str(value) in row.question
                assert said or key in implied, (row.question, call)


@pytest.mark.slow
def test_everyday_calls_run(everyday: list[Row], tmp_path: Path) -> None:
    """Every call is one that the real tool takes; those that need neither network nor a certain order also give an answer."""
    context = ToolContext("somebody", tmp_path)
    ran = 0
    for row in everyday:
        for call in row.calls:
            TOOLS[call.name].validate(call.arguments)
            if call.name not in MAY_REFUSE:
                result = asyncio.run(TOOLS[call.name].run(call.arguments, context))
                assert result.content is not None or "took longer" in str(result.error), (row.question, call, result.error)
                ran += result.content is not None
    assert ran > 200


def test_old_skills_are_sound_and_mixed() -> None:
    for rows, count in ((starter.load_replay(), 600), (starter.load_old_skills(), 80)):
        assert len(rows) == count and [problem for row in rows for problem in check_row(row)] == []
        assert len({row.question_key for row in rows}) == count
        assert 0.18 <= sum(not row.calls and len(row.messages) == 2 for row in rows) / count <= 0.27
        assert all(2 <= len(row.tools) <= 6 and len(row.calls) <= 1 for row in rows)
    assert sum(len(row.messages) == 4 for row in starter.load_replay()) == 60
    assert all(len(row.messages) == 2 for row in starter.load_old_skills())


def test_the_exam_shares_nothing_with_replay_and_everyday(everyday: list[Row]) -> None:
    exam, others = starter.load_old_skills(), [*starter.load_replay(), *everyday]
    assert {row.question_key for row in exam}.isdisjoint(row.question_key for row in others)
    assert {name for row in exam for name in row.tool_names}.isdisjoint(name for row in others for name in row.tool_names)


def test_shipped_files_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (starter.EVERYDAY, starter.REPLAY, starter.OLD_SKILLS)}
    assert sizes["everyday.jsonl"] < 1_500_000 and sum(sizes.values()) < 2_000_000


def test_draws_are_the_same_everywhere() -> None:
    draw = Draw(7)
    assert [draw.between(1, 100) for _ in range(5)] == [33, 16, 66, 8, 54]
    assert draw.some("abcdef", 3) == ["d", "b", "f"] and draw.pick("xyz") == "x" and draw.real(0, 1, 3) == 0.425
