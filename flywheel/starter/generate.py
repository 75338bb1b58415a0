"""Make the shipped rows again: `python -m flywheel.starter.generate`. The same seeds give the same files, byte for byte.

Writes everyday.jsonl, replay.jsonl and old_skills.jsonl beside itself; reads the frozen tools, their frozen results and the lists
of words and phrases. Knows no model: whether the base model is good at its old skills is measured elsewhere.
"""

from __future__ import annotations

from itertools import cycle

from flywheel import starter
from flywheel.local.base.invented import Inventor, Kind
from flywheel.rows import Row
from flywheel.starter.everyday import everyday_rows
from flywheel.starter.results import result_rows

EVERYDAY_SEED, REPLAY_SEED, OLD_SKILLS_SEED = 11, 23, 37

_REPLAY_KINDS: tuple[Kind, ...] = ("call", "call", "call", "decline", "call", "call", "result", "call", "call", "talk")
_OLD_SKILLS_KINDS: tuple[Kind, ...] = ("call", "call", "call", "decline", "call", "call", "call", "talk")


def everyday() -> list[Row]:
    """Everyday questions to the chat's own tools."""
    return everyday_rows(starter.shipped_tools(), EVERYDAY_SEED)


def replay(exam: list[Row]) -> list[Row]:
    """450 rows over 150 invented toolsets, with nothing of the exam in them, and sentences that report what the chat's own tools
    gave: the everyday rows end in calls, and a model that learned only these would forget to speak."""
    invented = _invented(REPLAY_SEED, _REPLAY_KINDS, toolsets=150, turns=3, apart_from=exam)
    return invented + result_rows(starter.shipped_tools())


def old_skills() -> list[Row]:
    """The exam: 80 rows over 40 toolsets."""
    return _invented(OLD_SKILLS_SEED, _OLD_SKILLS_KINDS, toolsets=40, turns=2, apart_from=[])


def _invented(seed: int, kinds: tuple[Kind, ...], *, toolsets: int, turns: int, apart_from: list[Row]) -> list[Row]:
    """Rows with new tools and new questions, their kinds in turn."""
    inventor, following = Inventor(seed), cycle(kinds)
    taken = {name for row in apart_from for name in row.tool_names}
    asked = {row.question_key for row in apart_from}
    rows: list[Row] = []
    for _ in range(toolsets):
        tools = inventor.toolset(taken)
        offered = [tool.schema() for tool in tools]
        for kind in [next(following) for _ in range(turns)]:
            row = Row(inventor.turn(tools, kind), offered)
            while row.question_key in asked:
                row = Row(inventor.turn(tools, kind), offered)
            asked.add(row.question_key)
            rows.append(row)
    return rows


def main() -> None:
    """Write the three files and say how large they are."""
    exam = old_skills()
    for path, rows in ((starter.EVERYDAY, everyday()), (starter.OLD_SKILLS, exam), (starter.REPLAY, replay(exam))):
        text = starter.pack(rows)
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(rows)} rows, {len(text.encode()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
