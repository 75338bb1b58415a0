"""Where a model comes from, and where what a person said has gone: the store's records followed in both directions.

A model leads back to its run, its dataset, every row with its source, the turn, the ratings and the person; a turn or a person
leads to all of it the other way. Reads only. Knows nothing of files or services; of rows erased since it knows the number.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from flywheel.database import Database
from flywheel.database import Row as Record
from flywheel.errors import NotFound
from flywheel.ledger import STANDING_REVIEWS
from flywheel.promote import Registry
from flywheel.rows import Row

SHOWN = 5
"""As text, so many of a node's children are written out; the others are counted."""
BRIEF = 120
SOURCE_ORDER = ("correction", "thumb_up", "import")
STANDS_FOR = f"""SELECT turn_id, id AS example_id FROM examples WHERE turn_id IS NOT NULL
    UNION SELECT turn_id, example_id FROM ({STANDING_REVIEWS}) WHERE example_id IS NOT NULL"""
"""Which turn gave which example; one example may stand for several turns that went alike."""


@dataclass(frozen=True)
class Node:
    """One thing and what it leads to. kind: model, run, dataset, source, example, import, turn, rating, review or person."""

    kind: str
    id: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The whole tree under it, for JSON."""
        return {"kind": self.kind, "id": self.id, **self.facts, "children": [child.to_dict() for child in self.children]}

    def text(self) -> str:
        """The tree for a person, indented; of many children the first SHOWN, then how many more there are."""
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterable[str]:
        told = ", ".join(_told(name, value) for name, value in self.facts.items() if value not in (None, "", False, 0, []))
        yield f"{'  ' * depth}{self.kind} {_line(self.id)}{f': {told}' if told else ''}"
        for child in self.children[:SHOWN]:
            yield from child._lines(depth + 1)
        if len(self.children) > SHOWN:
            yield f"{'  ' * (depth + 1)}... and {len(self.children) - SHOWN:,} more (--json holds all)"


def _told(name: str, value: Any) -> str:
    if value is True:
        return name.replace("_", " ")
    return f"{name.replace('_', ' ')} {_line(', '.join(map(str, value)) if isinstance(value, list) else str(value))}"


def _line(text: str) -> str:
    """On one line and of a readable length; what a terminal would obey is left out, since people wrote it."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return words if len(words) <= BRIEF else words[: BRIEF - 1] + "…"


