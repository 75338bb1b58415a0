"""The tools' own SQLite files, one a family, in the caller's home folder.

Knows how to open, lock and roll back; knows no table. Every use is one BEGIN IMMEDIATE transaction, so that what a tool checks is
still so when it writes.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tools.tool import ToolContext, ToolError

LOCK_WAIT_S = 3  # below the tools' time limit: a tool that was given up must not write afterwards

_log = logging.getLogger(__name__)


@contextmanager
def transaction(context: ToolContext, name: str, tables: str) -> Iterator[sqlite3.Connection]:
    """One transaction on home/NAME.db, with the tables made where missing (`tables`: CREATE TABLE IF NOT EXISTS statements).

    In a dry run everything happens in the transaction and is rolled back, and a file that is not there is not made.
    Raises ToolError where the file cannot be read or written.
    """
    try:
        with closing(_open(context, name)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, tables.split(";")):
                connection.execute(statement)
            yield connection
            connection.execute("ROLLBACK" if context.dry_run else "COMMIT")
    except (sqlite3.Error, OSError) as problem:
        _log.exception("%s.db cannot be used", name)
        busy = "locked" in str(problem) or "busy" in str(problem)
        cause = (
            "is busy: try again in a moment" if busy else "cannot be used: the disk may be full or read-only, or the file damaged"
        )
        raise ToolError(f"The store of the {name} {cause}. Nothing was changed.") from None


def _open(context: ToolContext, name: str) -> sqlite3.Connection:
    path = context.home / f"{name}.db"
    if context.dry_run and not path.exists():
        return sqlite3.connect(":memory:", isolation_level=None)
    if not path.exists():
        context.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
