"""Runs an evaluation: rows from the Data Store, requests to an inference server, scores per row and over all rows.

Knows HTTP towards the model and how many requests go at once. Knows no job: it tells whoever asked how far it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from flywheel.local.dataset_url import parse_dataset_url
from flywheel.local.evaluation import EvaluationConfig, EvaluationTarget, Params, Task
from flywheel.local.evaluation_task import Scores, TaskError, request_body, scored
from flywheel.local.metrics import summary
from flywheel.local.repos import RepoMissing, Repos, RevisionMissing
from flywheel.local.state import State

FIRST_WAIT = 0.5
SHOWN = 500
_BUSY = (408, 409, 425, 429)


class EvaluationFailed(Exception):
    """The evaluation cannot be done; the text is the reason, for the person who started it."""


@dataclass(frozen=True)
class Sample:
    """One evaluated row: its place in its task's data, the answer's message and what it scored.

    error says why there is no answer; such a row scores 0 everywhere.
    """

    index: int
    task: str
    item: Mapping[str, Any]
    response: dict[str, Any] | None
    scores: Scores
    error: str | None

    def line(self) -> str:
        """As a JSON line. Scores are flat; one whose name is taken bears its metric's name in front."""
        flat: dict[str, int] = {}
        for metric, values in self.scores.items():
            flat.update({f"{metric}.{name}" if name in flat else name: int(value) for name, value in values.items()})
        return json.dumps({**asdict(self), "scores": flat}, ensure_ascii=False)


Progress = Callable[[Sample, int], Awaitable[None]]
"""Called after every row with it and the number of all rows."""


