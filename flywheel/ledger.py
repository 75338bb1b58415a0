"""Examples and where they came from: approved rows, imports, sides, datasets; lineage in both directions.

Identifiers of people are masked before a row is stored here. Which side a row is on, `groups` knows; knows nothing of HTTP or
training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from flywheel.database import Database, dump, new_id, now
from flywheel.database import Row as Record
from flywheel.errors import InputError, NotFound
from flywheel.groups import Groups
from flywheel.pii import KIND_WORDS, Masked, mask
from flywheel.rows import Row, check_row
from flywheel.sides import Side

Source = Literal["correction", "thumb_up", "import"]


@dataclass(frozen=True)
class Example:
    """A row that a reviewer approved or a developer imported, with its origin.

    masked: how many identifiers of each kind stand masked in it; None for a row of before they were. held: why it is in
    quarantine; None if it is not, or was released.
    """

    id: str
    row: Row
    source: Source
    group_id: str
    side: Side
    turn_id: str | None
    person: str | None
    reviewer: str | None
    import_id: str | None
    line: int | None
    created_at: str
    masked: dict[str, int] | None = None
    held: str | None = None


@dataclass(frozen=True)
class ImportReport:
    """What became of a file: rows taken in, rows known already, problems (`line`, `reason`), identifiers masked."""

    id: str
    filename: str
    accepted: int
    known: int
    problems: list[dict[str, Any]]
    masked: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveCorrection:
    """A turn that a person complained about, and the served model that learned from its correction."""

    turn_id: str
    conversation_id: str
    question: str
    rated_at: str
    model: str
    since: str


SOURCES: tuple[Source, ...] = ("import", "thumb_up", "correction")
"""From the least to the most that an origin says."""

STANDING_REVIEWS = (
    "SELECT * FROM reviews r WHERE verdict = 'approved' AND id = (SELECT max(id) FROM reviews n WHERE n.turn_id = r.turn_id)"
)
SELECT_EXAMPLES = "SELECT e.*, g.side FROM examples e JOIN groups g ON g.id = e.group_id WHERE e.superseded_by IS NULL"


def _example(record: Record) -> Example:
    row = Row(messages=json.loads(record["messages"]), tools=json.loads(record["tools"]))
    names = ("id", "source", "group_id", "side", "turn_id", "person", "reviewer", "import_id", "line", "created_at")
    masked = None if record["masked"] is None else json.loads(record["masked"])
    held = None if record["released"] else record["held"]
    return Example(row=row, masked=masked, held=held, **{name: record[name] for name in names})


def _masked(row: Row) -> Masked:
    """The row as it may train. Raises InputError if it does not fit its tools' schemas any more."""
    masked = mask(row)
    problems = check_row(masked.row) if masked.counts else []
    if problems:
        kinds = ", ".join(KIND_WORDS[kind] for kind in masked.counts)
        raise InputError(f"{kinds} must be masked before training, and then the row does not fit: {'; '.join(problems)}")
    return masked


