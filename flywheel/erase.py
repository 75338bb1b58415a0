"""Takes a person out of everything that is kept, and leaves a tombstone that says so without naming them.

What they asked and what came of it goes: conversations, turns, calls, ratings, reviews of their turns, the examples made of them.
Where they acted for others (reviewed, imported, promoted), the act stays and their name goes. Models that learned from their
rows are marked, and taken down where the policy says so; else that is a developer's decision. Knows the store; `traces` knows the
files beside it.

Files go first, the database last: the database alone says what to look for in the files. Whatever is killed in between, erasing
again finds the rest. The app may go on meanwhile, as the file is rebuilt beside open connections; a turn of theirs that is being
answered cannot be saved any more, since what it belongs to is gone.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from flywheel.curate import LEARNED
from flywheel.database import Database, dump, now
from flywheel.errors import Conflict, PlatformError
from flywheel.history import RunRecords
from flywheel.intake import nobody_else
from flywheel.intake_client import IntakeClient
from flywheel.ledger import STANDING_REVIEWS, Ledger
from flywheel.promote import Registry
from flywheel.rows import Row
from flywheel.settings import Settings
from flywheel.store import Store
from flywheel.traces import Traces, Wanted

CONVERSATIONS = "SELECT id FROM conversations WHERE person = ?1"
TURNS = f"SELECT id FROM turns WHERE person = ?1 OR conversation_id IN ({CONVERSATIONS})"
OWNED = {
    "ratings": f"person = ?1 OR turn_id IN ({TURNS})",
    "proposals": f"person = ?1 OR turn_id IN ({TURNS})",
    "intake_entries": f"turn_id IN ({TURNS})",
    "reviews": f"turn_id IN ({TURNS})",
    "tool_calls": f"turn_id IN ({TURNS})",
    "turns": f"id IN ({TURNS})",
    "conversations": f"id IN ({CONVERSATIONS})",
    "sessions": "person = ?1",
    "people": "name = ?1",
    "looks": "person = ?1",
}
"""Table → which rows are theirs, in an order in which they can be deleted."""
NAMED = (
    ("reviews", "reviewer"), ("examples", "person"), ("examples", "reviewer"), ("imports", "person"), ("runs", "requested_by"),
    ("promotions", "person"), ("audit", "person"), ("audit", "subject"), ("review_claims", "reviewer"),
)  # fmt: skip
"""Where a name may stand in what stays."""
TOLD = (("cancelled by ", "runs", "error"), ("rejected by ", "runs", "error"), ("rejected by ", "models", "reason"))
"""Behind which words a name stands in a sentence that stays."""
GONE = "(SELECT value FROM json_each(?1))"


@dataclass(frozen=True)
class Policy:
    """take_down: whether a model that learned from erased rows stops answering at once."""

    take_down: bool = False


@dataclass(frozen=True)
class Learner:
    """A model and how many of the rows it learned from go, or went. serves: whether it answers the chat now."""

    model: str
    rows: int
    serves: bool


@dataclass(frozen=True)
class Erasure:
    """What is there to erase, or was erased. counts: what → how many. models: those that learned from it.

    remaining: addresses of copies at services that are not ours to open; they must be deleted there. instead: the model that
    serves since, where one was taken down.
    """

    person: str
    counts: dict[str, int]
    models: list[Learner]
    remaining: list[str]
    instead: str | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing of them is stored."""
        return not any(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def joined(self, earlier: dict[str, Any]) -> Erasure:
        """Together with the report ({} or all but the person) of an erasure that was interrupted."""
        counts = {what: max(number, earlier.get("counts", {}).get(what, 0)) for what, number in self.counts.items()}
        models = {model["model"]: Learner(**model) for model in earlier.get("models", [])}
        models |= {learner.model: learner for learner in self.models}
        remaining = sorted({*self.remaining, *earlier.get("remaining", [])})
        return Erasure(self.person, counts, list(models.values()), remaining)


class Eraser:
    """Looks for a person, and takes them out. patience: seconds to wait for who is reading the store's file just then."""

    def __init__(self, settings: Settings, store: Store, *, policy: Policy = Policy(), patience: float = 10) -> None:
        self._policy = policy
        self._patience = patience
        self._settings = settings
        self._database: Database = store.database
        self._traces = Traces(settings)

    def look(self, person: str) -> Erasure:
        """What would be erased; changes nothing. Raises Conflict while a run is under way."""
        self._refuse_during_run()
        wanted = self._wanted(person)
        return self._erasure(wanted, self._stored(person, wanted) | self._traces.count(wanted))

    def erase(self, person: str) -> Erasure:
        """Erase it for good and say what it was; an erasure that was interrupted is ended, and told as a whole.

        Raises Conflict while a run is under way or feedback is being sent to Intake, StorageError where something could not be
        erased: then erase again.
        """
        found, unfinished = self.look(person), self._open_tombstone(person)
        if found.nothing and unfinished is None:
            return found
        with nobody_else(self._settings, self._patience):  # or what is deleted at Intake could be told there once more
            found = replace(found, remaining=[*found.remaining, *self._withdraw(person)])
            tombstone, told = self._write_tombstone(found, unfinished)
            self._traces.erase(self._wanted(person))
            self._database.query("PRAGMA secure_delete = ON")
            with self._database.transaction():
                self._refuse_during_run()  # one may have begun since, and copied their rows
                self._erase_records(person, self._wanted(person))
                instead = Registry(self._database).take_down() if self._policy.take_down else None
        self._database.purge(self._patience)
        self._database.update("erasures", tombstone, {"finished_at": now()})
        return replace(told, instead=instead)

    def _withdraw(self, person: str) -> list[str]:
        """Delete their entries at an Intake that is not ours to open; the addresses of those that are still there.

        What remains is tried again at every synchronisation, since the store's outbox names it.
        """
        if self._settings.local:
            return []  # lies under the state folder, and goes with the platform's copies
        told = self._database.query(f"SELECT turn_id FROM intake_entries WHERE turn_id IN ({TURNS})", (person,))
        remaining = []
        with closing(IntakeClient(self._settings)) as intake:
            for entry in told:
                try:
                    intake.delete(entry["turn_id"])
                except PlatformError:
                    remaining.append(f"{intake.url}/v1/intake/entries/external:{entry['turn_id']}")
        return remaining

    # looking ---------------------------------------------------------------------------------------------------------

    def _refuse_during_run(self) -> None:
        active = RunRecords(self._database).active()
        if active is not None:
            hint = f"wait for its end or `flywheel cancel {active.id}`, then erase"
            raise Conflict(f"the run {active.id!r} is under way and may be using their rows: {hint}")

    def _wanted(self, person: str) -> Wanted:
        turns = self._database.query(f"SELECT id, conversation_id, question, answer FROM turns WHERE id IN ({TURNS})", (person,))
        opinions = self._database.query(f"SELECT opinion FROM ratings WHERE {OWNED['ratings']}", (person,))
        rows = {found["id"]: Row(json.loads(found["messages"]), json.loads(found["tools"])) for found in self._leaving(person)}
        sql = f"SELECT DISTINCT dataset_id FROM dataset_examples WHERE example_id IN {GONE}"
        datasets = frozenset(found["dataset_id"] for found in self._database.query(sql, (dump([*rows]),)))
        asked = {turn["question"] for turn in turns} | {row.question for row in rows.values()}  # the rows' own are masked
        questions = frozenset(question for question in asked if question.strip())
        said = {turn["answer"] for turn in turns} | {rating["opinion"] for rating in opinions}
        return Wanted(
            person, rows, self._variants(rows, datasets), datasets, questions, frozenset(questions | said),
            frozenset(turn[name] for turn in turns for name in ("id", "conversation_id")),
        )  # fmt: skip

    def _variants(self, examples: Collection[str], datasets: Iterable[str]) -> frozenset[str]:
        """The digests of the lines that stand in these datasets as variants of these examples."""
        manifests = [Ledger(self._database).dataset(dataset) or {} for dataset in datasets]
        found = (manifest.get("variants", {}).get(example, ()) for manifest in manifests for example in examples)
        return frozenset(digest for digests in found for digest in digests)

    def _leaving(self, person: str) -> list[dict[str, Any]]:
        """The examples made of their turns only: neither imported too, nor approved for somebody else's turn as well."""
        return self._database.query(
            f"SELECT id, messages, tools FROM examples e WHERE turn_id IN ({TURNS}) AND import_id IS NULL AND NOT EXISTS ("
            f" SELECT 1 FROM ({STANDING_REVIEWS}) v WHERE v.example_id = e.id AND v.turn_id NOT IN ({TURNS}))",
            (person,),
        )

    def _stored(self, person: str, wanted: Wanted) -> dict[str, int]:
        """How much of each kind the database holds; `names`: how often their name stands in what stays."""
        counts = {table: self._count(f"FROM {table} WHERE {theirs}", person) for table, theirs in OWNED.items()}
        named = [self._count(f"FROM {table} WHERE {column} = ?1{_if_stays(table)}", person) for table, column in NAMED]
        return counts | {"examples": len(wanted.rows), "names": sum(named)}

    def _count(self, sql: str, value: str) -> int:
        found = self._database.first(f"SELECT count(*) AS n {sql}", (value,))
        return found["n"] if found else 0

    def _erasure(self, wanted: Wanted, counts: dict[str, int]) -> Erasure:
        served = Registry(self._database).served().model
        models = [Learner(model, rows, model == served) for model, rows in self._learners(wanted).items()]
        remaining = []
        if self._settings.nds_url:
            root = f"{self._settings.nds_url.rstrip('/')}/v1/hf/datasets/{self._settings.namespace}"
            remaining = [f"{root}/{dataset}" for dataset in sorted(wanted.datasets)]
        return Erasure(wanted.person, counts, models, remaining)

    def _learners(self, wanted: Wanted) -> dict[str, int]:
        """model → how many of the rows that go it was trained on or chosen by."""
        found = self._database.query(
            "SELECT m.id, count(*) AS n FROM models m JOIN dataset_examples d ON d.dataset_id = m.dataset_id"
            " WHERE d.split IN (SELECT value FROM json_each(?2))"
            f" AND d.example_id IN {GONE} GROUP BY m.id ORDER BY m.id",
            (dump([*wanted.rows]), dump(LEARNED)),
        )
        return {record["id"]: record["n"] for record in found}

    # tombstones ------------------------------------------------------------------------------------------------------

    def _hash(self, person: str) -> str:
        """Keyed by a secret of this store, since a name alone could be guessed and tried."""
        return hmac.digest(self._database.secret("erasure_key"), person.encode("utf-8", "replace"), "sha256").hex()

    def _open_tombstone(self, person: str) -> dict[str, Any] | None:
        sql = "SELECT * FROM erasures WHERE person_hash = ? AND finished_at IS NULL"
        return self._database.first(sql, (self._hash(person),))

    def _write_tombstone(self, found: Erasure, unfinished: dict[str, Any] | None) -> tuple[str, Erasure]:
        """Say what is about to go, before it does: (the tombstone's key, what it says). One left open keeps what it said."""
        if unfinished is None:
            record = {"person_hash": self._hash(found.person), "report": "{}", "started_at": now(), "finished_at": None}
            self._database.insert("erasures", record)
            unfinished = self._open_tombstone(found.person)
            assert unfinished is not None
        told, key = found.joined(json.loads(unfinished["report"])), str(unfinished["id"])
        report = told.to_dict()
        del report["person"]
        self._database.update("erasures", key, {"report": dump(report)})
        return key, told

    # erasing ---------------------------------------------------------------------------------------------------------

    def _erase_records(self, person: str, wanted: Wanted) -> None:
        execute, ids = self._database.execute, dump([*wanted.rows])
        for model, rows in self._learners(wanted).items():
            execute("UPDATE models SET erased_rows = erased_rows + ? WHERE id = ?", (rows, model))
        for dataset in wanted.datasets:
            self._note_in_manifest(dataset, wanted)
        self._hand_over(person)
        execute(f"DELETE FROM dataset_examples WHERE example_id IN {GONE}", (ids,))
        execute(f"DELETE FROM examples WHERE id IN {GONE}", (ids,))
        execute("DELETE FROM groups WHERE id NOT IN (SELECT group_id FROM examples)")
        for table, theirs in OWNED.items():
            execute(f"DELETE FROM {table} WHERE {theirs}", (person,))
        alias = f"erased-{self._hash(person)[:12]}"
        for table, column in NAMED:
            execute(f"UPDATE {table} SET {column} = ?2 WHERE {column} = ?1", (person, alias))
        for told, table, column in TOLD:
            execute(f"UPDATE {table} SET {column} = ?1 || ?3 || substr({column}, length(?1 || ?2) + 1) WHERE {column} = ?1 || ?2"
                    f" OR substr({column}, 1, length(?1 || ?2 || ':')) = ?1 || ?2 || ':'", (told, person, alias))  # fmt: skip

    def _hand_over(self, person: str) -> None:
        """Examples of theirs that others also gave become the others': a turn's that it was approved for, or the import's."""
        others = f"SELECT v.id FROM ({STANDING_REVIEWS}) v WHERE v.example_id = e.id AND v.turn_id NOT IN ({TURNS})"
        found = self._database.query(
            f"SELECT e.id, i.person AS importer, ({others} ORDER BY v.response_override IS NULL, v.id LIMIT 1) AS heir"
            f" FROM examples e LEFT JOIN imports i ON i.id = e.import_id WHERE e.turn_id IN ({TURNS})",
            (person,),
        )
        for example in found:
            heir = self._database.first(
                "SELECT v.turn_id, t.person, v.reviewer, iif(v.response_override IS NULL, 'thumb_up', 'correction') AS source"
                " FROM reviews v JOIN turns t ON t.id = v.turn_id WHERE v.id = ?",
                (example["heir"],),
            )
            imported = {"turn_id": None, "person": example["importer"], "reviewer": None, "source": "import"}
            if heir or example["importer"] is not None:
                self._database.update("examples", example["id"], heir or imported)

    def _note_in_manifest(self, dataset_id: str, wanted: Wanted) -> None:
        """The dataset's digest stays what trained the model; the manifest says how many rows have gone since."""
        sql = f"SELECT count(*) AS n FROM dataset_examples WHERE dataset_id = ?2 AND split != 'excluded' AND example_id IN {GONE}"
        rows = self._database.first(sql, (dump([*wanted.rows]), dataset_id))
        found = self._database.first("SELECT manifest FROM datasets WHERE id = ?", (dataset_id,))
        assert rows and found
        manifest = json.loads(found["manifest"])
        manifest["erased"] = [*manifest.get("erased", []), {"at": now(), "rows": rows["n"]}]
        for name in ("exclusions", "moved_to_holdout", "followed_older"):
            entries = manifest.get(name, [])
            manifest[name] = [e for e in entries if (e["id"] if isinstance(e, dict) else e) not in wanted.rows]
        for path, sources in manifest.get("sources", {}).items():  # one a line, and their lines go too
            manifest["sources"][path] = [source for source in sources if source.split()[-1] not in wanted.rows]
        self._database.update("datasets", dataset_id, {"manifest": dump(manifest)})


def _if_stays(table: str) -> str:
    """Names in what is erased anyway are not counted twice."""
    goes = {name: f" AND turn_id NOT IN ({TURNS})" for name in ("reviews", "review_claims")}
    goes |= {"examples": f" AND (turn_id IS NULL OR turn_id NOT IN ({TURNS}))"}
    return goes.get(table, "")
