"""What a person leaves in the state folder beside the store's database: kept dataset files, platform copies, tools' rows, logs.

Each kind can be counted and be taken out; taking out may be repeated after a kill at any moment. What to look for comes from the
store, so it must still be there. Knows files and their layout; knows nothing of models or tombstones.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from flywheel.curate import line_digest
from flywheel.database import purge
from flywheel.errors import StorageError
from flywheel.rows import Row, to_nemo_train
from flywheel.settings import Settings

LOGS = ("*.log", "log")
TELLING = 8
"""A shorter text stands in logs by chance."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    rows: the examples that go, by id. variants: digests of the lines made of them. texts: questions and what was said of them.
    ids: of their turns.
    """

    person: str
    rows: dict[str, Row]
    variants: frozenset[str]
    datasets: frozenset[str]
    questions: frozenset[str]
    texts: frozenset[str]
    ids: frozenset[str]


class Traces:
    """The state folder of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._platform = settings.platform_home
        self._not_tools = (settings.store_path, settings.runs_path)

    def count(self, wanted: Wanted) -> dict[str, int]:
        """How much of each kind there is: dataset_rows, platform_copies, tool_rows, log_lines."""
        return self._go(wanted, look=True)

    def erase(self, wanted: Wanted) -> dict[str, int]:
        """Take it out and say how much it was. Raises StorageError where a file cannot be read or written."""
        return self._go(wanted, look=False)

    def _go(self, wanted: Wanted, look: bool) -> dict[str, int]:
        try:
            return {
                "dataset_rows": self._datasets(wanted, look),
                "platform_copies": self._copies(wanted, look),
                "tool_rows": sum(_tool_rows(path, wanted.person, look) for path in self._tool_databases()),
                "log_lines": sum(_log_lines(path, wanted, look) for path in self._logs()),
            }
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"not everything could be erased: {error}; mend that and erase again") from error

    # datasets --------------------------------------------------------------------------------------------------------

    def _datasets(self, wanted: Wanted, look: bool) -> int:
        """Rewrite every kept file without their rows, drafts of a crash included; one that is left with none is removed."""
        trained = {line_digest(to_nemo_train(row)) for row in wanted.rows.values()} | wanted.variants
        gone = 0
        for path in (self._home / "datasets").rglob("*.jsonl*"):
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not _is_theirs(line, trained, wanted.rows)]
            gone += len(lines) - len(kept)
            if not look and len(kept) < len(lines):
                _replace(path, b"".join(kept))
        return gone

    # the platform's copies -------------------------------------------------------------------------------------------

    def _copies(self, wanted: Wanted, look: bool) -> int:
        """Let the local platform's own command forget what it copied: it alone knows its layout."""
        if not (self._platform / "platform.db").exists():
            return 0
        command = [sys.executable, "-m", "flywheel.local.forget", "--home", str(self._platform), *(["--look"] if look else [])]
        asked = json.dumps(
            {"datasets": sorted(wanted.datasets), "texts": sorted(wanted.questions), "entries": sorted(wanted.ids)}
        )
        done = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
        if done.returncode:
            raise OSError(f"the local platform's copies under {str(self._platform)!r} stay: {done.stderr.strip()[-500:]}")
        counts: dict[str, int] = json.loads(done.stdout)
        return sum(counts.values())

    # tools and logs --------------------------------------------------------------------------------------------------

    def _tool_databases(self) -> list[Path]:
        """Every SQLite file in the folder that is not the flywheel's own: the tools', one a family."""
        return [path for path in sorted(self._home.glob("*.db")) if path not in self._not_tools]

    def _logs(self) -> Iterator[Path]:
        for pattern in LOGS:
            yield from (path for path in self._home.rglob(pattern) if path.is_file())


def _is_theirs(line: bytes, trained: set[str], examples: dict[str, Row]) -> bool:
    """Whether a line is one of the rows: examined ones bear the example's id, trained ones are known by what they say."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and (record.get("key") in examples or line_digest(record) in trained)


def _replace(path: Path, content: bytes) -> None:
    if not content:
        path.unlink()
        return
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _tool_rows(path: Path, person: str, look: bool) -> int:
    """Rows of every table that has a column `person`. The file is rebuilt even without any: a kill may have come in between."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        owned = connection.execute(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'person'"
        ).fetchall()
        tables = ['"' + name.replace('"', '""') + '"' for (name,) in owned]
        if look:
            counts = [connection.execute(f"SELECT count(*) FROM {table} WHERE person = ?", (person,)) for table in tables]
            return sum(cursor.fetchone()[0] for cursor in counts)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        gone = sum(connection.execute(f"DELETE FROM {table} WHERE person = ?", (person,)).rowcount for table in tables)
        connection.execute("COMMIT")
        purge(connection, seconds=10)
    return gone


def _log_lines(path: Path, wanted: Wanted, look: bool) -> int:
    """Lines that quote them or name one of their turns. Rewritten in place, since a running process may append to the file."""
    with path.open("r+b") as file:
        content = file.read()
        said = [part.strip() for text in wanted.texts for part in text.splitlines()]
        needles = {form for part in said if len(part) >= TELLING for form in _written(part)} | {i.encode() for i in wanted.ids}
        found = [re.escape(needle) for needle in needles if needle in content]
        found += [rb"[\"'=]" + re.escape(wanted.person.encode()) + rb"(?![\w./@-])"]
        telling = re.compile(b"|".join(found))
        lines = content.splitlines(keepends=True)
        kept = [line for line in lines if not telling.search(line)]
        if not look and len(kept) < len(lines):
            file.seek(0)
            file.write(b"".join(kept))
            file.truncate()
    return len(lines) - len(kept)


def _written(text: str) -> set[bytes]:
    """How logs may show a text: as it is, and as Python and JSON quote it."""
    return {form.encode("utf-8", "replace") for form in (text, repr(text)[1:-1], json.dumps(text)[1:-1])}
