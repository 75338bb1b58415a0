"""Which examples train, which check, which examine: examples and replay in, three files and a manifest out.

Pure and deterministic: the same input gives the same bytes. What is examined never trains, and a correction gives way to
nothing but a newer correction, or to what one person may be at most. Knows nothing of the store, of files on disk or of NeMo's
services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flywheel.augment import HOW
from flywheel.caps import Caps, excess
from flywheel.errors import InputError
from flywheel.manifest import (
    HOLDOUT_FILE,
    HOLDOUT_SUITE,
    OLD_SKILLS_SOURCE,
    OLD_SKILLS_SUITE,
    REPLAY_SOURCE,
    TRAINING_FILE,
    VALIDATION_FILE,
    Line,
    Material,
    digest_of,
    exam_line,
    files_said,
    findings,
    line_digest,
    written,
)  # fmt: skip
from flywheel.near_duplicates import NearTexts
from flywheel.pii import mask
from flywheel.replay import copies, replay_beside, seed_of, share_replay, shuffled, unique, varied
from flywheel.rows import Row, check_row, to_nemo_train
from flywheel.sides import LEARNED, Placed, Side, expected_tool, place

if TYPE_CHECKING:
    from flywheel.ledger import Example

__all__ = [
    "HOLDOUT_FILE", "HOLDOUT_SUITE", "LEARNED", "OLD_SKILLS_SUITE", "TRAINING_FILE", "VALIDATION_FILE", "Curated", "Side",
    "curate", "digest_of", "expected_tool", "line_digest",
]  # fmt: skip


@dataclass(frozen=True)
class Curated:
    """A dataset, ready to be uploaded.

    files: path in the Data Store repo → JSON Lines. manifest: what is in it, what is not and why. splits: example id → train,
    validation, holdout or excluded.
    """

    files: dict[str, bytes]
    manifest: dict[str, Any]
    splits: dict[str, str]


def curate(
    examples: Sequence[Example], replay: Sequence[Row], old_skills: Sequence[Row], *, run_id: str, caps: Caps | None = None
) -> Curated:
    """Make the dataset of a run.

    replay: rows that the base model learned from, mixed in so that old skills stay. old_skills: rows that examine them. caps:
    what one person may be of it at most. The same rows make the same files, whatever the run and the ids: nobody can ask
    again until chance passes the gate. Raises InputError if no example is left to train on.
    """
    unmasked = {example.id for example in examples if example.masked is None}
    sound, unfit = _without_identifiers(examples)
    placed = place(sound, old_skills)
    for example_id in unfit:
        placed.exclude(example_id, "an identifier in it must be masked, and what stands for it does not fit the tool's schema")
    times = copies(placed.used["train"])
    _cap(placed, caps or Caps(), times, len(replay))
    if not placed.used["train"]:
        raise InputError(_nothing_to_train(examples, placed))
    for used in placed.used.values():
        used.sort(key=lambda example: example.row.digest)
    seed = seed_of(placed.used["train"])
    examined = _texts([*placed.questions("validation", "holdout"), *(row.question for row in old_skills)])
    further = varied(placed.used["train"], times - 1, examined, seed)
    training = [Line(example.id, to_nemo_train(example.row)) for example in placed.used["train"]]
    training += [Line(f"variant of {name}", to_nemo_train(row)) for name, rows in further.items() for row in rows]
    rows = [*(example.row for example in placed.used["train"]), *(row for made in further.values() for row in made)]
    taught = {row.question_key for row in rows}
    fit = [row for row in unique(replay) if row.question_key not in taught and next(examined.near(row.question), None) is None]
    replayed, checking = share_replay(shuffled(fit, seed), len(rows), len(placed.used["validation"]))
    material = Material(rows, replayed, checking, _exam(placed, old_skills))
    lines = _lines(placed, training, material, seed)
    files = {path: written(content) for path, content in lines.items()}
    manifest = {
        "run": run_id,
        "digest": digest_of(files),
        "files": files_said(files),
        "sources": {path: [line.source for line in content] for path, content in lines.items()},
        "weights": {"correction": times, "thumb_up": 1, "import": 1, "replay": 1},
        "augmentation": {"rows": sum(map(len, further.values())), "of": len(further), "how": HOW if further else []},
        "variants": _line_digests(placed, further, unmasked),
        "replay_share": round(len(replayed) / (len(training) + len(replayed)), 4),
    }
    return Curated(files, manifest | findings(placed, material), _splits(placed))


def _splits(placed: Placed) -> dict[str, str]:
    splits: dict[str, str] = {example.id: side for side, used in placed.used.items() for example in used}
    return splits | {exclusion["id"]: "excluded" for exclusion in placed.exclusions}


def _without_identifiers(examples: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """(examples that can train, ids of those that cannot): rows of before masking on write are masked here."""
    sound: list[Example] = []
    unfit: list[str] = []
    for example in examples:
        if example.masked is not None:
            sound.append(example)
            continue
        masked = mask(example.row)
        if masked.counts and check_row(masked.row):
            unfit.append(example.id)
        else:
            sound.append(replace(example, row=masked.row, masked=masked.counts))
    return sound, unfit


def _cap(placed: Placed, caps: Caps, times: int, pool: int) -> None:
    """Leave out what is over one person's share, of what trains and of what examines: hostile rows can do harm in either."""
    for side, used in placed.used.items():
        trains = side == "train"
        beside = (lambda rows: replay_beside(rows, pool)) if trains else (lambda rows: 0)
        found = excess(used, caps, weight=times if trains else 1, beside=beside, newest=trains)
        if found is not None:
            placed.leave_out(side, found.reasons)