class Lineage:
    """The reader; shares the store's connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, name: str) -> Node:
        """The lineage of a model, a turn or a person, whichever bears this name. Raises NotFound."""
        if self._database.first("SELECT 1 FROM models WHERE id = ?", (name,)):
            return self._model(name)
        if self._database.first("SELECT 1 FROM turns WHERE id = ?", (name,)):
            return self._turn(name)
        person = self._person(name)
        if person is None:
            raise NotFound(
                f"no model, turn or person {name!r}: `flywheel models` lists the models; a turn's id begins with turn-;"
                " a person is known by the name they signed in with, once they asked, reviewed or imported something"
            )
        return person

    # back: from a model to people ------------------------------------------------------------------------------------

    def _model(self, model_id: str) -> Node:
        registry = Registry(self._database)
        model = registry.model(model_id)
        facts: dict[str, Any] = {"status": model.status, "base_model": model.base_model, "created_at": model.created_at[:16]}
        facts |= {"serves_now": registry.served().model == model_id, "learned_from_rows_erased_since": model.erased_rows}
        return Node("model", model_id, facts, [self._run(model.run_id, model.dataset_id)] if model.run_id else [])

    def _run(self, run_id: str, dataset_id: str | None) -> Node:
        run = self._database.first("SELECT requested_by, created_at, status, outcome FROM runs WHERE id = ?", (run_id,)) or {}
        found = self._database.first("SELECT id, digest, manifest FROM datasets WHERE id = ?", (dataset_id,))
        return Node("run", run_id, run, [self._dataset(found)] if found else [])

    def _dataset(self, found: Record) -> Node:
        manifest = json.loads(found["manifest"])
        replay = {side: counts.get("replay", 0) for side, counts in manifest.get("counts", {}).get("source", {}).items()}
        rows = self._database.query(
            "SELECT e.id, e.source, e.import_id, e.line, e.messages, d.split FROM dataset_examples d"
            " JOIN examples e ON e.id = d.example_id WHERE d.dataset_id = ? ORDER BY e.created_at, e.id",
            (found["id"],),
        )
        origins = self._origins(found["id"])
        by_source: dict[str, list[Record]] = defaultdict(list)
        for row in rows:
            by_source[row["source"]].append(row)
        sources = [
            Node("source", source, {"rows": len(by_source[source]), **Counter(row["split"] for row in by_source[source])},
                 [_example(row, origins.get(row["id"], [])) for row in by_source[source]])
            for source in SOURCE_ORDER if by_source[source]
        ]  # fmt: skip
        facts = {"rows": len(rows), "replay_rows": sum(replay.values()), "rows_erased_since": _erased(manifest)}
        return Node("dataset", found["digest"], facts, sources)

    def _origins(self, dataset_id: str) -> dict[str, list[Node]]:
        """example → where it came from: its import, its turns with their ratings and their person."""
        inside = "SELECT example_id FROM dataset_examples WHERE dataset_id = ?"
        origins: dict[str, list[Node]] = defaultdict(list)
        imports = "SELECT e.id AS example_id, e.line, i.* FROM examples e JOIN imports i ON i.id = e.import_id"
        for found in self._database.query(f"{imports} WHERE e.id IN ({inside})", (dataset_id,)):
            origins[found["example_id"]].append(_import(found, line=found["line"]))
        stands = f"SELECT turn_id, example_id FROM ({STANDS_FOR}) WHERE example_id IN ({inside})"
        ratings = self._ratings(f"SELECT turn_id FROM ({stands})", dataset_id)
        turns = (
            f"SELECT s.example_id, t.id, t.person, t.question, t.created_at FROM ({stands}) s JOIN turns t ON t.id = s.turn_id"
        )
        for turn in self._database.query(turns + " ORDER BY t.created_at, t.id", (dataset_id,)):
            children = [*ratings.get(turn["id"], []), Node("person", turn["person"])]
            origins[turn["example_id"]].append(Node("turn", turn["id"], _said(turn), children))
        return origins

    # forth: from people to models ------------------------------------------------------------------------------------

    def _turn(self, turn_id: str) -> Node:
        node = self._turns("SELECT ?1", turn_id)[0]
        owner = self._database.first("SELECT person, model FROM turns WHERE id = ?", (turn_id,)) or {}
        return Node(
            "turn", turn_id, {**node.facts, "answered_by": owner["model"]}, [Node("person", owner["person"]), *node.children]
        )

    def _person(self, person: str) -> Node | None:
        turns = self._turns("SELECT id FROM turns WHERE person = ?1", person)
        imports = [
            _import(found, rows=found["accepted"], children=self._learners(found["id"]))
            for found in self._database.query("SELECT * FROM imports WHERE person = ? ORDER BY created_at", (person,))
        ]
        sql = "SELECT id, turn_id, verdict, created_at FROM reviews WHERE reviewer = ? ORDER BY id"
        reviews = [
            Node("review", str(found["id"]), {"verdict": found["verdict"], "of_turn": found["turn_id"]})
            for found in self._database.query(sql, (person,))
        ]
        if not (turns or imports or reviews):
            return None
        facts = {"turns": len(turns), "imports": len(imports), "decisions_as_a_reviewer": len(reviews)}
        parts = [("turns", turns), ("imports", imports), ("reviews", reviews)]
        return Node("person", person, facts, [Node("their", name, {}, found) for name, found in parts if found])

    def _turns(self, chosen: str, value: str) -> list[Node]:
        """The turns that a query for ids chooses, oldest first, each with ratings, reviews and what learned from it."""
        sql = f"SELECT id, question, created_at, status FROM turns WHERE id IN ({chosen}) ORDER BY created_at, id"
        ratings, examples, reviews = self._ratings(chosen, value), self._examples(chosen, value), defaultdict(list)
        for found in self._database.query(f"SELECT * FROM reviews WHERE turn_id IN ({chosen}) ORDER BY id", (value,)):
            facts = {"verdict": found["verdict"], "by": found["reviewer"], "corrected": found["response_override"] is not None}
            reviews[found["turn_id"]].append(Node("review", str(found["id"]), facts))
        return [
            Node("turn", turn["id"], _said(turn) | {"status": turn["status"]},
                 [*ratings.get(turn["id"], []), *reviews[turn["id"]], *examples.get(turn["id"], [])])
            for turn in self._database.query(sql, (value,))
        ]  # fmt: skip

    def _examples(self, chosen: str, value: str) -> dict[str, list[Node]]:
        """turn → the examples made of it, each with the datasets that hold it and the models that came out."""
        stands = f"SELECT turn_id, example_id FROM ({STANDS_FOR}) WHERE turn_id IN ({chosen})"
        datasets: dict[str, list[Node]] = defaultdict(list)
        sql = f"{MEMBERSHIPS} WHERE d.example_id IN (SELECT example_id FROM ({stands})) ORDER BY s.created_at"
        for found in self._database.query(sql, (value,)):
            datasets[found["example_id"]].append(_membership(found, found["split"]))
        nodes: dict[str, list[Node]] = defaultdict(list)
        made = f"SELECT s.turn_id AS of_turn, e.* FROM ({stands}) s JOIN examples e ON e.id = s.example_id"
        for found in self._database.query(f"{made} ORDER BY e.created_at, e.id", (value,)):
            facts = {"source": found["source"], "no_longer_stands": found["superseded_by"] is not None}
            nodes[found["of_turn"]].append(Node("example", found["id"], facts, datasets.get(found["id"], [])))
        return nodes

    def _ratings(self, chosen: str, value: str) -> dict[str, list[Node]]:
        ratings: dict[str, list[Node]] = defaultdict(list)
        for found in self._database.query(f"SELECT * FROM ratings WHERE turn_id IN ({chosen}) ORDER BY updated_at", (value,)):
            facts = {"by": found["person"], "categories": json.loads(found["categories"]), "opinion": found["opinion"]}
            ratings[found["turn_id"]].append(Node("rating", found["thumb"] or "withdrawn", facts))
        return ratings

    def _learners(self, import_id: str) -> list[Node]:
        """The datasets that hold rows of an import, and their models."""
        within = "d.example_id IN (SELECT id FROM examples WHERE import_id = ?) AND d.split != 'excluded'"
        sql = f"{MEMBERSHIPS} WHERE {within} GROUP BY s.id, m.id ORDER BY s.created_at"
        rows = self._database.query(sql.replace("d.example_id, d.split,", "count(*) AS n,", 1), (import_id,))
        return [_membership(found, None, rows=found["n"]) for found in rows]


MEMBERSHIPS = """SELECT d.example_id, d.split, s.run_id, s.digest, m.id AS model, m.status
    FROM dataset_examples d JOIN datasets s ON s.id = d.dataset_id LEFT JOIN models m ON m.dataset_id = s.id"""


def _said(turn: Record) -> dict[str, Any]:
    return {"question": turn["question"], "created_at": turn["created_at"][:16]}


def _membership(found: Record, side: str | None, **facts: Any) -> Node:
    models = [Node("model", found["model"], {"status": found["status"]})] if found["model"] else []
    told = facts | ({"side": side} if side else {})
    return Node("dataset", found["digest"], told, [Node("run", found["run_id"], {}, models)])


def _example(row: Record, origins: list[Node]) -> Node:
    question = Row(json.loads(row["messages"]), []).question
    return Node("example", row["id"], {"side": row["split"], "question": question}, origins)


def _import(found: Record, children: list[Node] | None = None, **facts: Any) -> Node:
    return Node("import", found["id"], {"file": found["filename"], **facts, "by": found["person"]}, children or [])


def _erased(manifest: dict[str, Any]) -> int:
    return sum(erasure["rows"] for erasure in manifest.get("erased", []))
