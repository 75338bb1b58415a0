"""Data Store repos: named files under commits, for data sets and for models. Also the way to them without HTTP.

Knows names, commits and which content a name stands for at which commit. Knows neither HTTP (`datastore`) nor how contents lie on
disk (`blobs`). A commit is there whole or not at all, and its id differs from every other, since clients cache by it.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from sqlite_utils import Database, Migrations

from flywheel.local.blobs import Blobs, Staged
from flywheel.local.state import State, now

RepoKind = Literal["datasets", "models"]

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@+-]{0,94}[A-Za-z0-9_+-])?")
_LONGEST_PATH = 1024
_LONGEST_PART = 255

migrations = Migrations("repos")


@migrations()
def m001_repos(db: Database) -> None:
    """Namespaces hold repos, repos hold commits, a commit names every file that is there at that moment."""
    db.execute("CREATE TABLE store_namespaces (name TEXT PRIMARY KEY, created_at TEXT NOT NULL)")
    db.execute(
        """CREATE TABLE repos (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, namespace TEXT NOT NULL REFERENCES store_namespaces (name), name TEXT NOT NULL,
            private INTEGER NOT NULL, created_at TEXT NOT NULL,
            UNIQUE (kind, namespace, name)
        )"""
    )
    db.execute(
        """CREATE TABLE commits (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            repo INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
            oid TEXT NOT NULL UNIQUE, title TEXT NOT NULL, message TEXT NOT NULL, created_at TEXT NOT NULL
        )"""
    )
    db.execute("CREATE INDEX commits_of_repo ON commits (repo, id)")
    db.execute(
        """CREATE TABLE committed_files (
            "commit" INTEGER NOT NULL REFERENCES commits (id) ON DELETE CASCADE,
            path TEXT NOT NULL, sha256 TEXT NOT NULL, git_oid TEXT NOT NULL, size INTEGER NOT NULL,
            PRIMARY KEY ("commit", path)
        ) WITHOUT ROWID"""
    )
    db.execute("CREATE INDEX files_of_content ON committed_files (sha256)")


class RepoMissing(LookupError):
    """There is no repo of that name."""


class RevisionMissing(LookupError):
    """The repo has no such commit: a revision is `main` or the id of a commit."""


class BadName(ValueError):
    """A name or a path inside a repo that cannot be: too long, empty, with forbidden characters or leading out of the repo."""


class Taken(Exception):
    """The name is in use, or what is to be deleted still is."""


class Stale(Exception):
    """The commit was meant to follow another one than the newest."""


class RepoFile(NamedTuple):
    """One file of a commit: path in the repo, digests of its content, size in bytes."""

    path: str
    sha256: str
    git_oid: str
    size: int


class Commit(NamedTuple):
    """One commit of a repo; dates are naive ISO in UTC."""

    number: int
    oid: str
    title: str
    message: str
    created_at: str


class Repo(NamedTuple):
    """A repo's row."""

    number: int
    kind: RepoKind
    namespace: str
    name: str
    private: bool
    created_at: str

    @property
    def full_name(self) -> str:
        """`namespace/name`, as clients write it."""
        return f"{self.namespace}/{self.name}"


