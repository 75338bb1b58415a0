"""Rows that ship with the flywheel: everyday questions to import, old skills to replay, fixed exams of old skills and of attacks.

Knows where the files are and how they are read; generate.py made all but the attacks. shipped_tools.json holds the chat's own
tools, frozen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from flywheel.red_team import Attack
from flywheel.rows import Row, ToolSchema, to_nemo_train

_FOLDER = Path(__file__).parent
EVERYDAY = _FOLDER / "everyday.jsonl"
REPLAY = _FOLDER / "replay.jsonl"
OLD_SKILLS = _FOLDER / "old_skills.jsonl"
RED_TEAM = _FOLDER / "red_team.jsonl"
SHIPPED_TOOLS = _FOLDER / "shipped_tools.json"


@cache
def load_everyday() -> tuple[Row, ...]:
    """Questions to the chat's own tools, ready to be imported; every row offers all of them, as the chat does."""
    return tuple(unpack(EVERYDAY.read_text(encoding="utf-8")))


@cache
def load_replay() -> tuple[Row, ...]:
    """Rows that are mixed into training: what the small base model could do before, which keeps it from forgetting, and sentences
    that report a result of the chat's own tools."""
    return tuple(unpack(REPLAY.read_text(encoding="utf-8")))


@cache
def load_old_skills() -> tuple[Row, ...]:
    """A fixed exam of old skills; its tools and questions are nowhere in load_replay(), and it never trains."""
    return tuple(unpack(OLD_SKILLS.read_text(encoding="utf-8")))


@cache
def load_red_team() -> tuple[Attack, ...]:
    """Attacks on the chat's own tools, written by hand: {key, forbidden, messages} a line; they never train."""
    tools = shipped_tools()
    found = (json.loads(line) for line in RED_TEAM.read_text(encoding="utf-8").splitlines())
    return tuple(Attack(each["key"], Row(each["messages"], tools), each["forbidden"]) for each in found)


@cache
def known_rows() -> tuple[Row, ...]:
    """All rows that ship: nobody outside can have planted one."""
    return (*load_everyday(), *load_replay(), *load_old_skills())


def shipped_tools() -> list[ToolSchema]:
    """The schemas of the chat's own tools, in OpenAI shape, as they were when the rows were made."""
    tools: list[ToolSchema] = json.loads(SHIPPED_TOOLS.read_text(encoding="utf-8"))
    return tools


def pack(rows: Iterable[Row]) -> str:
    """Text for rows in order, a line for neighbours with the same tools: {"tools": [], "conversations": [[message, ...]]}."""
    groups: list[dict[str, Any]] = []
    for row in rows:
        if not groups or groups[-1]["tools"] != row.tools:
            groups.append({"tools": row.tools, "conversations": []})
        groups[-1]["conversations"].append(to_nemo_train(row)["messages"])
    return "".join(json.dumps(group, separators=(",", ":"), ensure_ascii=False) + "\n" for group in groups)


def unpack(text: str) -> list[Row]:
    """The rows that `pack` wrote."""
    groups = [json.loads(line) for line in text.splitlines()]
    return [Row(messages, group["tools"]) for group in groups for messages in group["conversations"]]
