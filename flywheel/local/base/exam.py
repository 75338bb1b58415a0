"""Sets of questions with known answers, and how an answer is judged.

Sets are drawn where training never draws, from families and nouns that are held out and seeds of their own; or they are read
from a file of rows. A call is right by name where the same tools are called in the same order, and in full where all arguments
are equal, too. Words are right where no tool is called; a sentence about a result is right when it is the very sentence. Knows
no model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flywheel.local.base.turns import Kind, Message, Turns
from flywheel.local.generation import Completion
from flywheel.local.training_rows import read_row

TEST_SEED = 900_000_000
"""Far from the seeds of training, which are the recipe's seed times a million and the pool's number."""
Judged = Literal["call", "words", "sentence"]


class Question(NamedTuple):
    """What is asked, with which tools, and the message that answers it."""

    messages: list[Message]
    tools: list[dict[str, Any]]
    answer: Message


class ExamSet(NamedTuple):
    """Questions that are judged alike."""

    name: str
    judged: Judged
    questions: list[Question]


class Share(NamedTuple):
    """How many of how many, with a 95 % Wilson interval."""

    right: int
    of: int

    @property
    def value(self) -> float:
        """The share; 0 where there was nothing."""
        return self.right / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson interval."""
        if not self.of:
            return (0.0, 1.0)
        z, p, n = 1.96, self.value, self.of
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n)))


class Result(NamedTuple):
    """The shares of a set: `name` and `full` for calls (`refused`: answered in words), `full` alone for the others."""

    name: str
    full: Share
    called: Share | None = None
    refused: Share | None = None


_SETS: tuple[tuple[str, Judged, Kind, tuple[str, ...]], ...] = (
    ("held-out families", "call", "call", ("families",)),
    ("unseen domains", "call", "call", ("domains",)),
    ("two calls", "call", "two_calls", ("families", "domains")),
    ("follow-up", "call", "follow_up", ("families", "domains")),
    ("no tool fits", "words", "decline", ("families", "domains")),
    ("missing value", "words", "ask_back", ("families", "domains")),
    ("small talk", "words", "talk", ("families", "domains")),
    ("result to sentence", "sentence", "result", ("families", "domains")),
)


def exam_sets(count: int, seed: int = TEST_SEED) -> Iterator[ExamSet]:
    """The sets, `count` questions each, every question with a toolset of its own."""
    for place, (name, judged, kind, sorts) in enumerate(_SETS):
        turns = Turns(seed + place, test=True)
        questions: list[Question] = []
        while len(questions) < count:
            sample = turns.sample(sorts[len(questions) % len(sorts)], kind, 1)
            questions += [Question(turn.messages[:-1], sample.tools, turn.messages[-1]) for turn in sample.turns]
        yield ExamSet(name, judged, questions)


def sets_from_rows(path: Path, count: int) -> list[ExamSet]:
    """Sets of the rows in a JSONL file: those that end in calls, and those that end in words; an even choice of at most `count`.

    A line is a row ({"messages": [], "tools": []}) or several that share their tools ({"tools": [], "conversations": []}). Raises
    ValueError with the line that cannot be read.
    """
    calls: list[Question] = []
    words: list[Question] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for row in _rows(line) if line.strip() else ():
            read = read_row(json.dumps(row).encode(), f"{path.name}:{number}")
            question = Question(read.messages[:-1], read.tools, read.messages[-1])
            (calls if read.messages[-1].get("tool_calls") else words).append(question)
    found = [ExamSet(f"{path.name}: calls", "call", calls), ExamSet(f"{path.name}: words", "words", words)]
    return [one._replace(questions=_spread(one.questions, count)) for one in found if one.questions]


def judge(exam: ExamSet, answers: Sequence[Completion]) -> Result:
    """How many of the answers are right."""
    count = len(answers)
    pairs = list(zip(exam.questions, answers, strict=True))
    if exam.judged == "words":
        return Result(exam.name, Share(sum(not answer.tool_calls for answer in answers), count))
    if exam.judged == "sentence":
        return Result(exam.name, Share(sum(answer.content == question.answer["content"] for question, answer in pairs), count))
    expected = [_wanted(question.answer) for question in exam.questions]
    given = [[(call.name, call.arguments) for call in answer.tool_calls] for answer in answers]
    named = sum([n for n, _ in want] == [n for n, _ in have] for want, have in zip(expected, given, strict=True))
    full = sum(want == have for want, have in zip(expected, given, strict=True))
    return Result(exam.name, Share(full, count), Share(named, count), Share(sum(not have for have in given), count))


def _wanted(answer: Message) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in answer["tool_calls"]]


def _spread(questions: list[Question], count: int) -> list[Question]:
    step = max(1.0, len(questions) / count)
    return [questions[int(place * step)] for place in range(min(count, len(questions)))]


def _rows(line: str) -> list[dict[str, Any]]:
    value = json.loads(line)
    if isinstance(value, dict) and "conversations" in value:
        return [{"messages": messages, "tools": value.get("tools")} for messages in value["conversations"]]
    return [value]
