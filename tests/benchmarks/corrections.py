"""Twenty corrections of one tool, tested on fifty other ways to ask for it: `python -m tests.benchmarks.corrections [--tools N]`.

Each tool is one that the base model never saw, put beside the thirteen of the chat. Twenty turns in which the model was wrong are
corrected at the review desk, the wheel turns once, and the candidate is asked in phrasings and with values that are in none of
the corrections. Beside it stand 200 everyday questions to the chat's own tools: what learning the new one costs them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from flywheel.ledger import Ledger
from flywheel.local.base.chat_values import ChatValues
from flywheel.local.base.draw import Draw
from flywheel.local.base.families import FamilyTool, bank, held_out
from flywheel.promote import Registry
from flywheel.review import ReviewDesk
from flywheel.rows import Row, to_openai
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from tests.benchmarks import everyday, wheel
from tests.benchmarks.machine import facts, note, table
from tests.benchmarks.questions import schemas

CORRECTIONS, TESTED = 20, 50
TOOLS = ("desk_book", "sensor_threshold_set", "medication_add", "parking_book")
"""Families that the base model is never trained on."""
_WRONG = "Sorry, none of my tools can do that."


class Questions(NamedTuple):
    """Rows on one tool: those that are corrected, and those that test, in no phrasing of the first."""

    corrected: list[Row]
    tested: list[Row]


class Learned(NamedTuple):
    """Both metrics before and after on the tool's tested rows and on the everyday questions, and the seconds of the run."""

    tool: str
    before: tuple[float, float]
    after: tuple[float, float]
    others_before: tuple[float, float]
    others_after: tuple[float, float]
    seconds: float


def questions(family: str, corrected: int = CORRECTIONS, tested: int = TESTED) -> Questions:
    """Drawn from the family's own ways to ask, half of them for either side; the same every time."""
    draw = Draw(sum(family.encode()))
    tool = FamilyTool(family, draw, ChatValues(draw))
    offered = [*schemas(), tool.schema]
    ways = draw.some(bank()[family]["queries"], len(bank()[family]["queries"]))
    middle = len(ways) // 2
    return Questions(_rows(tool, ways[:middle], offered, corrected), _rows(tool, ways[middle:], offered, tested))


def _rows(tool: FamilyTool, ways: list[str], offered: list[dict[str, Any]], count: int) -> list[Row]:
    """`count` different questions, the ways taken in turn."""
    found: dict[str, Row] = {}
    for place in range(50 * count):
        asked = tool.ask_as(ways[place % len(ways)])
        if asked is not None and len(found) < count:
            call = {"type": "function", "function": {"name": tool.name, "arguments": asked.arguments}}
            answer = {"role": "assistant", "content": "", "tool_calls": [call]}
            found.setdefault(asked.text, Row([{"role": "user", "content": asked.text}, answer], offered))
    return list(found.values())


def correct(home: Path, rows: list[Row]) -> None:
    """Let a person ask each question, get a wrong answer and say so; let a reviewer put it right."""
    settings = Settings.from_environment(wheel.environment(home))
    store = Store(settings.store_path)
    Registry(store.database).begin(settings.base_model)
    desk = ReviewDesk(store, Ledger(store.database))
    for row in rows:
        conversation = store.create_conversation("benchmark")
        turn = store.begin_turn(conversation, row.question, tools=row.tools, model=LOCAL_BASE_MODEL, context=[])
        said = {"role": "assistant", "content": _WRONG}
        store.save_turn(turn.id, status="answered", messages=[*turn.messages, said], answer=_WRONG, verdicts=[], timings={})
        store.rate("benchmark", turn.id, "down", ["wrong_tool"], "")
        desk.approve(turn.id, "benchmark", row.messages[-1])
    store.close()


def score(model: str, home: Path, data: Path) -> tuple[float, float]:
    """Both metrics of a model that the platform in this state folder serves."""
    said = wheel.evaluated(home, model, data)
    return said[wheel.METRICS[0]], said[wheel.METRICS[1]]


def learn(family: str, folder: Path) -> Learned:
    """One tool, from its corrections to its scores."""
    made, home = questions(family), folder / family
    home.mkdir()
    tested, others = folder / f"{family}.jsonl", folder / "others.jsonl"
    tested.write_text("".join(json.dumps(to_openai(row)) + "\n" for row in made.tested), encoding="utf-8")
    others.write_text("".join(json.dumps(row) + "\n" for row in everyday.rows()), encoding="utf-8")
    correct(home, made.corrected)
    turned = wheel.turn(home)
    candidate = turned.run["candidate"]
    before, after = (score(model, home, tested) for model in (LOCAL_BASE_MODEL, candidate))
    others_before, others_after = (score(model, home, others) for model in (LOCAL_BASE_MODEL, candidate))
    return Learned(family, before, after, others_before, others_after, turned.seconds)


def report(found: list[Learned]) -> str:
    """The table: a line a tool, and the mean."""
    lines = [(one.tool, *_cells(one)) for one in found]
    parts = zip(*[(*one.before, *one.after, *one.others_before, *one.others_after, one.seconds) for one in found], strict=True)
    a, b, c, d, e, f, g, h, seconds = (mean(part) for part in parts)
    lines.append(("mean", *_cells(Learned("", (a, b), (c, d), (e, f), (g, h), seconds))))
    heads = ("tool", "before: name / whole call", "after", "200 others before", "after", "run, s")
    return table(heads, lines)


def _cells(one: Learned) -> list[str]:
    pairs = (one.before, one.after, one.others_before, one.others_after)
    return [f"{name:.2f} / {whole:.2f}" for name, whole in pairs] + [f"{one.seconds:.0f}"]


def main() -> None:
    """Learn one tool after the other and print."""
    parser = argparse.ArgumentParser(description="Twenty corrections of one tool, tested on fifty other ways to ask.")
    parser.add_argument("--tools", type=int, default=3, help=f"how many tools, at most {len(TOOLS)}")
    options = parser.parse_args()
    chosen = TOOLS[: options.tools]
    assert all(map(held_out, chosen))
    machine, found = facts(), []
    with tempfile.TemporaryDirectory() as folder:
        for family in chosen:
            note(f"{family} ...")
            found.append(learn(family, Path(folder)))
    print(f"{machine}\n{CORRECTIONS} corrections, {TESTED} other questions a tool, 14 tools on offer.\n\n{report(found)}")


if __name__ == "__main__":
    main()
