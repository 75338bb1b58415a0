"""The local platform's own record: every NeMo entity, in one SQLite file.

Knows entities by kind, namespace and name, their ids, dates and lists. Knows neither HTTP nor what an entity means: a body is
JSON and whoever writes it decides what stands in it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlite_utils import Database, Migrations

from flywheel.local.matching import date_span, matches_filter, matches_search

Kind = Literal[
    "namespace",
    "project",
    "dataset",
    "model",
    "customization_job",
    "customization_config",
    "customization_target",
    "evaluation_job",
    "evaluation_config",
    "evaluation_target",
    "evaluation_result",
    "guardrail_config",
    "deployment_config",
    "model_deployment",
    "intake_app",
    "intake_task",
    "intake_entry",
    "intake_export",
]
"""What an entity is. Jobs and results are known by id and may share a name; all others are unique by namespace and name."""

Entity = dict[str, Any]
"""One entity as the services show it: `id`, `namespace`, `name`, `created_at`, `updated_at` and the keys of its body."""

DEEPEST = 100
"""How many levels of lists and objects a body may have."""

SORTS = ("created_at", "-created_at", "updated_at", "-updated_at", "name", "-name")

_PREFIXES: dict[Kind, str] = {
    "namespace": "",
    "project": "project-",
    "dataset": "dataset-",
    "model": "model-",
    "customization_job": "cust-",
    "customization_config": "customization_config-",
    "customization_target": "customization_target-",
    "evaluation_job": "eval-",
    "evaluation_config": "eval-config-",
    "evaluation_target": "eval-target-",
    "evaluation_result": "evaluation_result-",
    "guardrail_config": "guardrail-",
    "deployment_config": "deployment-config-",
    "model_deployment": "model-deployment-",
    "intake_app": "app-",
    "intake_task": "task-",
    "intake_entry": "entry-",
    "intake_export": "export-",
}
_IDENTITY = ("id", "namespace", "name", "created_at", "updated_at")
_COLUMNS = ", ".join((*_IDENTITY, "body", "kind"))
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

migrations = Migrations("platform")


@migrations()
def m001_entities(db: Database) -> None:
    """One table for all kinds; `position` keeps the order of creation where two dates are equal."""
    db.execute(
        """CREATE TABLE entities (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL,
            body TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
        )"""
    )
    db.execute("CREATE UNIQUE INDEX entities_by_id ON entities (kind, id)")
    db.execute("CREATE INDEX entities_by_name ON entities (kind, namespace, name)")
    db.execute(
        """CREATE UNIQUE INDEX entities_one_per_name ON entities (kind, namespace, name)
        WHERE kind NOT IN ('customization_job', 'evaluation_job', 'evaluation_result')"""
    )


class Exists(Exception):
    """The name is taken: an entity of this kind already bears it in this namespace."""


class Missing(Exception):
    """No entity of this kind bears this name or id."""


class NotJson(ValueError):
    """A body that JSON cannot carry: NaN, infinity, half a character or more than DEEPEST levels."""


def now() -> str:
    """This moment in UTC as the services write it: naive ISO with microseconds."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def new_id(kind: Kind) -> str:
    """A fresh id, for example `dataset-7Lw2Ws...`: the kind's prefix and a random UUID in base58."""
    number, digits = uuid.uuid4().int, ""
    while number:
        number, rest = divmod(number, 58)
        digits = _BASE58[rest] + digits
    return _PREFIXES[kind] + digits


