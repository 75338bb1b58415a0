"""What a small model makes of what came before: `python -m tests.benchmarks.follow_ups`.

Two sets: 30 hand-written dialogues of two turns with the shipped tools (follow_ups.jsonl: question, tool, arguments, and the same
of the second turn, which is scored), and the 200 everyday questions after turns about something else. Each with none of the turns
before in view, with one and two of them whole, with the last one's question and call, and with that only where the question leans
on it (`chat_app.follow_up`), which is what the chat does. Then: how many frozen tool results the model tells to the letter.
Greedy and guided, all tools on offer, through the local platform's engine in this process. Nothing here trains.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.local.settings import prepare_environment

prepare_environment()  # torch reads it once

from chat_app.follow_up import leans_on_the_last  # noqa: E402
from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH  # noqa: E402
from flywheel.local.engine import Engine  # noqa: E402
from flywheel.local.generation import Request  # noqa: E402
from flywheel.local.metrics import read_calls, tool_calling_scores  # noqa: E402
from flywheel.starter.results import result_rows  # noqa: E402
from tests.benchmarks import everyday  # noqa: E402
from tests.benchmarks.machine import facts, note, serving_threads, table  # noqa: E402
from tests.benchmarks.questions import schemas  # noqa: E402
from tests.fakes import OpenMeteo  # noqa: E402
from tools import TOOLS, ToolContext  # noqa: E402

DIALOGUES = Path(__file__).with_name("follow_ups.jsonl")
AT_ONCE = 8
RESULTS_STEP = 4
"""Every fourth frozen result is enough."""

Turn = tuple[str, str, dict[str, Any]]
"""The question, the tool's name, the call's arguments."""
Exchange = list[dict[str, Any]]
"""A finished turn's messages."""
Case = tuple[list[Exchange], Turn]
"""What came before, and the turn that is scored."""


def dialogues() -> list[tuple[Turn, Turn]]:
    """The two turns of each dialogue."""
    lines = [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]
    return [((line[0], line[1], line[2]), (line[3], line[4], line[5])) for line in lines]


def questions() -> list[Turn]:
    """The everyday questions."""
    lines = [json.loads(line) for line in everyday.QUESTIONS.read_text(encoding="utf-8").splitlines()]
    return [(line[0], line[1], line[2]) for line in lines]


async def exchange(turn: Turn, context: ToolContext) -> Exchange:
    """A finished turn as the chat keeps it: question, call, what the tool really gave, its sentence."""
    question, name, arguments = turn
    result = await TOOLS[name].run(arguments, context)
    said = result.content["summary"] if result.content else f"Sorry, that did not work: {result.error}"
    function = {"name": name, "arguments": arguments}
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}
    told = {"role": "tool", "tool_call_id": "call-1", "name": name, "content": result.text}
    return [{"role": "user", "content": question}, call, told, {"role": "assistant", "content": said}]


async def sets(folder: Path) -> dict[str, list[Case]]:
    """Both sets. What stands before is about another tool, except the first half of a dialogue; it is the same at every run."""
    context, chance = ToolContext("ann", folder / "tools", transport=OpenMeteo()), random.Random(5)
    pairs = dialogues()
    finished = [(first[1], await exchange(first, context)) for first, _ in pairs]

    def others(tool: str, count: int) -> list[Exchange]:
        return chance.sample([turn for name, turn in finished if name != tool], count)

    leaning = [([*others(first[1], 1), done], second) for (first, second), (_, done) in zip(pairs, finished, strict=True)]
    return {"follow-ups": leaning, "everyday": [(others(turn[1], 2), turn) for turn in questions()]}


def whole(count: int) -> Callable[[list[Exchange]], Exchange]:
    """So many of the turns before, whole."""
    return lambda before: [message for turn in before[len(before) - count :] for message in turn]


def last_call(before: list[Exchange]) -> Exchange:
    """Question and call of the turn before."""
    return before[-1][:2]


WAYS = {"none": whole(0), "one whole": whole(1), "two whole": whole(2), "one's question and call": last_call}


def scores(engine: Engine, cases: list[Case], seen: Callable[[list[Exchange]], Exchange]) -> list[dict[str, float]]:
    """The two metrics for each case, with so much of the turns before in view."""
    found = []
    for start in range(0, len(cases), AT_ONCE):
        some = cases[start : start + AT_ONCE]
        requests = [asked([*seen(before), {"role": "user", "content": turn[0]}]) for before, turn in some]
        answers = [generation.result(300) for generation in [engine.submit(request) for request in requests]]
        for (_, (_, name, arguments)), answer in zip(some, answers, strict=True):
            said = [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]
            found.append(tool_calling_scores(read_calls([{"name": name, "arguments": arguments}]), said))
    return found


def asked(messages: Exchange) -> Request:
    """What the chat would ask."""
    return Request(model=SHIPPED_ID, messages=messages, tools=schemas(), temperature=0, max_tokens=512)


def lines(name: str, cases: list[Case], ways: dict[str, list[dict[str, float]]]) -> list[list[object]]:
    """A line of the table for each way, the last one chosen question by question."""
    leans = [leans_on_the_last(turn[0]) for _, turn in cases]
    pairs = zip(leans, ways["none"], ways["one's question and call"], strict=True)
    chosen = [with_call if lean else alone for lean, alone, with_call in pairs]
    named = ways | {f"that, where it leans ({sum(leans)})": chosen}
    return [
        [name, way, len(each), *(f"{sum(score[metric] for score in each) / len(each):.3f}" for metric in each[0])]
        for way, each in named.items()
    ]


def told_to_the_letter(engine: Engine) -> str:
    """How many of the frozen results the model puts into just the sentence that they bring along."""
    rows = [row.messages for row in result_rows(schemas())][::RESULTS_STEP]
    answers = [engine.submit(asked(messages[:-1])).result(300) for messages in rows]
    right = sum(answer.content == messages[-1]["content"] for answer, messages in zip(answers, rows, strict=True))
    return f"{right} of {len(rows)} results are told to the letter; the tools' own sentences always are."


def main() -> None:
    """Score and print."""
    machine, rows, engine = facts(), [], Engine(SHIPPED_ID, SHIPPED_PATH, threads=serving_threads())
    try:
        engine.wait_ready(120)
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(sets(Path(folder)))
        for name, cases in found.items():
            note(f"{name} ...")
            rows += lines(name, cases, {way: scores(engine, cases, seen) for way, seen in WAYS.items()})
        results = told_to_the_letter(engine)
    finally:
        engine.close()
    head = ("questions", "of the turns before, in view", "n", "name", "name and args")
    print(f"{machine}\nModel: {SHIPPED_ID}\n\n{table(head, rows)}\n\n{results}")


if __name__ == "__main__":
    main()
