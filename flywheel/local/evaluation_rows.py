"""The rows of an evaluation's tasks: from the Data Store, from a data set of the Entity Store, or sent along with the target.

Knows files of JSON objects (one a line, or one array in a `.json` file). Knows no template, no metric and no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from flywheel.local.dataset_url import parse_dataset_url
from flywheel.local.evaluation import DatasetRef, EvaluationTarget, Task
from flywheel.local.inference import EvaluationFailed, Params
from flywheel.local.repos import RepoMissing, Repos, RevisionMissing
from flywheel.local.state import State

Row = dict[str, Any]


class RowSource:
    """Where the rows of one evaluation come from."""

    def __init__(self, state: State, repos: Repos, target: EvaluationTarget, params: Params) -> None:
        """A task without a data set of its own takes the target's rows; `params` may limit them all."""
        self._state, self._repos, self._target, self._params = state, repos, target, params

    def rows(self, task: Task) -> list[Row]:
        """The task's rows, as many as its limits allow; there is at least one. Raises EvaluationFailed."""
        dataset = task.dataset or self._target.dataset
        if dataset is None:
            found = (self._target.rows or [])[: self._params.limit_samples]
            shown = "the target"
        else:
            shown, limits = self._files_url(dataset)
            limit = min((number for number in limits if number), default=None)
            found = list(islice(_read(self._files(shown)), limit))
            shown = f"Dataset {shown}"
        if not found:
            raise EvaluationFailed(f"{shown} holds no rows")
        return found

    def _files_url(self, dataset: str | DatasetRef) -> tuple[str, tuple[int | None, ...]]:
        if not isinstance(dataset, str):
            return dataset.files_url, (dataset.limit, self._params.limit_samples)
        namespace, slash, name = dataset.partition("/")
        entity = self._state.get("dataset", *((namespace, name) if slash else ("default", namespace)))
        if entity is None:
            raise EvaluationFailed(f"Dataset {dataset} does not exist in the Entity Store; create it first")
        return entity["files_url"], (entity["limit"], self._params.limit_samples)

    def _files(self, address: str) -> list[tuple[str, Path]]:
        try:
            url = parse_dataset_url(address)
            paths = [file.path for file in self._repos.list_files("datasets", url.namespace, url.name, url.revision)]
        except ValueError as error:
            raise EvaluationFailed(str(error)) from error
        except (RepoMissing, RevisionMissing) as error:
            raise EvaluationFailed(f"Dataset {address} is not present on datastore: {error}") from error
        folder = f"{url.path}/" if url.path else ""
        chosen = [path for path in paths if path == url.path or (path.startswith(folder) and path.endswith(".jsonl"))]
        blobs = [(path, self._repos.open_file("datasets", url.namespace, url.name, path, url.revision)) for path in chosen]
        found = [(path, blob) for path, blob in blobs if blob is not None]
        if not found:
            raise EvaluationFailed(f"Dataset {address} is not present on datastore: the repo has no such file")
        return found


def _read(files: Iterable[tuple[str, Path]]) -> Iterable[Row]:
    for name, path in files:
        if name.endswith(".json"):
            rows = _parsed(path.read_bytes(), name)
            for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
                yield _object(row, f"{name}: entry {number}")
            continue
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _object(_parsed(line, f"{name}:{number}"), f"{name}:{number}")


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise EvaluationFailed(f"{where}: not JSON: {error}") from None


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise EvaluationFailed(f"{where}: a row must be a JSON object")
    return row
