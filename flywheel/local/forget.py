"""`python -m flywheel.local.forget`: takes rows with certain texts out of everything that one platform home keeps.

Data sets' repos and contents, rows of evaluations, data of trainings, entries of Intake. Works on the home at rest or beside a
running platform, loads no model and answers no HTTP. Copies here serve their job once: a repo or a result that holds such a row
goes as a whole. Adapters stay, and so do jobs and scores. Of what platform.db holds, only Intake's entries are people's words;
after them the file is rebuilt.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), required=True, help="The platform's folder.")
@click.option("--look", is_flag=True, help="Only count.")
def main(home: Path, look: bool) -> None:
    """Read {"datasets": names, "texts": strings, "entries": external ids} from standard input; print how many of each kind go."""
    wanted = json.loads(sys.stdin.buffer.read())
    gone = forget(home, frozenset(wanted["datasets"]), frozenset(wanted["texts"]), look=look)
    click.echo(json.dumps(gone | {"entries": forget_entries(home, wanted["entries"], look)}))


def forget(home: Path, names: frozenset[str], texts: frozenset[str], *, look: bool = False) -> dict[str, int]:
    """Remove the data sets of these names, what trains on them, and everything in which a text stands as a whole JSON string.

    Returns how many data sets, evaluations and trainings lost their rows. Repeating it finishes what a kill interrupted.
    """
    holding = {path for path in _files(home, "blobs", "incoming") if holds(path, texts)}
    evaluations = {
        path.parent for path in _files(home, "evaluation") if path.name.startswith("rows.jsonl") and holds(path, texts)
    }
    trainings = {
        home / "customization" / path.relative_to(home / "customization").parts[0] / "data"
        for path in _files(home, "customization")
        if "data" in path.relative_to(home / "customization").parts and holds(path, texts)
    }
    trainings |= {data for job in _jobs_on(home, names) if (data := home / "customization" / job / "data").exists()}
    datasets = _forget_datasets(home, names, holding, look)
    if not look:
        for folder in evaluations | trainings:
            shutil.rmtree(folder)
        for training in trainings:
            (training.parent / "checkpoint.safetensors").unlink(missing_ok=True)  # it goes on with the data or not at all
    return {"datasets": datasets, "evaluations": len(evaluations), "trainings": len(trainings)}


def forget_entries(home: Path, external_ids: list[str], look: bool) -> int:
    """Delete the entries of Intake that bear these external ids, and leave no byte of them in the file or its log."""
    if not (home / "platform.db").exists():
        return 0
    theirs = "kind = 'intake_entry' AND json_extract(body, '$.external_id') IN (SELECT value FROM json_each(?))"
    with closing(sqlite3.connect(home / "platform.db", timeout=30, isolation_level=None)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM entities WHERE {theirs}", (json.dumps(external_ids),)).fetchone()
        if not look:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"DELETE FROM entities WHERE {theirs}", (json.dumps(external_ids),))
            connection.execute("VACUUM")  # also where nothing is left to delete: a kill may have come in between
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(count)


def _jobs_on(home: Path, names: frozenset[str]) -> list[str]:
    """The ids of the customization jobs that train on data sets of these names: variants of a text stand in their rows."""
    if not (home / "platform.db").exists():
        return []
    with closing(sqlite3.connect(home / "platform.db", timeout=30)) as connection:
        jobs = connection.execute("SELECT id, body ->> 'dataset' FROM entities WHERE kind = 'customization_job'").fetchall()
    return [job for job, dataset in jobs if str(dataset).rpartition("/")[2] in names]


def _forget_datasets(home: Path, names: frozenset[str], holding: Collection[Path], look: bool) -> int:
    if not (home / "platform.db").exists():
        return 0
    digests = json.dumps([path.name for path in holding])
    with closing(sqlite3.connect(home / "platform.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute(
            "SELECT id, namespace, name FROM repos WHERE kind = 'datasets'"
            " AND (name IN (SELECT value FROM json_each(?1)) OR id IN ("
            ' SELECT c.repo FROM commits c JOIN committed_files f ON f."commit" = c.id'
            " WHERE f.sha256 IN (SELECT value FROM json_each(?2))))",
            (json.dumps(sorted(names)), digests),
        ).fetchall()
        if look:
            connection.execute("ROLLBACK")
            return len(found)
        loose = {path.name for path in holding}
        for number, namespace, name in found:
            loose |= _delete_repo(connection, number)
            connection.execute("DELETE FROM entities WHERE kind = 'dataset' AND namespace = ? AND name = ?", (namespace, name))
        connection.execute("COMMIT")
        # In a transaction of its own, once the first is on disk; as writers wait for it, nobody takes up a content meanwhile.
        connection.execute("BEGIN IMMEDIATE")
        for digest in loose:
            if not connection.execute("SELECT 1 FROM committed_files WHERE sha256 = ?", (digest,)).fetchone():
                (home / "blobs" / digest[:2] / digest).unlink(missing_ok=True)
                (home / "incoming" / digest).unlink(missing_ok=True)
        connection.execute("COMMIT")
    return len(found)


def _delete_repo(connection: sqlite3.Connection, number: int) -> set[str]:
    """Delete a repo's records from the leaves up; returns the digests of the contents that it held."""
    of_repo = '"commit" IN (SELECT id FROM commits WHERE repo = ?)'
    held = {digest for (digest,) in connection.execute(f"SELECT sha256 FROM committed_files WHERE {of_repo}", (number,))}
    connection.execute(f"DELETE FROM committed_files WHERE {of_repo}", (number,))
    connection.execute("DELETE FROM commits WHERE repo = ?", (number,))
    connection.execute("DELETE FROM repos WHERE id = ?", (number,))
    return held


def _files(home: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (home / folder).rglob("*") if path.is_file())


def holds(path: Path, texts: frozenset[str]) -> bool:
    """Whether a file of JSON Lines holds one of the texts as a whole string; any other file does not."""
    try:
        with path.open("rb") as file:
            if not file.read(1) == b"{":  # weights, for one, which may be large
                return False
            file.seek(0)
            return any(_mentions(line, texts) for line in file)
    except FileNotFoundError:  # its job was cleaned up just now
        return False


def _mentions(line: bytes, texts: frozenset[str]) -> bool:
    try:
        open_values: list[Any] = [json.loads(line)]
    except (ValueError, RecursionError):  # half of a line, which a kill left
        forms = {json.dumps(text, ensure_ascii=ascii)[1:-1] for text in texts for ascii in (True, False)}
        return any(form.encode("utf-8", "replace") in line for form in forms)
    while open_values:
        value = open_values.pop()
        if isinstance(value, str) and value in texts:
            return True
        open_values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return False


if __name__ == "__main__":
    main()
