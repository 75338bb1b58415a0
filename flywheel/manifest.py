"""A dataset's files and what is said of them: every row's source, every exclusion with its reason, counts, overlap, what lacks.

Pure. Says what was decided; decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.near_duplicates import NearTexts
from flywheel.rows import Row, to_nemo_eval
from flywheel.sides import SIDES, Placed, Side, expected_tool, stratum

TRAINING_FILE = "training/training.jsonl"
VALIDATION_FILE = "validation/validation.jsonl"
HOLDOUT_FILE = "testing/holdout.jsonl"
HOLDOUT_SUITE = "holdout"
OLD_SKILLS_SUITE = "old_skills"

REPLAY_SOURCE, OLD_SKILLS_SOURCE = "replay", "old skills"
SHARES = {"train": 0.7, "validation": 0.1, "holdout": 0.2}
BALANCED_ROWS = 10
"""A kind of row with fewer is not expected to be spread over the sides."""


@dataclass(frozen=True)
class Line:
    """One line of a file. source: an example's id, "variant of" one, "replay" or "old skills"."""

    source: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What a dataset was made of, beside its examples: replay that trains, replay that checks, old skills that examine."""

    training: Sequence[Row]
    replayed: Sequence[Row]
    checking: Sequence[Row]
    exam: Sequence[Row]


def exam_line(row: Row, suite: str, key: str, source: str) -> Line:
    """A line that examines. key: what its score is found by."""
    return Line(source, to_nemo_eval(row) | {"suite": suite, "tool": expected_tool(row), "key": key})


def written(lines: Iterable[Line]) -> bytes:
    """JSON Lines, ASCII only, since some readers of them also end a line at Unicode's other separators."""
    return "".join(json.dumps(line.record) + "\n" for line in lines).encode("ascii")


def digest_of(files: dict[str, bytes]) -> str:
    """SHA-256 (hex) over the paths and contents of a dataset's files."""
    return _sha256("".join(f"{path} {_sha256(content)}\n" for path, content in sorted(files.items())).encode())


def line_digest(row: dict[str, Any]) -> str:
    """SHA-256 (hex) of a row in a data set's file, whatever the order of its keys."""
    return _sha256(json.dumps(row, sort_keys=True).encode("ascii"))


def files_said(files: dict[str, bytes]) -> dict[str, Any]:
    """Rows and SHA-256 (hex) of each file."""
    return {path: {"rows": content.count(b"\n"), "sha256": _sha256(content)} for path, content in files.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def findings(placed: Placed, material: Material) -> dict[str, Any]:
    """The manifest's part that is for people (counts: distinct rows; tools without replay)."""
    beside: dict[Side, Sequence[Row]] = {"train": material.replayed, "validation": material.checking, "holdout": []}
    by_source = {side: Counter(example.source for example in used) for side, used in placed.used.items()}
    by_tool = {side: Counter(expected_tool(example.row) for example in used) for side, used in placed.used.items()}
    overlaps = _overlaps(placed, material)
    splits = {side: len(placed.used[side]) + len(rows) for side, rows in beside.items()} | {"old_skills": len(material.exam)}
    masked = sum((Counter(example.masked) for used in placed.used.values() for example in used), Counter[str]())
    unbalanced = _unbalanced(placed)
    return {
        "splits": splits,
        "counts": {
            "split": splits,
            "source": {side: dict(sorted(by_source[side].items())) | {"replay": len(rows)} for side, rows in beside.items()},
            "tool": {side: dict(sorted(tools.items())) for side, tools in by_tool.items()},
        },
        "old_skills": len(material.exam),
        "moved_to_holdout": placed.moved,
        "followed_older": placed.followed,
        "exclusions": placed.exclusions,
        "quarantined": sum(one["reason"].startswith("quarantined") for one in placed.exclusions),
        "masked": dict(sorted(masked.items())),
        "overlap": sum(overlaps.values()),
        "overlaps": overlaps,
        "unbalanced": unbalanced,
        "missing": _missing(placed, material) + _said_of_balance(unbalanced),
    }


def _overlaps(placed: Placed, material: Material) -> dict[str, int]:
    """How many questions stand on two sides; every number must be 0."""
    trains = {row.question_key for row in (*material.training, *material.replayed)}
    checks = placed.keys("validation") | {row.question_key for row in material.checking}
    learned = NearTexts()
    for row in (*material.training, *material.replayed, *material.checking, *(e.row for e in placed.used["validation"])):
        learned.add("", row.question)
    near = (next(learned.near(question), None) for question in placed.questions("holdout"))
    return {
        "training and holdout": len((trains | checks) & placed.keys("holdout")),
        "nearly the same in training and holdout": sum(found is not None for found in near),
        "training and old skills": len((trains | checks) & {row.question_key for row in material.exam}),
        "training and validation": len(trains & checks),
    }


def _unbalanced(placed: Placed) -> dict[str, dict[str, int]]:
    """Kinds of rows, with at least ten, of which the holdout has under half or over twice its share: kind → side → rows."""
    counts = {side: Counter(stratum(example.row) for example in used) for side, used in placed.used.items()}
    found = {}
    for kind in sorted(set().union(*counts.values())):
        rows: dict[str, int] = {side: counts[side][kind] for side in SIDES}
        share = rows["holdout"] / sum(rows.values())
        if sum(rows.values()) >= BALANCED_ROWS and not SHARES["holdout"] / 2 <= share <= SHARES["holdout"] * 2:
            found[kind] = rows
    return found


def _said_of_balance(unbalanced: dict[str, dict[str, int]]) -> list[str]:
    if not unbalanced:
        return []
    kinds = ", ".join(f"{kind} {rows['holdout']} of {sum(rows.values())}" for kind, rows in unbalanced.items())
    return [f"not balanced, since what is nearly the same stays together; examined are: {kinds[:300]}"]


def _missing(placed: Placed, material: Material) -> list[str]:
    """What a developer should know is not there, each with what to do."""
    missing = []
    if not placed.used["holdout"]:
        missing.append("the holdout has 0 rows, so the gate cannot decide: import examples or approve more")
    trained, examined = ({expected_tool(example.row) for example in placed.used[side]} for side in ("train", "holdout"))
    if trained - examined and placed.used["holdout"]:
        unexamined = ", ".join(sorted(trained - examined))[:300]
        missing.append(f"trained, but not in the holdout: {unexamined}; import more examples of them")
    if not material.exam:
        missing.append("no rows examine the old skills, so forgetting would go unnoticed")
    if not placed.used["validation"]:
        replayed = "holds replay only, so its loss says nothing about the new examples"
        missing.append(f"validation {replayed if material.checking else 'has 0 rows'}: import examples or approve more")
    return missing
