"""The store's schema as numbered migrations. A change to it is a new function at the end, never an edit.

Knows tables and columns only. Applied names are recorded in the database, so a file of any earlier version opens.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

MIGRATIONS = Migrations("flywheel")

FEEDBACK = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, person TEXT NOT NULL, title TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX conversations_person ON conversations (person, created_at);

CREATE TABLE turns (
    id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversations (id), position INTEGER NOT NULL,
    person TEXT NOT NULL, question TEXT NOT NULL,
    context TEXT NOT NULL,   -- JSON: the earlier messages that the model saw
    tools TEXT NOT NULL,     -- JSON: the tool schemas that the model saw
    model TEXT NOT NULL,     -- the served model's id
    status TEXT NOT NULL,    -- running | awaiting | answered | blocked | stopped | failed
    messages TEXT NOT NULL,  -- JSON: this turn from the user's message on, in OpenAI shape
    answer TEXT NOT NULL,
    verdicts TEXT NOT NULL,  -- JSON: what each rail said
    timings TEXT NOT NULL,   -- JSON: milliseconds by stage
    created_at TEXT NOT NULL, finished_at TEXT,
    UNIQUE (conversation_id, position)
) STRICT;
CREATE INDEX turns_created ON turns (created_at);

CREATE TABLE tool_calls (
    id TEXT PRIMARY KEY, turn_id TEXT NOT NULL REFERENCES turns (id), position INTEGER NOT NULL,
    name TEXT NOT NULL, arguments TEXT NOT NULL,
    status TEXT NOT NULL,    -- proposed | awaiting | refused | declined | done | failed
    result TEXT, error TEXT, duration_ms REAL
) STRICT;
CREATE INDEX tool_calls_turn ON tool_calls (turn_id, position);

CREATE TABLE ratings (
    turn_id TEXT NOT NULL REFERENCES turns (id), person TEXT NOT NULL,
    thumb TEXT,              -- up | down | NULL once withdrawn
    categories TEXT NOT NULL, opinion TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (turn_id, person)
) STRICT;

CREATE TABLE reviews (
    id INTEGER PRIMARY KEY, turn_id TEXT NOT NULL REFERENCES turns (id), reviewer TEXT NOT NULL,
    verdict TEXT NOT NULL,   -- approved | rejected | skipped
    response_override TEXT,  -- JSON: the assistant message that should have been; NULL = the answer stands
    example_id TEXT, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX reviews_turn ON reviews (turn_id, id);
"""

LEDGER = """
CREATE TABLE groups (
    id TEXT PRIMARY KEY,     -- a conversation, or the digest of an imported question
    side TEXT NOT NULL,      -- train | validation | holdout, for ever
    rule TEXT NOT NULL, decided_at TEXT NOT NULL
) STRICT;

CREATE TABLE examples (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, question_key TEXT NOT NULL,
    source TEXT NOT NULL,    -- correction | thumb_up | import
    group_id TEXT NOT NULL REFERENCES groups (id),
    messages TEXT NOT NULL, tools TEXT NOT NULL,
    turn_id TEXT REFERENCES turns (id), person TEXT, reviewer TEXT,
    import_id TEXT, line INTEGER,
    created_at TEXT NOT NULL, superseded_by TEXT
) STRICT;
CREATE INDEX examples_turn ON examples (turn_id);
CREATE INDEX examples_question ON examples (question_key);

CREATE TABLE imports (
    id TEXT PRIMARY KEY, filename TEXT NOT NULL, sha256 TEXT NOT NULL, accepted INTEGER NOT NULL, known INTEGER NOT NULL,
    problems TEXT NOT NULL, person TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id TEXT PRIMARY KEY, requested_by TEXT NOT NULL, created_at TEXT NOT NULL, finished_at TEXT,
    status TEXT NOT NULL,    -- queued | running | succeeded | failed | cancelled
    outcome TEXT,            -- promoted | waiting | rejected
    stages TEXT NOT NULL,    -- JSON: stage -> {status, started_at, finished_at, detail}
    progress TEXT NOT NULL,  -- JSON: {percent, eta_seconds, message}
    job_id TEXT, candidate TEXT, current TEXT, scores TEXT, verdict TEXT, error TEXT
) STRICT;
CREATE INDEX runs_created ON runs (created_at);

CREATE TABLE run_losses (
    run_id TEXT NOT NULL REFERENCES runs (id), split TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (run_id, split, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE datasets (
    id TEXT PRIMARY KEY,     -- the run's id
    digest TEXT NOT NULL, manifest TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;

CREATE TABLE dataset_examples (
    dataset_id TEXT NOT NULL REFERENCES datasets (id), example_id TEXT NOT NULL REFERENCES examples (id), split TEXT NOT NULL,
    PRIMARY KEY (dataset_id, example_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dataset_examples_example ON dataset_examples (example_id);

CREATE TABLE models (
    id TEXT PRIMARY KEY, base_model TEXT NOT NULL, run_id TEXT REFERENCES runs (id),
    status TEXT NOT NULL,    -- base | candidate | promoted | rejected
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE served (
    one INTEGER PRIMARY KEY CHECK (one = 1), model TEXT NOT NULL REFERENCES models (id), since TEXT NOT NULL
) STRICT;

CREATE TABLE promotions (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL REFERENCES models (id), previous TEXT,
    kind TEXT NOT NULL,      -- first | promote | rollback
    person TEXT NOT NULL, reason TEXT NOT NULL, run_id TEXT, created_at TEXT NOT NULL
) STRICT;

CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

QUEUE = """
CREATE INDEX ratings_thumb ON ratings (thumb, updated_at);
CREATE INDEX turns_finished ON turns (finished_at, id);
CREATE INDEX turns_status ON turns (status, id);
CREATE INDEX turns_ended ON turns (id, finished_at);
CREATE INDEX tool_calls_troubled ON tool_calls (status, turn_id);
CREATE INDEX reviews_example ON reviews (example_id);
"""

ERASURE = """
-- how many rows that it learned from were erased since
ALTER TABLE models ADD COLUMN erased_rows INTEGER NOT NULL DEFAULT 0;