class Repos:
    """All repos of one platform. May be used from several threads."""

    def __init__(self, state: State) -> None:
        """Bring the tables up to date and open the folder of contents beside the state's file."""
        self._state = state
        self.blobs = Blobs(state.root)
        with state.transaction() as db:
            migrations.apply(db)

    # Namespaces

    def create_namespace(self, name: str) -> None:
        """Raises Taken, BadName."""
        check_name(name)
        with self._state.transaction() as db:
            if self.namespace_created_at(name):
                raise Taken(f"namespace {name!r} already exists; use it as it is")
            db.execute("INSERT INTO store_namespaces VALUES (?, ?)", (name, now()))

    def namespace_created_at(self, name: str) -> str | None:
        """When the namespace was made, naive ISO in UTC, or None where there is none."""
        return dict(self.namespaces()).get(name)

    def namespaces(self) -> list[tuple[str, str]]:
        """Name and date of every namespace, by name."""
        with self._state.transaction() as db:
            return list(db.execute("SELECT name, created_at FROM store_namespaces ORDER BY name"))

    def delete_namespace(self, name: str) -> bool:
        """False where there is none. Raises Taken while it holds repos."""
        with self._state.transaction() as db:
            if db.execute("SELECT 1 FROM repos WHERE namespace = ?", (name,)).fetchone():
                raise Taken(f"namespace {name!r} still holds repos; delete them first")
            return bool(db.execute("DELETE FROM store_namespaces WHERE name = ?", (name,)).rowcount)

    # Repos

    def create(self, kind: RepoKind, namespace: str, name: str, *, private: bool = False) -> Repo:
        """A new repo with one empty commit, so that it has a head; makes its namespace too if need be. Raises Taken, BadName."""
        check_name(namespace)
        check_name(name)
        with self._state.transaction() as db:
            if self._find(kind, namespace, name):
                raise Taken(f"repo {namespace + '/' + name!r} already exists among the {kind}; use it or delete it first")
            db.execute("INSERT OR IGNORE INTO store_namespaces VALUES (?, ?)", (namespace, now()))
            row = (kind, namespace, name, private, now())
            db.execute("INSERT INTO repos (kind, namespace, name, private, created_at) VALUES (?, ?, ?, ?, ?)", row)
            repo = self.repo(kind, namespace, name)
            self._record(db, repo, "initial commit", "", [])
        return repo

    def repo(self, kind: RepoKind, namespace: str, name: str) -> Repo:
        """The repo of that name. Raises RepoMissing."""
        found = self._find(kind, namespace, name)
        if found is None:
            raise RepoMissing(f"repo {namespace + '/' + name!r} is not among the {kind}; create it first")
        return found

    def repos(self, kind: RepoKind, namespace: str | None = None) -> list[Repo]:
        """All repos of a kind, or those of one namespace, newest first."""
        where, values = ("kind = ?", [kind]) if namespace is None else ("kind = ? AND namespace = ?", [kind, namespace])
        with self._state.transaction() as db:
            return [_repo(row) for row in db.execute(f"{_SELECT_REPO} WHERE {where} ORDER BY id DESC", values)]

    def delete(self, kind: RepoKind, namespace: str, name: str) -> None:
        """Remove a repo, its commits, and from the disk every content that no other repo holds. Raises RepoMissing."""
        with self._state.transaction() as db:
            repo = self.repo(kind, namespace, name)
            held = {file.sha256 for commit in self.commits(repo) for file in self.files(commit)}
            # Foreign keys are not switched on for the shared connection: delete from the leaves up.
            db.execute('DELETE FROM committed_files WHERE "commit" IN (SELECT id FROM commits WHERE repo = ?)', (repo.number,))
            db.execute("DELETE FROM commits WHERE repo = ?", (repo.number,))
            db.execute("DELETE FROM repos WHERE id = ?", (repo.number,))
        # In a transaction of its own, after the first one is safe on disk: a content too many is harmless, one too few is not.
        with self._state.transaction() as db:
            for sha256 in held:
                if not db.execute("SELECT 1 FROM committed_files WHERE sha256 = ?", (sha256,)).fetchone():
                    self.blobs.remove(sha256)

    # Commits

    def commits(self, repo: Repo) -> list[Commit]:
        """All commits, newest first; there is always one."""
        with self._state.transaction() as db:
            return [Commit(*row) for row in db.execute(f"{_SELECT_COMMIT} WHERE repo = ? ORDER BY id DESC", (repo.number,))]

    def resolve(self, repo: Repo, revision: str = "main") -> Commit:
        """The commit that `main` or a commit's id stands for. Raises RevisionMissing."""
        where, values = ("repo = ?", [repo.number]) if revision == "main" else ("repo = ? AND oid = ?", [repo.number, revision])
        with self._state.transaction() as db:
            row = db.execute(f"{_SELECT_COMMIT} WHERE {where} ORDER BY id DESC LIMIT 1", values).fetchone()
        if row is None:
            raise RevisionMissing(f"repo {repo.full_name!r} has no revision {revision!r}; take 'main' or a commit's full id")
        return Commit(*row)

    def files(self, commit: Commit) -> list[RepoFile]:
        """Every file of a commit, by path."""
        with self._state.transaction() as db:
            return [RepoFile(*row) for row in db.execute(f'{_SELECT_FILES} WHERE "commit" = ? ORDER BY path', (commit.number,))]

    def list_files(self, kind: RepoKind, namespace: str, name: str, revision: str = "main") -> list[RepoFile]:
        """Every file of a repo at a revision, by path. Raises RepoMissing, RevisionMissing."""
        return self.files(self.resolve(self.repo(kind, namespace, name), revision))

    def open_file(self, kind: RepoKind, namespace: str, name: str, path: str, revision: str = "main") -> Path | None:
        """Where a file's content lies on disk, to be read only, or None where repo, revision or file are missing."""
        try:
            files = self.list_files(kind, namespace, name, revision)
        except (RepoMissing, RevisionMissing):
            return None
        return next((self.blobs.path(file.sha256) for file in files if file.path == path), None)

    def commit(
        self, kind: RepoKind, namespace: str, name: str, files: Mapping[str, bytes | Path], message: str = "Upload files"
    ) -> str:
        """Add or replace files, given as bytes or as files to copy, in one commit, and return its id.

        Raises RepoMissing, BadName, OSError.
        """
        repo = self.repo(kind, namespace, name)
        staged: dict[str, Staged] = {}
        try:
            for path, content in files.items():
                staged[check_path(path)] = self.blobs.stage(content)
            return self.commit_staged(repo, staged, title=message).oid
        finally:
            self.discard(staged)

    def commit_staged(
        self,
        repo: Repo,
        staged: Mapping[str, Staged],
        *,
        title: str,
        message: str = "",
        deleted: Sequence[str] = (),
        parent: str | None = None,
    ) -> Commit:
        """Put staged contents in place and commit them on top of the newest commit, after taking away `deleted`.

        deleted names files, or folders with a `/` at the end. parent, if given, must be the newest commit's id. The caller
        discards what is staged when this raises RepoMissing, Stale or BadName.
        """
        with self._state.transaction() as db:
            head = self.resolve(self.repo(repo.kind, repo.namespace, repo.name))
            if parent not in (None, head.oid):
                raise Stale(f"repo {repo.full_name!r} has moved on from {parent!r} to {head.oid!r}; look at it and commit again")
            kept = {file.path: file for file in self.files(head) if not _is_deleted(file.path, deleted)}
            for path, content in staged.items():
                # Placed inside the transaction, that a deletion elsewhere cannot take the content away in between.
                self.blobs.place(content)
                kept[path] = RepoFile(path, content.sha256, content.git_oid, content.size)
            _check_folders(kept)
            return self._record(db, repo, title, message, list(kept.values()))

    def discard(self, staged: Mapping[str, Staged]) -> None:
        """Drop staged contents that were not committed; those that were are no longer there to drop."""
        for content in staged.values():
            self.blobs.discard(content)

    def _record(self, db: Database, repo: Repo, title: str, message: str, files: Sequence[RepoFile]) -> Commit:
        # Two commits of the same files in the same moment must differ too.
        oid = hashlib.sha1(uuid.uuid4().bytes + repo.full_name.encode(), usedforsecurity=False).hexdigest()
        row = (repo.number, oid, title, message, now())
        db.execute("INSERT INTO commits (repo, oid, title, message, created_at) VALUES (?, ?, ?, ?, ?)", row)
        commit = self.resolve(repo, oid)
        db.conn.executemany("INSERT INTO committed_files VALUES (?, ?, ?, ?, ?)", [(commit.number, *file) for file in files])
        return commit

    def _find(self, kind: RepoKind, namespace: str, name: str) -> Repo | None:
        with self._state.transaction() as db:
            where = "WHERE kind = ? AND namespace = ? AND name = ?"
            row = db.execute(f"{_SELECT_REPO} {where}", (kind, namespace, name)).fetchone()
        return _repo(row) if row else None