class Evaluation:
    """One config applied to one target."""

    def __init__(self, state: State, repos: Repos, nim_url: str, config: EvaluationConfig, target: EvaluationTarget) -> None:
        """Models without an endpoint of their own are asked at `nim_url`."""
        self._state, self._repos = state, repos
        self._config = config
        self._params = config.params or Params()
        self._model, self._url, key = _address(target, nim_url)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._params.request_timeout, connect=10.0),
            # A proxy of the environment is for the world outside, not for the server on this machine.
            trust_env=not self._url.startswith(nim_url),
        )

    async def run(self, progress: Progress) -> list[Sample]:
        """Evaluate every row of every task, in order of tasks and rows. Raises EvaluationFailed."""
        async with self._client:
            rows = {name: await asyncio.to_thread(self._rows, task) for name, task in self._config.tasks.items()}
            total = sum(map(len, rows.values()))
            found = []
            for name, task in self._config.tasks.items():
                found += await self._run_task(name, task, rows[name], lambda sample: progress(sample, total))
        return found

    async def _run_task(
        self, name: str, task: Task, rows: Sequence[Mapping[str, Any]], done: Callable[[Sample], Awaitable[None]]
    ) -> list[Sample]:
        places = asyncio.Semaphore(self._params.parallelism)

        async def one(index: int, row: Mapping[str, Any]) -> Sample:
            async with places:
                sample = await self._sample(name, task, index, row)
            await done(sample)
            return sample

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one(index, row)) for index, row in enumerate(rows)]
        except* EvaluationFailed as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in running]

    async def _sample(self, name: str, task: Task, index: int, row: Mapping[str, Any]) -> Sample:
        try:
            scored(task, row, None)  # a ground truth that cannot be read is the data's fault: say so before asking the model
            response, refusal = await self._ask(request_body(task, row))
            scores = scored(task, row, response)
        except TaskError as error:
            raise EvaluationFailed(f"task {name!r}, row {index + 1}: {error}") from error
        return Sample(index, name, row, response["choices"][0]["message"] if response else None, scores, refusal)

    async def _ask(self, body: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
        """The completion, or why the server refused this one request. Raises EvaluationFailed where it cannot serve at all."""
        sampling = {key: getattr(self._params, key) for key in ("max_tokens", "temperature", "top_p", "stop")}
        sampling = {key: value for key, value in sampling.items() if value is not None}
        body = {"model": self._model, **sampling, **(self._params.extra or {}), **body}
        for attempt in range(self._params.max_retries + 1):
            problem = f"the inference server at {self._url} "
            try:
                reply = await self._client.post(self._url, json=body)
            except httpx.HTTPError as error:
                problem += f"is unreachable: {type(error).__name__} {error}".rstrip()
            else:
                if reply.is_success:
                    return _completion(reply, problem), None
                problem += f"answered {reply.status_code}: {_said(reply)}"
                if reply.status_code in (401, 403, 404):
                    raise EvaluationFailed(f"the model {self._model!r} cannot be asked: {problem}")
                if reply.status_code < 500 and reply.status_code not in _BUSY:
                    return None, problem
            if attempt < self._params.max_retries:
                await asyncio.sleep(FIRST_WAIT * 2**attempt)
        raise EvaluationFailed(problem)

    def _rows(self, task: Task) -> list[dict[str, Any]]:
        url, limits = self._files_url(task)
        files = self._files(url)
        limit = min((number for number in limits if number), default=None)
        rows = list(islice(_read(files), limit))
        if not rows:
            raise EvaluationFailed(f"Dataset {url} holds no rows")
        return rows

    def _files_url(self, task: Task) -> tuple[str, tuple[int | None, ...]]:
        if not isinstance(task.dataset, str):
            return task.dataset.files_url, (task.dataset.limit, self._params.limit_samples)
        namespace, slash, name = task.dataset.partition("/")
        entity = self._state.get("dataset", *((namespace, name) if slash else ("default", namespace)))
        if entity is None:
            raise EvaluationFailed(f"Dataset {task.dataset} does not exist in the Entity Store; create it first")
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


def task_results(samples: Iterable[Sample]) -> dict[str, Any]:
    """All scores in the Evaluator's shape: task → metrics → scores → value and stats."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for sample in samples:
        for metric, scores in sample.scores.items():
            for score, value in scores.items():
                values.setdefault(sample.task, {}).setdefault(metric, {}).setdefault(score, []).append(value)
    return {
        task: {
            "metrics": {
                metric: {"scores": {score: summary(numbers) for score, numbers in scores.items()}}
                for metric, scores in metrics.items()
            }
        }
        for task, metrics in values.items()
    }


def _address(target: EvaluationTarget, nim_url: str) -> tuple[str, str, str | None]:
    """Model id, URL of its chat completions, and key."""
    model = target.model
    if isinstance(model, str):
        return model, f"{nim_url}/v1/chat/completions", None
    if model.api_endpoint is None:
        return f"{model.namespace or 'default'}/{model.name}", f"{nim_url}/v1/chat/completions", None
    url = model.api_endpoint.url.rstrip("/")
    if not url.endswith("/chat/completions"):
        url = url.removesuffix("/completions") + "/chat/completions"
    return model.api_endpoint.model_id, url, model.api_endpoint.api_key


def _completion(reply: httpx.Response, problem: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = reply.json()
        if not isinstance(body["choices"][0]["message"], dict):
            raise TypeError
    except (ValueError, LookupError, TypeError):
        raise EvaluationFailed(f"{problem}answered with something that is no chat completion: {_said(reply)}") from None
    return body


def _said(reply: httpx.Response) -> str:
    """What an error's body says, in a line or two."""
    try:
        body = reply.json()
    except ValueError:
        body = None
    detail = body.get("detail") if isinstance(body, dict) else None
    return str(detail or reply.text)[:SHOWN]


def _read(files: Iterable[tuple[str, Path]]) -> Iterable[dict[str, Any]]:
    for name, path in files:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    raise EvaluationFailed(f"{name}:{number}: not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise EvaluationFailed(f"{name}:{number}: a row must be a JSON object")
                yield row