CREATE TABLE erasures (
    id INTEGER PRIMARY KEY,
    person_hash TEXT NOT NULL,  -- keyed, so that only who knows the name can find the row
    report TEXT NOT NULL,       -- JSON: counts, models that had learned from them, copies that remain elsewhere
    started_at TEXT NOT NULL,
    finished_at TEXT            -- NULL: it was interrupted and must be repeated
) STRICT;
CREATE INDEX erasures_person ON erasures (person_hash);
"""

AUDIT = """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL,
    action TEXT NOT NULL,    -- a verb and its object, such as "promote model"
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,    -- JSON
    created_at TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit WHEN new.id <> old.id OR new.action <> old.action OR new.created_at <> old.created_at
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""

TURNING = """
-- JSON: see cost.py
ALTER TABLE runs ADD COLUMN cost TEXT;
-- when its files and its model went; the record stays
ALTER TABLE runs ADD COLUMN removed_at TEXT;
CREATE TABLE schedule (
    one INTEGER PRIMARY KEY CHECK (one = 1), cron TEXT NOT NULL,
    seen_at TEXT NOT NULL    -- up to when the times that this cron names were seen to
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,      -- ended, rejected, or the kind of a promotion
    run_id TEXT, model TEXT, created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at TEXT NOT NULL,
    settled_at TEXT          -- when it was delivered, given up, or had nowhere to go
) STRICT;
CREATE INDEX events_open ON events (due_at) WHERE settled_at IS NULL;
CREATE TABLE looks (person TEXT PRIMARY KEY, event INTEGER NOT NULL) STRICT;
CREATE TRIGGER run_ended AFTER UPDATE OF status ON runs
WHEN old.status IN ('queued', 'running') AND new.status NOT IN ('queued', 'running')
BEGIN INSERT INTO events (kind, run_id, model, created_at, due_at) VALUES ('ended', new.id, new.candidate, MOMENT, MOMENT); END;
CREATE TRIGGER model_moved AFTER INSERT ON promotions WHEN new.kind <> 'first'
BEGIN INSERT INTO events (kind, run_id, model, created_at, due_at) VALUES (new.kind, new.run_id, new.model, MOMENT, MOMENT); END;
CREATE TRIGGER model_set_aside AFTER UPDATE OF outcome ON runs
WHEN new.outcome = 'rejected' AND old.outcome IS NOT 'rejected'
BEGIN
INSERT INTO events (kind, run_id, model, created_at, due_at) VALUES ('rejected', new.id, new.candidate, MOMENT, MOMENT); END;
""".replace("MOMENT", "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")


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
def m012_turning(database: Database) -> None:
    """The schedule's memory, what happened and who has seen it, what a run cost, and when its files went.

    Triggers write the events, so that none is lost whichever process or module ends a run or moves the served row.
    """
    _run(database, TURNING)
