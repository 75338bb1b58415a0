"""Which examples train, which check, which examine: examples and replay in, three files and a manifest out.

Pure and deterministic: the same input gives the same bytes. What is examined never trains, and a correction gives way to
nothing but a newer correction. Knows nothing of the store, of files on disk or of NeMo's services.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flywheel.augment import HOW, values_of, variants
from flywheel.errors import InputError
from flywheel.rows import Row, to_nemo_eval, to_nemo_train

if TYPE_CHECKING:
    from flywheel.ledger import Example

Side = Literal["train", "validation", "holdout"]
LEARNED: tuple[Side, ...] = ("train", "validation")

SIDE_WORDS = {"train": "training set", "validation": "validation set", "holdout": "holdout"}
SOURCE_WORDS = {"correction": "correction", "thumb_up": "approved answer", "import": "imported row"}

TRAINING_FILE = "training/training.jsonl"
VALIDATION_FILE = "validation/validation.jsonl"
HOLDOUT_FILE = "testing/holdout.jsonl"
HOLDOUT_SUITE = "holdout"
OLD_SKILLS_SUITE = "old_skills"
NO_TOOL = "no tool"

MAX_COPIES = 3
COPIED_ROWS = 100
"""A lone correction among hundreds of imported rows is seen once an epoch and drowned by them. It therefore comes with variants
of itself (augment.py), at most three rows in all and only while all of them together stay within a hundred: many corrections
carry themselves."""
MIN_REPLAY, MAX_REPLAY = 80, 400
MIN_VALIDATION_REPLAY = 20

T = TypeVar("T")


def decide_side(digest: bytes) -> Side:
    """Put a group on a side by its keyed digest (at least 8 uniform bytes): 70 % train, 10 % validation, 20 % holdout."""
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.7 else "validation" if share < 0.8 else "holdout"


@dataclass(frozen=True)
class Curated:
    """A dataset, ready to be uploaded.

    files: path in the Data Store repo → JSON Lines. manifest: what is in it, what is not and why. splits: example id → train,
    validation, holdout or excluded.
    """

    files: dict[str, bytes]
    manifest: dict[str, Any]
    splits: dict[str, str]


@dataclass
class _Sorted:
    """Examples by the side on which they are used, and what became of the others."""

    used: dict[Side, list[Example]] = field(default_factory=lambda: {"train": [], "validation": [], "holdout": []})
    moved: list[str] = field(default_factory=list)
    exclusions: list[dict[str, str]] = field(default_factory=list)

    def exclude(self, example_id: str, reason: str) -> None:
        self.exclusions.append({"id": example_id, "reason": reason})

    def keys(self, *sides: Side) -> set[str]:
        return {example.row.question_key for side in sides for example in self.used[side]}


def curate(examples: Sequence[Example], replay: Sequence[Row], old_skills: Sequence[Row], *, run_id: str) -> Curated:
    """Make the dataset of a run.

    replay: rows that the base model learned from, mixed in so that old skills stay. old_skills: rows that examine them.
    Raises InputError if no example is left to train on.
    """
    parts = _sort(examples, old_skills)
    if not parts.used["train"]:
        raise InputError(_nothing_to_train(examples, parts))
    corrected = {example.row.question_key for side in LEARNED for example in parts.used[side] if example.source == "correction"}
    exam = _unique(row for row in old_skills if row.question_key not in corrected)
    copies = _copies(parts.used["train"])
    examined_keys = parts.keys("validation", "holdout") | {row.question_key for row in old_skills}
    varied = _variants(parts.used["train"], copies - 1, examined_keys)
    training = [example.row for example in parts.used["train"]] + [row for rows in varied.values() for row in rows]
    asked_elsewhere = parts.keys("train", "validation", "holdout") | {row.question_key for row in old_skills}
    pool = _shuffled((row for row in _unique(replay) if row.question_key not in asked_elsewhere), run_id)
    replayed, checking = _share_replay(pool, len(training), len(parts.used["validation"]))
    examined = [_exam_row(example.row, HOLDOUT_SUITE, example.id) for example in parts.used["holdout"]]
    files = {
        TRAINING_FILE: _json_lines(to_nemo_train(row) for row in _shuffled([*training, *replayed], f"{run_id} mixed")),
        VALIDATION_FILE: _json_lines(to_nemo_train(row) for row in [*(e.row for e in parts.used["validation"]), *checking]),
        HOLDOUT_FILE: _json_lines([*examined, *(_exam_row(row, OLD_SKILLS_SUITE, row.digest) for row in exam)]),
    }
    manifest = {
        "run": run_id,
        "digest": digest_of(files),
        "files": {path: {"rows": content.count(b"\n"), "sha256": _sha256(content)} for path, content in files.items()},
        "weights": {"correction": copies, "thumb_up": 1, "import": 1, "replay": 1},
        "augmentation": {"rows": sum(map(len, varied.values())), "of": len(varied), "how": HOW if varied else []},
        "variants": {example_id: [line_digest(to_nemo_train(row)) for row in rows] for example_id, rows in varied.items()},
        "replay_share": round(len(replayed) / (len(training) + len(replayed)), 4),
    }
    splits: dict[str, str] = {example.id: side for side, used in parts.used.items() for example in used}
    splits |= {exclusion["id"]: "excluded" for exclusion in parts.exclusions}
    return Curated(files, manifest | _findings(parts, replayed, checking, exam), splits)


def digest_of(files: dict[str, bytes]) -> str:
    """SHA-256 (hex) over the paths and contents of a dataset's files."""
    return _sha256("".join(f"{path} {_sha256(content)}\n" for path, content in sorted(files.items())).encode())


