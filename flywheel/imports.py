"""A file of examples on its way into the ledger. Knows the row shapes and the ledger, not who shows the report."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flywheel.ledger import ImportReport, Ledger
from flywheel.rows import Import, read_hub, read_rows
from flywheel.starter import load_everyday


def import_file(ledger: Ledger, path: Path, *, person: str, filename: str | None = None) -> ImportReport:
    """Take in the good rows of a file in xLAM shape or of OpenAI messages; bad ones come back with line and reason.

    Raises InputError for a file that cannot be read at all.
    """
    found = read_rows(path)
    return _store(ledger, found, filename or path.name, hashlib.sha256(path.read_bytes()).hexdigest(), person)


def import_hub(ledger: Ledger, name: str, *, person: str, split: str = "train", limit: int | None = None) -> ImportReport:
    """The same for a data set on the hub, such as Salesforce/xlam-function-calling-60k. Raises InputError if it cannot be had."""
    found = read_hub(name, split, limit)
    digest = hashlib.sha256("\n".join(row.digest for _, row in found.rows).encode()).hexdigest()
    return _store(ledger, found, name, digest, person)


def import_everyday(ledger: Ledger, *, person: str) -> ImportReport:
    """The everyday questions for the chat's own tools, which come with the project."""
    rows = load_everyday()
    digest = hashlib.sha256("\n".join(row.digest for row in rows).encode()).hexdigest()
    return _store(ledger, Import(list(enumerate(rows, start=1)), []), "everyday questions", digest, person)


def _store(ledger: Ledger, found: Import, filename: str, sha256: str, person: str) -> ImportReport:
    problems = [{"line": problem.line, "reason": problem.reason} for problem in found.problems]
    return ledger.add_import(filename, sha256, found.rows, problems, person)
