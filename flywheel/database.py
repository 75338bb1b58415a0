"""The one SQLite file of the product: opening, migrating, transactions.

Write-ahead log with synchronous=FULL, so that what was acknowledged survives a power cut. Every write is one immediate
transaction. Several threads and processes may use the file. Knows nothing of what the tables mean.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlite_utils import Database as SqliteUtils

from flywheel.errors import StorageError
from flywheel.migrations import MIGRATIONS

Row = dict[str, Any]


def now() -> str:
    """The present moment, UTC, ISO 8601 with microseconds and offset."""
    return datetime.now(UTC).isoformat()


def new_id(prefix: str) -> str:
    """A random identifier such as `turn-9f3a51c07b2e`."""
    return f"{prefix}-{secrets.token_hex(6)}"


def dump(value: Any) -> str:
    """JSON for a column."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _storable(row: Row) -> Row:
    """The row with half characters (lone surrogates, which JSON may carry) replaced: SQLite takes UTF-8 only."""
    return {name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for name, value in row.items()}


def purge(connection: sqlite3.Connection, seconds: float) -> None:
    """VACUUM, then move all of the write-ahead log into the file and cut it to nothing. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")
    connection.execute("VACUUM")
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("another connection is in the middle of reading")


class Database:
    """A connection that several threads share; one statement or transaction at a time.

    Raises StorageError where the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()  # protects the connection: SQLite transactions belong to a connection, not to a thread
        try:
            connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            with FileLock(f"{path}.lock", timeout=60):  # two processes that open a new file at once would both migrate it
                for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                    connection.execute(f"PRAGMA {pragma}")
                path.chmod(0o600)
                self._database = SqliteUtils(connection)
                MIGRATIONS.apply(self._database)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot open {str(path)!r}: {error}; check the folder's space and permissions") from error

    def close(self) -> None:
        """Close the connection; the file stays as it is."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none. May be nested; the outermost one commits."""
        with self._lock:
            if self._database.conn.in_transaction:
                yield
                return
            try:
                self._database.conn.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._database.conn.rollback()
                    raise
                self._database.conn.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if self._database.conn.in_transaction:
                    self._database.conn.rollback()
                raise StorageError(f"could not save to {str(self.path)!r}: {error}; nothing of this change was kept") from error

    def insert(self, table: str, row: Row, *, ignore: bool = False) -> None:
        """Insert one row; `ignore` leaves an existing one as it is."""
        with self.transaction():
            self._database.table(table).insert(_storable(row), ignore=ignore)

    def insert_many(self, table: str, rows: list[Row], *, ignore: bool = False) -> None:
        """Insert rows in one transaction."""
        with self.transaction():
            self._database.table(table).insert_all([_storable(row) for row in rows], ignore=ignore)

    def upsert(self, table: str, row: Row, key: tuple[str, ...]) -> None:
        """Insert the row, or change the columns given where its key exists."""
        with self.transaction():
            self._database.table(table).upsert(_storable(row), pk=key)

    def update(self, table: str, key: str, changes: Row) -> None:
        """Change columns of the row with this primary key."""
        with self.transaction():
            self._database.table(table).update(key, _storable(changes))

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """Run one writing statement."""
        with self.transaction():
            self._database.conn.execute(sql, parameters)

    def purge(self, seconds: float = 10) -> None:
        """Rebuild the file and empty its log, so that no byte of what was deleted remains in either.

        Other connections may stay open. Raises StorageError if one of them reads or writes for longer than `seconds`.
        """
        with self._lock:
            try:
                purge(self._database.conn, seconds)
            except sqlite3.Error as error:
                hint = "what was deleted may still lie in the file or its log; stop what uses it, or make room, and repeat"
                raise StorageError(f"cannot rebuild {str(self.path)!r}: {error}; {hint}") from error
            finally:
                self._database.conn.execute("PRAGMA busy_timeout=30000")

    def secret(self, name: str) -> bytes:
        """A random key of this store, made when it is first asked for."""
        sql = "SELECT value FROM secrets WHERE name = ?"
        if self.first(sql, (name,)) is None:
            self.insert("secrets", {"name": name, "value": secrets.token_hex(32)}, ignore=True)
        found = self.first(sql, (name,))
        assert found is not None
        return bytes.fromhex(found["value"])

    def query(self, sql: str, parameters: tuple[Any, ...] | Row = ()) -> list[Row]:
        """Rows of a reading statement, as dicts."""
        with self._lock:
            cursor = self._database.conn.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def first(self, sql: str, parameters: tuple[Any, ...] = ()) -> Row | None:
        """The first row, or None."""
        rows = self.query(sql, parameters)
        return rows[0] if rows else None
