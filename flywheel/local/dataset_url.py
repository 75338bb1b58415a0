"""Where a data set's files lie in the Data Store: `hf://datasets/NAMESPACE/NAME[@REVISION][/PATH]`.

Knows how such an address is read and which files it stands for. Knows no entity, and opens nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from flywheel.local.repos import Repos

_PREFIX = "hf://datasets/"


class DatasetUrl(NamedTuple):
    """A data set repo, and a file or folder in it ("" = all of it) at a revision."""

    namespace: str
    name: str
    path: str
    revision: str

    def __str__(self) -> str:
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{_PREFIX}{self.namespace}/{self.name}{revision}" + (f"/{self.path}" if self.path else "")


def parse_dataset_url(url: str) -> DatasetUrl:
    """Read an address. Raises ValueError with what was expected."""
    namespace, _, rest = url.removeprefix(_PREFIX).partition("/")
    repo, _, path = rest.partition("/")
    name, _, revision = repo.partition("@")
    if not url.startswith(_PREFIX) or not namespace or not name:
        raise ValueError(f"{url!r} is not the address of a data set in the Data Store; write {_PREFIX}NAMESPACE/NAME[/PATH]")
    return DatasetUrl(namespace, name, path.strip("/"), revision or "main")


def pinned(repos: Repos, url: DatasetUrl) -> DatasetUrl:
    """The same address at the commit that it stands for now. Raises RepoMissing, RevisionMissing."""
    return url._replace(revision=repos.resolve(repos.repo("datasets", url.namespace, url.name), url.revision).oid)


def split_files(repos: Repos, url: DatasetUrl, split: str) -> list[str]:
    """The paths of the `*.jsonl` files of one split: those in the folder of that name. Raises RepoMissing, RevisionMissing."""
    folder = f"{url.path}/{split}/".lstrip("/")
    files = repos.list_files("datasets", url.namespace, url.name, url.revision)
    return [file.path for file in files if file.path.startswith(folder) and file.path.endswith(".jsonl")]