# sides and duplicates ------------------------------------------------------------------------------------------------


def _sort(examples: Sequence[Example], old_skills: Sequence[Row]) -> _Sorted:
    """Give every example its place: one side for each question, one answer for each question with the same tools."""
    parts = _Sorted()
    examined = {row.question_key for row in old_skills}
    by_question: dict[str, list[Example]] = defaultdict(list)
    for example in sorted(examples, key=lambda example: (example.created_at, example.id)):
        by_question[example.row.question_key].append(example)
    for key, asked in by_question.items():
        side = _one_side(asked)
        for example in _settled(asked, side, parts):
            if key in examined and side != "holdout" and example.source != "correction":
                parts.exclude(example.id, "the same question examines the old skills, and what is examined never trains")
            else:
                parts.used[side].append(example)
    return parts


def _authority(example: Example) -> tuple[bool, str, str]:
    """Which of several answers to one question stands: a correction before all others, then the newest."""
    return example.source == "correction", example.created_at, example.id


def _one_side(asked: list[Example]) -> Side:
    """The side of a question that came up several times: the holdout wherever it is in it, else that of the best authority."""
    return "holdout" if any(example.side == "holdout" for example in asked) else max(asked, key=_authority).side


def _settled(asked: list[Example], side: Side, parts: _Sorted) -> Iterable[Example]:
    """The examples of one question that stay; the others are excluded with their reason."""
    standing: dict[str, Example] = {}
    for example in sorted(asked, key=_authority, reverse=True):
        corrects_exam = side == "holdout" and example.source == "correction"
        if example.side != side and not corrects_exam:
            newer = "a newer correction of " if example.source == "correction" else ""
            parts.exclude(example.id, f"{newer}the same question stands in the {SIDE_WORDS[side]}")
            continue
        best = standing.setdefault(_situation(example.row), example)
        if best is not example:
            stands = f"the {SOURCE_WORDS[best.source]} {best.id!r} stands for it"
            parts.exclude(example.id, f"the same question with the same tools; {stands}")
        elif example.side != side:
            parts.moved.append(example.id)
    return standing.values()


def _situation(row: Row) -> str:
    """What two rows share that put the same question, after the same conversation, with the same tools on offer."""
    asked_at = max((index for index, message in enumerate(row.messages[:-1]) if message.get("role") == "user"), default=0)
    tools = sorted(json.dumps(tool, sort_keys=True) for tool in row.tools)
    around = [row.messages[:asked_at], row.messages[asked_at + 1 : -1], tools]
    return f"{row.question_key} {json.dumps(around, sort_keys=True)}"


def _nothing_to_train(examples: Sequence[Example], parts: _Sorted) -> str:
    if not examples:
        return "there is nothing to train on; approve corrections in the review tab or import examples first"
    sides = Counter(example.side for example in examples)
    return (
        f"none of the {len(examples)} examples can train: {sides['holdout']} examine, {sides['validation']} check, "
        f"{len(parts.exclusions)} are left out as duplicates; approve or import some more"
    )


# replay and weights --------------------------------------------------------------------------------------------------


