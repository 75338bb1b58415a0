"""Make the shipped rows again: `python -m flywheel.starter.generate`. The same seeds give the same files, byte for byte.

Writes everyday.jsonl, replay.jsonl and old_skills.jsonl beside itself; reads the frozen tools, their frozen results and the lists
of words and phrases. Knows no model: whether the base model is good at its old skills is measured elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice

from flywheel import starter
from flywheel.local.base.invented import Inventor, Kind
from flywheel.local.base.turns import Turns
from flywheel.rows import Row
from flywheel.starter.everyday import everyday_rows
from flywheel.starter.results import result_rows

EVERYDAY_SEED, REPLAY_SEED, OLD_SKILLS_SEED, TAUGHT_SEED = 11, 23, 37, 53

_REPLAY_KINDS: tuple[Kind, ...] = ("call", "call", "call", "decline", "call", "call", "result", "call", "call", "talk")
_OLD_SKILLS_KINDS: tuple[Kind, ...] = ("call", "call", "call", "decline", "call", "call", "call", "talk")


def everyday() -> list[Row]:
    """Everyday questions to the chat's own tools."""
    return everyday_rows(starter.shipped_tools(), EVERYDAY_SEED)


def replay(exam: list[Row]) -> list[Row]:
    """Rows that keep what the base model can, with nothing of the exam in them.

    450 over 150 invented toolsets; sentences that report what the chat's own tools gave, because the everyday rows end in calls,
    and a model that learned only these would forget to speak; 180 natural questions to 60 toolsets, 120 to the chat's own tools.
    """
    invented = _invented(REPLAY_SEED, _REPLAY_KINDS, toolsets=150, turns=3, apart_from=exam)
    rows = invented + result_rows(starter.shipped_tools())
    return rows + _taught(TAUGHT_SEED, natural=180, to_the_chat=120, apart_from=[*exam, *everyday(), *rows])


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


def _taught(seed: int, *, natural: int, to_the_chat: int, apart_from: list[Row]) -> list[Row]:
    """Turns as the base model learned them: to tools drawn from the phrase bank, and to all the chat's own tools."""
    taken = {name for row in apart_from if row.tools != starter.shipped_tools() for name in row.tool_names}
    asked = {row.question_key for row in apart_from}

    def drawn(sort: str, turns: int) -> Iterator[Row]:
        source = Turns(seed)
        while True:
            sample = source.sample(sort, count=turns)
            fits = sample.tools == starter.shipped_tools() if sort == "chat" else len(sample.tools) <= 6
            for turn in sample.turns if fits else []:
                row = Row(turn.messages, sample.tools)
                if row.question_key not in asked and (sort == "chat" or taken.isdisjoint(row.tool_names)):
                    asked.add(row.question_key)
                    yield row

    return list(islice(drawn("families", 3), natural)) + list(islice(drawn("chat", 8), to_the_chat))


def main() -> None:
    """Write the three files and say how large they are."""
    exam = old_skills()
    for path, rows in ((starter.EVERYDAY, everyday()), (starter.OLD_SKILLS, exam), (starter.REPLAY, replay(exam))):
        text = starter.pack(rows)
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(rows)} rows, {len(text.encode()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