class State:
    """Every entity of one platform home, in `root/platform.db`. May be used from several threads."""

    def __init__(self, root: Path) -> None:
        """Open or create the record under `root`, a folder made private to its owner, and bring its tables up to date."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One connection serves all threads; the lock keeps one thread's transaction from swallowing another's statements.
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(root / "platform.db", check_same_thread=False, timeout=30)
        self._db = Database(self._connection)
        # What is deleted, such as an entry with people's words, is overwritten.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        migrations.apply(self._db)

    def close(self) -> None:
        """Close the file. Nothing may be called afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """The database, for this thread alone; all is written when the block ends, nothing when it raises. May be nested."""
        with self._lock, self._db.atomic():
            yield self._db

    def create(self, kind: Kind, namespace: str, name: str | None, body: Mapping[str, Any]) -> Entity:
        """Write a new entity and return it. Without a name it is named after its id; a namespace's id is its name.

        Raises Exists where the name is taken, NotJson.
        """
        identity = new_id(kind) if kind != "namespace" or name is None else name
        stamp = now()
        row = (identity, namespace, name or identity, stamp, stamp, _dump(body), kind)
        try:
            with self.transaction() as db:
                db.execute(f"INSERT INTO entities ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            taken = _full(namespace, name or identity)
            raise Exists(f"{kind} {taken!r} already exists; take another name or update it") from None
        return self.get_by_id(kind, identity) or {}

    def get(self, kind: Kind, namespace: str, name: str) -> Entity | None:
        """The entity of that name, or None; of several jobs with one name the newest."""
        return self._one("kind = ? AND namespace = ? AND name = ? ORDER BY position DESC", (kind, namespace, name))

    def get_by_id(self, kind: Kind, identity: str) -> Entity | None:
        """The entity with that id, or None."""
        return self._one("kind = ? AND id = ?", (kind, identity))

    def update(self, kind: Kind, namespace: str, name: str, changes: Mapping[str, Any]) -> Entity:
        """Replace the body's keys named in `changes` (whole values, nothing is merged deeper) and return the entity.

        Id, name, namespace and dates stay as they are, whatever `changes` says. Raises Missing, NotJson.
        """
        with self.transaction():
            return self._write(kind, self.get(kind, namespace, name), changes, _full(namespace, name))

    def update_by_id(self, kind: Kind, identity: str, changes: Mapping[str, Any]) -> Entity:
        """As `update`, for the entity with that id."""
        with self.transaction():
            return self._write(kind, self.get_by_id(kind, identity), changes, identity)

    def delete(self, kind: Kind, namespace: str, name: str) -> bool:
        """Remove the entity (of several jobs with one name the newest); False where there is none."""
        with self.transaction():
            found = self.get(kind, namespace, name)
            return found is not None and self.delete_by_id(kind, found["id"])

    def delete_by_id(self, kind: Kind, identity: str) -> bool:
        """Remove the entity with that id; False where there is none."""
        with self.transaction() as db:
            return bool(db.execute("DELETE FROM entities WHERE kind = ? AND id = ?", (kind, identity)).rowcount)

    def list(
        self,
        kind: Kind,
        *,
        filter: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
        sort: str = "-created_at",
        page: int = 1,
        page_size: int | None = None,
        filterable: Callable[[Entity], Mapping[str, Any]] | None = None,
    ) -> tuple[list[Entity], int]:
        """The entities that match, one page of them, and how many match in all.

        filter and search are nested as a query `filter[a][b]=` is; see `matching`. sort is one of SORTS, page counts from 1,
        page_size None means all. filterable gives what filters may name of an entity besides its own keys. Raises ValueError
        for an unknown sort.
        """
        if sort not in SORTS:
            raise ValueError(f"cannot sort by {sort!r}; sort by one of {', '.join(SORTS)}")
        order = "DESC" if sort.startswith("-") else "ASC"
        since = _since(filter or {})
        bounds = "".join(f" AND {column} >= ?" for column in since)
        where = f"kind = ?{bounds} ORDER BY {sort.lstrip('-')} {order}, position {order}"
        with self._lock:
            found = [_entity(row) for row in self._rows(where, (kind, *since.values()))]
        kept = [
            entity
            for entity in found
            if matches_filter({**entity, **filterable(entity)} if filterable else entity, filter or {})
            and matches_search(entity, search or {})
        ]
        start = (page - 1) * page_size if page_size else 0
        return kept[start : start + page_size if page_size else None], len(kept)

    def _rows(self, where: str, values: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield from self._db.execute(f"SELECT {_COLUMNS} FROM entities WHERE {where}", values)

    def _one(self, where: str, values: tuple[str, ...]) -> Entity | None:
        with self._lock:
            row = next(self._rows(where + " LIMIT 1", values), None)
        return _entity(row) if row else None

    def _write(self, kind: Kind, entity: Entity | None, changes: Mapping[str, Any], shown: str) -> Entity:
        if entity is None:
            raise Missing(f"{kind} {shown!r} does not exist")
        body = {**entity, **changes}
        with self.transaction() as db:
            values = (_dump(body), now(), kind, entity["id"])
            db.execute("UPDATE entities SET body = ?, updated_at = ? WHERE kind = ? AND id = ?", values)
        return self.get_by_id(kind, entity["id"]) or {}


def _since(wanted: Mapping[str, Any]) -> dict[str, str]:
    """The dates from which on rows are wanted, as `matching` reads them: so that SQLite need not read all the others."""
    ranges = {column: wanted[column] for column in ("created_at", "updated_at") if isinstance(wanted.get(column), Mapping)}
    return {column: date_span(str(bounds["gte"]))[0] for column, bounds in ranges.items() if "gte" in bounds}


def _dump(body: Mapping[str, Any]) -> str:
    # Python would write NaN and lone surrogates, and every client that reads the entity later would fail.
    kept = {key: value for key, value in body.items() if key not in _IDENTITY}
    # What can be written may still be too deep to be shown, and would take every list that it is on with it.
    if _is_deeper(kept, DEEPEST):
        raise NotJson(f"this is nested more than {DEEPEST} deep")
    try:
        text = json.dumps(kept, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise NotJson(f"this cannot be stored as JSON: {error}") from None
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    nodes = [value]
    for _ in range(levels):
        nodes = [child for node in nodes for child in _children(node)]
        if not nodes:
            return False
    return True


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()


def _entity(row: tuple[str, ...]) -> Entity:
    return {**dict(zip(_IDENTITY, row, strict=False)), **json.loads(row[5])}


def _full(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
