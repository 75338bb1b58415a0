"""Runs an evaluation: requests of rows, answers, judgements, scores per row and over all rows.

Knows how many requests go at once. Knows no job: it tells whoever asked how far it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.local.evaluation import EvaluationConfig, EvaluationTarget, Task
from flywheel.local.evaluation_metrics import TextMetric
from flywheel.local.evaluation_rows import RowSource
from flywheel.local.evaluation_task import Scores, Texts, context_of, judges, request_body, scored, texts_of
from flywheel.local.inference import MOST_AT_ONCE, Address, Answer, EvaluationFailed, Inference, Params, output_text
from flywheel.local.llm_judge import judge_request, judged
from flywheel.local.metrics import summary
from flywheel.local.repos import Repos
from flywheel.local.state import State
from flywheel.local.templates import TaskError
from flywheel.local.text_metrics import BLEU_CORPUS, corpus_bleu


@dataclass(frozen=True)
class Sample:
    """One evaluated row: its place in its task's data, the answer's message and what it scored.

    error says why there is no answer; such a row scores 0 everywhere. A score that a judge did not give is NaN. texts are what
    bleu compared, by metric. usage: the answer's token counts as the server told them; seconds: how long it took to come.
    """

    index: int
    task: str
    item: Mapping[str, Any]
    response: dict[str, Any] | None
    scores: Scores
    error: str | None
    texts: Mapping[str, Texts]
    usage: Mapping[str, Any] | None = None
    seconds: float | None = None

    def line(self) -> str:
        """As a JSON line. Scores are flat; one whose name is taken bears its metric's name in front; null is no score."""
        flat: dict[str, float | None] = {}
        for metric, values in self.scores.items():
            flat.update({f"{metric}.{name}" if name in flat else name: _plain(value) for name, value in values.items()})
        shown = {key: getattr(self, key) for key in ("index", "task", "item", "response", "usage", "seconds")}
        return json.dumps({**shown, "scores": flat, "error": self.error}, ensure_ascii=False)


Progress = Callable[[Sample, int], Awaitable[None]]
"""Called after every row with it and the number of all rows."""


class Evaluation:
    """One config applied to one target."""

    def __init__(self, state: State, repos: Repos, nim_url: str, config: EvaluationConfig, target: EvaluationTarget) -> None:
        """Models without an endpoint of their own are asked at `nim_url`. Raises EvaluationFailed where nobody could be asked."""
        self._config, self._nim_url = config, nim_url
        self._params = config.params or Params()
        self._rows = RowSource(state, repos, target, self._params)
        self._address = Address.of(target.model, nim_url) if target.model else None
        asking = [name for name, task in config.tasks.items() if task.type != "data"]
        if asking and self._address is None:
            raise EvaluationFailed(f"task {asking[0]!r} asks a model: its target must be of type 'model', not {target.type!r}")
        self._inference = Inference(nim_url, self._params)

    async def run(self, progress: Progress) -> list[Sample]:
        """Evaluate every row of every task, in order of tasks and rows. Raises EvaluationFailed."""
        async with self._inference:
            rows = {name: await asyncio.to_thread(self._rows.rows, task) for name, task in self._config.tasks.items()}
            total = sum(map(len, rows.values()))
            found = []
            for name, task in self._config.tasks.items():
                found += await self._run_task(name, task, rows[name], lambda sample: progress(sample, total))
        return found

    async def _run_task(
        self, name: str, task: Task, rows: Sequence[Mapping[str, Any]], done: Callable[[Sample], Awaitable[None]]
    ) -> list[Sample]:
        places = asyncio.Semaphore(min(self._params.parallelism, MOST_AT_ONCE))

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
            # A ground truth that cannot be read is the data's fault: say so before asking the model.
            await asyncio.to_thread(scored, task, row, None)
            began = time.perf_counter()
            response, refusal = await self._answer(task, row)
            seconds = round(time.perf_counter() - began, 4)
            # In a thread, since a template may take its time and others wait for this loop.
            scores = await asyncio.to_thread(scored, task, row, response)
            scores |= await self._judge(task, row, response)
            texts = {metric: texts_of(metric, named, context_of(row, response)) for metric, named in _bleu(task).items()}
        except TaskError as error:
            raise EvaluationFailed(f"task {name!r}, row {index + 1}: {error}") from error
        choice = response["choices"][0] if response else None
        message = choice and (choice.get("message") or {"role": "assistant", "content": choice.get("text")})
        usage = response.get("usage") if response else None
        return Sample(index, name, row, message, scores, refusal, texts, usage, seconds if response else None)

    async def _answer(self, task: Task, row: Mapping[str, Any]) -> Answer:
        if task.type == "data" or self._address is None:
            return None, None
        body = await asyncio.to_thread(request_body, task, row)
        return await self._inference.ask(self._address, body)

    async def _judge(self, task: Task, row: Mapping[str, Any], response: dict[str, Any] | None) -> Scores:
        """What the judges say of an answer. A refused row scores 0; a judge who refuses one leaves it without a score."""
        scores: Scores = {}
        for name, metric in judges(task).items():
            if response is None and task.type != "data":
                scores[name] = dict.fromkeys(metric.params.scores, 0.0)
                continue
            body = await asyncio.to_thread(judge_request, metric.params, context_of(row, response))
            said, _ = await self._inference.ask(Address.of(metric.params.model, self._nim_url), body)
            scores[name] = await asyncio.to_thread(judged, metric.params, output_text(said))
        return scores


def task_results(samples: Iterable[Sample]) -> dict[str, Any]:
    """All scores in the Evaluator's shape: task → metrics → scores → value and stats."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    compared: dict[tuple[str, str], list[Texts]] = {}
    for sample in samples:
        for metric, scores in sample.scores.items():
            for score, value in scores.items():
                values.setdefault(sample.task, {}).setdefault(metric, {}).setdefault(score, []).append(value)
        for metric, texts in sample.texts.items():
            compared.setdefault((sample.task, metric), []).append(texts)
    for (task, metric), all_texts in compared.items():
        values[task][metric][BLEU_CORPUS] = [corpus_bleu(all_texts)]
    return {
        task: {
            "metrics": {
                metric: {"scores": {score: summary(numbers) for score, numbers in scores.items()}}
                for metric, scores in metrics.items()
            }
        }
        for task, metrics in values.items()
    }


def _bleu(task: Task) -> dict[str, TextMetric]:
    return {name: metric for name, metric in task.metrics.items() if isinstance(metric, TextMetric) and metric.type == "bleu"}


def _plain(value: float) -> float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else value