def _copies(train: Sequence[Example]) -> int:
    corrections = sum(example.source == "correction" for example in train)
    return max(1, min(MAX_COPIES, COPIED_ROWS // max(corrections, 1)))


def _variants(train: Sequence[Example], count: int, examined: set[str]) -> dict[str, list[Row]]:
    """Example id → the further rows that a correction trains as: variants, or the row itself where nothing can be varied.

    None asks what is examined or checked, and none puts one person's words into another's: values come from imported rows and
    from their own.
    """
    found: dict[str, list[Row]] = {}
    corrections = [example for example in train if example.source == "correction"] if count else []
    known = {
        person: values_of(example.row for example in train if example.person in (None, person))
        for person in {example.person for example in corrections}
    }
    for example in corrections:
        made = variants(example.row, 2 * count, known[example.person], seed=example.id)
        fit = [row for row in made if row.question_key not in examined][:count]
        found[example.id] = fit + [example.row] * (count - len(fit))
    return found


def _share_replay(pool: list[Row], training: int, validation: int) -> tuple[list[Row], list[Row]]:
    """(replay that trains, replay that checks): as many as there are other training rows; at most a tenth of all checks."""
    pool = _with_refusals(pool)
    checks = min(max(MIN_VALIDATION_REPLAY, validation), -(-len(pool) // 10) if len(pool) > 1 else 0)
    checking = pool[:checks]
    checked = {row.question_key for row in checking}
    training_replay = [row for row in pool[checks:] if row.question_key not in checked]
    return training_replay[: min(max(MIN_REPLAY, training), MAX_REPLAY)], checking


def _with_refusals(pool: list[Row]) -> list[Row]:
    """The pool in an order in which every third row, while there are any, is a question that no tool fits.

    Corrections and imports are mostly calls: a model that sees little else forgets to say no, which is the first thing that goes.
    """
    refusals = [row for row in pool if not row.calls and row.messages[-2].get("role") == "user"]
    others = [row for row in pool if row.calls or row.messages[-2].get("role") != "user"]
    mixed: list[Row] = []
    while refusals and len(others) > 1:
        mixed += [refusals.pop(0), others.pop(0), others.pop(0)]
    return mixed + refusals + others


def _shuffled(items: Iterable[T], seed: str) -> list[T]:
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    return shuffled


def _unique(rows: Iterable[Row]) -> list[Row]:
    return list({row.digest: row for row in rows}.values())


# files and manifest --------------------------------------------------------------------------------------------------


def expected_tool(row: Row) -> str:
    """The names of the tools that the answer calls, joined, or "no tool"."""
    return ", ".join(sorted(call.name for call in row.calls)) or NO_TOOL


def _exam_row(row: Row, suite: str, key: str) -> dict[str, Any]:
    return to_nemo_eval(row) | {"suite": suite, "tool": expected_tool(row), "key": key}


def line_digest(row: dict[str, Any]) -> str:
    """SHA-256 (hex) of a row in a data set's file, whatever the order of its keys."""
    return _sha256(json.dumps(row, sort_keys=True).encode("ascii"))


def _json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """ASCII only, since some readers of JSON Lines also end a line at Unicode's other separators."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _findings(parts: _Sorted, replayed: Sequence[Row], checking: Sequence[Row], exam: Sequence[Row]) -> dict[str, Any]:
    """The manifest's part that is for people: counts (distinct rows; tools without replay), exclusions, overlap, missing."""
    beside: dict[Side, Sequence[Row]] = {"train": replayed, "validation": checking, "holdout": []}
    by_source = {side: Counter(example.source for example in used) for side, used in parts.used.items()}
    by_tool = {side: Counter(expected_tool(example.row) for example in used) for side, used in parts.used.items()}
    overlaps = _overlaps(parts, replayed, checking, exam)
    splits = {side: len(parts.used[side]) + len(rows) for side, rows in beside.items()} | {"old_skills": len(exam)}
    return {
        "splits": splits,
        "counts": {
            "split": splits,
            "source": {side: dict(sorted(by_source[side].items())) | {"replay": len(rows)} for side, rows in beside.items()},
            "tool": {side: dict(sorted(tools.items())) for side, tools in by_tool.items()},
        },
        "old_skills": len(exam),
        "moved_to_holdout": parts.moved,
        "exclusions": parts.exclusions,
        "overlap": sum(overlaps.values()),
        "overlaps": overlaps,
        "missing": _missing(parts, checking, exam),
    }


def _overlaps(parts: _Sorted, replayed: Sequence[Row], checking: Sequence[Row], exam: Sequence[Row]) -> dict[str, int]:
    """How many questions stand on two sides; every number must be 0."""
    trains = parts.keys("train") | {row.question_key for row in replayed}
    checks = parts.keys("validation") | {row.question_key for row in checking}
    return {
        "training and holdout": len((trains | checks) & parts.keys("holdout")),
        "training and old skills": len((trains | checks) & {row.question_key for row in exam}),
        "training and validation": len(trains & checks),
    }


def _missing(parts: _Sorted, checking: Sequence[Row], exam: Sequence[Row]) -> list[str]:
    """What a developer should know is not there, each with what to do."""
    missing = []
    if not parts.used["holdout"]:
        missing.append("the holdout has 0 rows, so the gate cannot decide: import examples or approve more")
    unexamined = {expected_tool(e.row) for e in parts.used["train"]} - {expected_tool(e.row) for e in parts.used["holdout"]}
    if unexamined and parts.used["holdout"]:
        missing.append(f"trained, but not in the holdout: {', '.join(sorted(unexamined))[:300]}; import more examples of them")
    if not exam:
        missing.append("no rows examine the old skills, so forgetting would go unnoticed")
    if not parts.used["validation"]:
        reason = "holds replay only, so its loss says nothing about the new examples" if checking else "has 0 rows"
        missing.append(f"validation {reason}: import examples or approve more")
    return missing
