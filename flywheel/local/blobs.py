"""File contents on disk, each once, named by its SHA-256.

Knows bytes and digests. Knows neither the files' names nor who refers to them: that is `repos`. A content is written to
`incoming/`, brought safely to disk and only then moved to its place: a crash or a full disk leaves no half-written blob behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

_CHUNK = 1 << 20


class Staged(NamedTuple):
    """A content on disk that has no place yet: its file, the two digests clients ask for, and its size in bytes."""

    file: Path
    sha256: str
    git_oid: str
    size: int


class Blobs:
    """The contents under `root/blobs`, on their way there through `root/incoming`."""

    def __init__(self, root: Path) -> None:
        """Create both folders; what a crashed process left in `incoming` is thrown away."""
        self._placed, self._incoming = root / "blobs", root / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._placed, self._incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def stage(self, content: bytes | Path) -> Staged:
        """Write a content, given as bytes or as a file to copy, to disk and measure it. Where it raises, it leaves nothing."""
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        origin = content.open("rb") if isinstance(content, Path) else BytesIO(content)
        handle, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(handle, "wb") as target, origin as source:
                return Staged(Path(name), *_write(source, size, target), size)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def place(self, staged: Staged) -> None:
        """Move a staged content to its place; where the same content already lies there, drop the new copy."""
        target = self.path(staged.sha256)
        if target.exists():
            return self.discard(staged)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        staged.file.replace(target)
        _sync_folder(target.parent)

    def discard(self, staged: Staged) -> None:
        """Drop a staged content."""
        staged.file.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the content with that digest lies, or would lie."""
        return self._placed / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        """Erase a content that nobody refers to any longer."""
        self.path(sha256).unlink(missing_ok=True)


def _write(source: IO[bytes], size: int, target: IO[bytes]) -> tuple[str, str]:
    """Copy to disk, past the cache; return the SHA-256 and the digest by which git names a file of `size` bytes."""
    sha256, git_oid = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    while chunk := source.read(_CHUNK):
        sha256.update(chunk)
        git_oid.update(chunk)
        target.write(chunk)
    target.flush()
    os.fsync(target.fileno())
    return sha256.hexdigest(), git_oid.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