_SELECT_REPO = "SELECT id, kind, namespace, name, private, created_at FROM repos"
_SELECT_FILES = "SELECT path, sha256, git_oid, size FROM committed_files"
_SELECT_COMMIT = "SELECT id, oid, title, message, created_at FROM commits"


def check_name(name: str) -> str:
    """Return the name of a namespace or repo, or raise BadName."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadName(f"{name[:120]!r} cannot be a name: take up to 96 letters, digits, '_', '-', '.', '@' or '+', not '..'")
    return name


def check_path(path: str) -> str:
    """Return the path of a file inside a repo, or raise BadName."""
    parts = path.split("/")
    wrong = (
        len(path) > _LONGEST_PATH
        or any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > _LONGEST_PART for part in parts)
        or not path.isprintable()
        or "\\" in path
    )
    if wrong:
        raise BadName(f"{path[:120]!r} cannot be a path: take a relative one without '..', '\\' and control characters")
    return path


def _repo(row: tuple[int, RepoKind, str, str, int, str]) -> Repo:
    return Repo(row[0], row[1], row[2], row[3], bool(row[4]), row[5])


def _is_deleted(path: str, deleted: Sequence[str]) -> bool:
    return any(path.startswith(gone) if gone.endswith("/") else path == gone for gone in deleted)


def _check_folders(files: Mapping[str, RepoFile]) -> None:
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise BadName(f"{path!r} cannot be a path: {str(parent)!r} is a file, not a folder; delete it first")