class Ledger:
    """The trainable side of the database; shares the store's file and connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._groups = Groups(database)

    # examples --------------------------------------------------------------------------------------------------------

    def add_approved(self, row: Row, source: Source, *, turn_id: str, conversation_id: str, person: str, reviewer: str) -> str:
        """Store a reviewed turn as an example; a newer one of the same turn takes the older one's place. Returns its id.

        A row that is there already stands for this turn too; it changes its origin only if the new one says more. Raises
        InputError if identifiers in it must be masked and what stands for them does not fit the tool's schema.
        """
        origin = {"source": source, "turn_id": turn_id, "person": person, "reviewer": reviewer, "superseded_by": None}
        row, masked = _masked(row)
        with self._database.transaction():
            self._groups.refresh()
            self._groups.ensure(conversation_id, row, corrected=source == "correction")
            found = self._database.first("SELECT id, source, superseded_by FROM examples WHERE digest = ?", (row.digest,))
            example_id = found["id"] if found else new_id("example")
            self._release(turn_id, example_id)
            if found is None:
                self._insert(example_id, row, conversation_id, origin | {"masked": dump(masked)})
            elif found["superseded_by"] is not None or SOURCES.index(source) > SOURCES.index(found["source"]):
                self._database.update("examples", example_id, origin | {"created_at": now()})
        return example_id

    def withdraw(self, turn_id: str) -> None:
        """Take back the example of a turn whose approval a reviewer undid; datasets made earlier keep their record."""
        with self._database.transaction():
            self._release(turn_id, "withdrawn")

    def _release(self, turn_id: str, instead: str) -> None:
        """Let no other example than `instead` stand for the turn; one that another turn was approved for goes over to that."""
        own = "SELECT id FROM examples WHERE turn_id = ? AND id != ? AND superseded_by IS NULL"
        for example in self._database.query(own, (turn_id, instead)):
            heir = self._database.first(
                "SELECT v.turn_id, t.person, v.reviewer, v.response_override IS NULL AS as_it_was"
                f" FROM ({STANDING_REVIEWS}) v JOIN turns t ON t.id = v.turn_id"
                " WHERE v.example_id = ? AND v.turn_id != ? ORDER BY v.response_override IS NULL, v.id LIMIT 1",
                (example["id"], turn_id),
            )
            if heir is None:
                self._database.update("examples", example["id"], {"superseded_by": instead})
            else:
                source = "thumb_up" if heir.pop("as_it_was") else "correction"
                self._database.update("examples", example["id"], heir | {"source": source})

    def add_import(
        self, filename: str, sha256: str, rows: Iterable[tuple[int, Row]], problems: list[dict[str, Any]], person: str
    ) -> ImportReport:
        """Store a file's rows in one transaction; rows known already are counted, not doubled."""
        import_id, accepted, known, problems = new_id("import"), 0, 0, [*problems]
        hidden: Counter[str] = Counter()
        with self._database.transaction():
            self._groups.refresh()
            for line, read in rows:
                try:
                    row, masked = _masked(read)
                except InputError as error:
                    problems.append({"line": line, "reason": str(error)})
                    continue
                if self._database.first("SELECT 1 FROM examples WHERE digest = ?", (row.digest,)):
                    known += 1
                    continue
                origin = {"source": "import", "import_id": import_id, "line": line, "person": person, "masked": dump(masked)}
                self._groups.ensure(f"question-{row.question_key}", row, corrected=False)
                self._insert(new_id("example"), row, f"question-{row.question_key}", origin)
                hidden.update(masked)
                accepted += 1
            report = ImportReport(import_id, filename, accepted, known, problems, dict(hidden))
            record = {"id": import_id, "filename": filename, "accepted": accepted, "known": known, "problems": dump(problems)}
            self._database.insert("imports", record | {"sha256": sha256, "person": person, "created_at": now()})
        return report

    def _insert(self, example_id: str, row: Row, group_id: str, origin: Record) -> None:
        record = {
            "id": example_id,
            "digest": row.digest,
            "question_key": row.question_key,
            "group_id": group_id,
            "created_at": now(),
        }
        self._database.insert("examples", record | {"messages": dump(row.messages), "tools": dump(row.tools)} | origin)
        self._groups.note(example_id, row)

    def examples(self) -> list[Example]:
        """All standing examples, oldest first."""
        return [_example(record) for record in self._database.query(SELECT_EXAMPLES + " ORDER BY e.created_at, e.id")]

    def example(self, example_id: str) -> Example:
        """One standing example. Raises NotFound."""
        record = self._database.first(SELECT_EXAMPLES + " AND e.id = ?", (example_id,))
        if record is None:
            raise NotFound(f"no example {example_id!r}")
        return _example(record)

    def counts(self) -> dict[str, int]:
        """Number of standing examples by source, and under "new" those that no dataset holds yet and no quarantine."""
        sql = "SELECT source, count(*) AS n FROM examples WHERE superseded_by IS NULL GROUP BY source"
        counts = {record["source"]: record["n"] for record in self._database.query(sql)}
        unused = self._database.first(
            "SELECT count(*) AS n FROM examples e WHERE superseded_by IS NULL AND (held IS NULL OR released) AND NOT EXISTS"
            " (SELECT 1 FROM dataset_examples d WHERE d.example_id = e.id AND NOT (e.released AND d.split = 'excluded'))"
        )
        return {"correction": 0, "thumb_up": 0, "import": 0} | counts | {"new": unused["n"] if unused else 0}

    # datasets --------------------------------------------------------------------------------------------------------

    def save_dataset(
        self, dataset_id: str, digest: str, manifest: dict[str, Any], splits: dict[str, str], *, run_id: str | None = None
    ) -> None:
        """Record a dataset and which example went into which split. Saving it again changes nothing.

        run_id: whose it is, where the dataset does not bear the run's own id.
        """
        with self._database.transaction():
            record = {"id": dataset_id, "digest": digest, "manifest": dump(manifest), "created_at": now()}
            self._database.insert("datasets", record | {"run_id": run_id or dataset_id}, ignore=True)
            rows = [{"dataset_id": dataset_id, "example_id": example, "split": split} for example, split in splits.items()]
            self._database.insert_many("dataset_examples", rows, ignore=True)

    def dataset(self, dataset_id: str) -> dict[str, Any] | None:
        """A dataset's manifest, with its digest; None if the run made none yet."""
        record = self._database.first("SELECT * FROM datasets WHERE id = ?", (dataset_id,))
        return None if record is None else json.loads(record["manifest"]) | {"digest": record["digest"]}

    def dataset_examples(self, dataset_id: str, split: str = "train", limit: int = 200) -> list[Example]:
        """The examples that a run's dataset holds in a split, corrections first."""
        sql = (
            "SELECT e.*, g.side FROM examples e JOIN groups g ON g.id = e.group_id JOIN dataset_examples d ON d.example_id = e.id"
            " WHERE d.dataset_id = ? AND d.split = ? ORDER BY e.source != 'correction', e.created_at LIMIT ?"
        )
        return [_example(record) for record in self._database.query(sql, (dataset_id, split, limit))]

    # lineage ---------------------------------------------------------------------------------------------------------

    def live_corrections(self, person: str) -> list[LiveCorrection]:
        """Turns of theirs that they rated down and whose correction trained the model that serves now, newest rating first."""
        sql = f"""
            WITH taught AS (
                SELECT id AS example_id, turn_id FROM examples WHERE source = 'correction'
                UNION SELECT example_id, turn_id FROM ({STANDING_REVIEWS}) WHERE response_override IS NOT NULL
            )
            SELECT t.id AS turn_id, t.conversation_id, t.question, r.updated_at AS rated_at, s.model, s.since
            FROM served s JOIN models m ON m.id = s.model
            JOIN dataset_examples d ON d.dataset_id = m.dataset_id AND d.split = 'train'
            JOIN taught ON taught.example_id = d.example_id JOIN turns t ON t.id = taught.turn_id
            JOIN ratings r ON r.turn_id = t.id AND r.person = t.person AND r.thumb = 'down'
            JOIN conversations c ON c.id = t.conversation_id AND c.deleted_at IS NULL
            WHERE t.person = ? ORDER BY r.updated_at DESC
        """
        return [LiveCorrection(**record) for record in self._database.query(sql, (person,))]
