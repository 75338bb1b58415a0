"""The SQL of the migrations, in the order in which they were added. A script that was released is never edited.

Knows tables and columns only; which script belongs to which number, migrations.py says.
"""

from __future__ import annotations

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
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
WHEN new.id <> old.id OR new.action <> old.action OR new.created_at <> old.created_at
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""

PEOPLE = """
CREATE TABLE people (
    name TEXT PRIMARY KEY,      -- as it stands with ratings and reviews
    display_name TEXT NOT NULL,
    roles TEXT NOT NULL,        -- JSON
    password_hash TEXT,         -- argon2; NULL: signs in at the identity provider only
    one_time INTEGER NOT NULL,  -- 1: the password was chosen by somebody else, and is good for choosing one's own
    subject TEXT UNIQUE,        -- issuer and sub of the identity provider's account
    disabled INTEGER NOT NULL, created_at TEXT NOT NULL
) STRICT;

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY, person TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE,
    browser TEXT NOT NULL, created_at TEXT NOT NULL, last_seen TEXT NOT NULL, expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_person ON sessions (person);

CREATE TABLE failed_sign_ins (
    who TEXT NOT NULL,          -- a keyed hash of the name that was typed, or of the address that it came from
    failed_at TEXT NOT NULL
) STRICT;
CREATE INDEX failed_sign_ins_who ON failed_sign_ins (who, failed_at);
CREATE INDEX audit_subject ON audit (subject, person);
"""

INTAKE = """
CREATE TABLE intake_outbox (  -- turns of which something was said, unsaid or deleted that Intake has not heard yet
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    turn_id TEXT NOT NULL    -- refers to nothing: the turn may be gone, and then its entry must go
) STRICT;
CREATE INDEX intake_outbox_turn ON intake_outbox (turn_id, id);

CREATE TABLE intake_entries (
    turn_id TEXT PRIMARY KEY,
    rating TEXT NOT NULL, review TEXT NOT NULL  -- digests of what Intake was told
) STRICT;

CREATE TABLE intake_events ( -- what others said there and was looked at already
    id TEXT PRIMARY KEY, turn_id TEXT NOT NULL
) STRICT;

CREATE TABLE intake_cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1), updated_at TEXT NOT NULL  -- Intake's own clock
) STRICT;

CREATE TABLE proposals (
    id TEXT PRIMARY KEY, turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE, person TEXT NOT NULL,
    response TEXT NOT NULL,  -- JSON: the assistant message that should have been, as somebody elsewhere sees it
    opinion TEXT NOT NULL, created_at TEXT NOT NULL
) STRICT;
CREATE INDEX proposals_turn ON proposals (turn_id, created_at);
"""
OUTBOX = "".join(
    f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} {condition.format(row)}\n"
    f"BEGIN DELETE FROM intake_outbox WHERE turn_id = {row}.turn_id;"
    f" INSERT INTO intake_outbox (turn_id) VALUES ({row}.turn_id); END;\n"
    for table, condition in (("ratings", "WHEN {}.person NOT LIKE 'intake:%'"), ("reviews", ""))
    for event, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old"))
)
"""Whoever writes a rating or a review, in whichever way: what becomes of it at Intake stands in the same transaction."""

