"""The store's schema as numbered migrations. A change to it is a new function at the end, never an edit.

Applied names are recorded in the database, so a file of any earlier version opens. The SQL is in migration_scripts.py.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from flywheel.migration_scripts import (
    AUDIT,
    CANARY,
    CHAT,
    COMPARISON,
    CURATION,
    DESK,
    ERASURE,
    FEEDBACK,
    INTAKE,
    LEDGER,
    OUTBOX,
    PEOPLE,
    QUEUE,
    STALE_WITH,
    TURNING,
)

MIGRATIONS = Migrations("flywheel")


def _run(database: Database, script: str) -> None:
    """Execute statement by statement: `executescript` would commit the migration's own transaction."""
    for statement in script.split(";\n"):
        if statement.strip():
            database.execute(statement)


@MIGRATIONS()
def m001_feedback(database: Database) -> None:
    """Conversations, turns, tool calls, ratings and reviews."""
    _run(database, FEEDBACK)


@MIGRATIONS()
def m002_ledger(database: Database) -> None:
    """Examples and their sides, imports, runs, datasets, models and the one row that says which model serves."""
    _run(database, LEDGER)


@MIGRATIONS()
def m003_queue(database: Database) -> None:
    """Indexes for the review queue and for the turns behind an example."""
    _run(database, QUEUE)


@MIGRATIONS()
def m004_erasure(database: Database) -> None:
    """What was erased, and which models had learned from it."""
    _run(database, ERASURE)


@MIGRATIONS()
def m005_audit(database: Database) -> None:
    """The log of what not everybody may do; only a person's name in it can change, when they are erased."""
    _run(database, AUDIT)


@MIGRATIONS()
def m006_people(database: Database) -> None:
    """People with their roles, where they are signed in, and the tries that failed."""
    _run(database, PEOPLE)


@MIGRATIONS()
def m007_intake(database: Database) -> None:
    """What is to be told to Intake, and what came from there; all that was said so far is told first."""
    _run(database, INTAKE + OUTBOX)
    said = "SELECT turn_id FROM ratings WHERE thumb IS NOT NULL UNION SELECT turn_id FROM reviews"
    database.execute(f"INSERT INTO intake_outbox (turn_id) {said}")


@MIGRATIONS()
def m008_desk(database: Database) -> None:
    """The review desk: a queue that fills itself, claims, causes, second reviewers and confidence."""
    _run(database, DESK)
    for table, column in STALE_WITH.items():
        for event in ("INSERT", "UPDATE"):
            # not by OR IGNORE: the conflict clause of the statement that fires a trigger goes before the trigger's own
            database.execute(
                f"CREATE TRIGGER review_stale_{table}_{event} AFTER {event} ON {table} BEGIN INSERT INTO review_stale"
                f" SELECT new.{column} WHERE NOT EXISTS (SELECT 1 FROM review_stale WHERE turn_id = new.{column}); END"
            )


@MIGRATIONS()
def m009_chat(database: Database) -> None:
    """Conversations that their person deleted; turns that were retried, edited or taken back."""
    _run(database, CHAT)


@MIGRATIONS()
def m010_curation(database: Database) -> None:
    """What was masked, what is in quarantine, and for which kind of row a side was drawn."""
    _run(database, CURATION)


@MIGRATIONS()
def m011_canary(database: Database) -> None:
    """Candidates on trial with a share of the conversations; by which recipe a run trains."""
    _run(database, CANARY)


@MIGRATIONS()
def m012_turning(database: Database) -> None:
    """The schedule's memory, what happened and who has seen it, what a run cost, and when its files went.

    Triggers write the events, so that none is lost whichever process or module ends a run or moves the served row.
    """
    _run(database, TURNING)


@MIGRATIONS()
def m013_comparison(database: Database) -> None:
    """Runs that train several candidates, each from a data set of its own, and why a model was set aside."""
    _run(database, COMPARISON)