def _exam(placed: Placed, old_skills: Sequence[Row]) -> list[Row]:
    """The old skills without what was corrected meanwhile."""
    corrected = _texts([e.row.question for side in LEARNED for e in placed.used[side] if e.source == "correction"])
    return unique(row for row in old_skills if next(corrected.near(row.question), None) is None)


def _texts(questions: Sequence[str]) -> NearTexts:
    index = NearTexts()
    for question in questions:
        index.add("", question)
    return index


def _lines(placed: Placed, training: list[Line], material: Material, seed: str) -> dict[str, list[Line]]:
    """Each file's lines in order."""
    replayed, checking = (
        [Line(REPLAY_SOURCE, to_nemo_train(row)) for row in rows] for rows in (material.replayed, material.checking)
    )
    checked = [Line(example.id, to_nemo_train(example.row)) for example in placed.used["validation"]]
    examined = [exam_line(example.row, HOLDOUT_SUITE, example.id, example.id) for example in placed.used["holdout"]]
    old = [exam_line(row, OLD_SKILLS_SUITE, row.digest, OLD_SKILLS_SOURCE) for row in material.exam]
    return {
        TRAINING_FILE: shuffled([*training, *replayed], f"{seed} mixed"),
        VALIDATION_FILE: [*checked, *checking],
        HOLDOUT_FILE: [*examined, *old],
    }


def _line_digests(placed: Placed, further: dict[str, list[Row]], unmasked: set[str]) -> dict[str, list[str]]:
    """Example id → digests of the lines that the stored row does not give: its variants, and itself where it was masked here."""
    found = {name: [line_digest(to_nemo_train(row)) for row in rows] for name, rows in further.items()}
    for side in LEARNED:
        for example in placed.used[side]:
            if example.id in unmasked and example.masked:
                found[example.id] = [*found.get(example.id, []), line_digest(to_nemo_train(example.row))]
    return found


def _nothing_to_train(examples: Sequence[Example], placed: Placed) -> str:
    if not examples:
        return "there is nothing to train on; approve corrections in the review tab or import examples first"
    sides = Counter(example.side for example in examples)
    held = sum(example.held is not None for example in examples)
    quarantined = f", {held} are in quarantine (`flywheel quarantine list`)" if held else ""
    return (
        f"none of the {len(examples)} examples can train: {sides['holdout']} examine, {sides['validation']} check, "
        f"{len(placed.exclusions) - held} are left out{quarantined}; approve or import some more"
    )