DESK = """
-- cause: model | tool | rail | other, NULL where nobody was asked; suggested_by: the teacher with whose suggestion it began,
-- seconds: from opening the turn to deciding; provisional 1: another reviewer decides on it too
ALTER TABLE reviews ADD COLUMN cause TEXT;
ALTER TABLE reviews ADD COLUMN suggested_by TEXT;
ALTER TABLE reviews ADD COLUMN seconds REAL;
ALTER TABLE reviews ADD COLUMN provisional INTEGER NOT NULL DEFAULT 0;
CREATE INDEX reviews_reviewer ON reviews (reviewer, id);

-- how sure the model was of its first decision; natural-log probabilities
CREATE TABLE confidences (
    turn_id TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, model TEXT NOT NULL,
    mean_logprob REAL NOT NULL, margin REAL NOT NULL, tokens INTEGER NOT NULL
) STRICT;
CREATE INDEX confidences_model ON confidences (model);

-- what another model said to the same question
CREATE TABLE second_looks (
    turn_id TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, model TEXT NOT NULL,
    response TEXT NOT NULL,  -- JSON: its assistant message
    differs INTEGER NOT NULL, created_at TEXT NOT NULL
) STRICT;

CREATE TABLE review_claims (
    turn_id TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, reviewer TEXT NOT NULL,
    since TEXT NOT NULL, until TEXT NOT NULL
) STRICT;
CREATE INDEX review_claims_reviewer ON review_claims (reviewer);

-- every finished turn and why it should be looked at; made anew of the other tables whenever review_stale names the turn
CREATE TABLE review_queue (
    turn_id TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    waiting INTEGER NOT NULL,  -- 1: somebody has to decide
    state TEXT NOT NULL,       -- quiet | open | second | third | done
    rank INTEGER NOT NULL,     -- of the most urgent reason, 0 first
    moment TEXT NOT NULL,      -- when that came up
    since TEXT NOT NULL,       -- decisions before this moment no longer count
    reasons TEXT NOT NULL,     -- JSON: reason -> words
    called TEXT NOT NULL,      -- names of the tools, with a comma after each
    person TEXT NOT NULL, model TEXT NOT NULL, asked_at TEXT NOT NULL, question TEXT NOT NULL,
    question_key TEXT NOT NULL,
    offered TEXT NOT NULL      -- digest of the tools that the model saw
) STRICT;
CREATE INDEX review_queue_urgent ON review_queue (waiting, rank, moment DESC);
CREATE INDEX review_queue_moment ON review_queue (waiting, moment);
CREATE INDEX review_queue_question ON review_queue (question_key);

CREATE TABLE review_stale (turn_id TEXT PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE) STRICT;
INSERT INTO review_stale SELECT id FROM turns WHERE finished_at IS NOT NULL;
"""
STALE_WITH = {"turns": "id", "ratings": "turn_id", "reviews": "turn_id", "confidences": "turn_id", "second_looks": "turn_id",
              "proposals": "turn_id"}  # fmt: skip
"""Table → its column with the turn whose place in the queue is in question when a row is new or changes."""

CHAT = """
-- by its person, who sees it no more
ALTER TABLE conversations ADD COLUMN deleted_at TEXT;
-- retried | edited | undone: no longer part of the conversation
ALTER TABLE turns ADD COLUMN set_aside TEXT;
CREATE INDEX turns_conversation ON turns (conversation_id, created_at) WHERE set_aside IS NULL;
"""

CURATION = """
-- JSON: identifiers masked in the row, kind -> how many; NULL: stored before they were masked
ALTER TABLE examples ADD COLUMN masked TEXT;
-- why it is in quarantine; it stays there until a developer releases it, and is not put there again
ALTER TABLE examples ADD COLUMN held TEXT;
ALTER TABLE examples ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
-- the kind of row for which the side was drawn; NULL: it follows another group, or a rule
ALTER TABLE groups ADD COLUMN stratum TEXT;
CREATE INDEX groups_stratum ON groups (stratum);
CREATE INDEX examples_held ON examples (held) WHERE held IS NOT NULL;
"""

CANARY = """
CREATE TABLE canaries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL REFERENCES models (id), current TEXT NOT NULL, run_id TEXT,
    share REAL NOT NULL, conversations INTEGER NOT NULL, alpha REAL NOT NULL,
    status TEXT NOT NULL,    -- running | promoted | rolled_back | ended
    reason TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT
) STRICT;
CREATE UNIQUE INDEX canaries_running ON canaries (status) WHERE status = 'running';
-- sft | dpo
ALTER TABLE runs ADD COLUMN recipe TEXT NOT NULL DEFAULT 'sft';
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

COMPARISON = """
-- JSON: sft | dpo -> {model, job_id, scores, reason}; candidate is the one that is judged
ALTER TABLE runs ADD COLUMN candidates TEXT NOT NULL DEFAULT '{}';
UPDATE runs SET candidates = json_object(recipe, json_object('model', candidate, 'job_id', job_id)) WHERE candidate IS NOT NULL;
-- a run that compares recipes makes a data set for each
ALTER TABLE datasets ADD COLUMN run_id TEXT;
UPDATE datasets SET run_id = id;
-- the data set that it learned from, and why it was set aside
ALTER TABLE models ADD COLUMN dataset_id TEXT;
ALTER TABLE models ADD COLUMN reason TEXT;
UPDATE models SET dataset_id = run_id;
"""
