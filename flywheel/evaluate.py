"""What a model gets right on frozen rows: row by row, and in NVIDIA's two metrics.

Rows are those that `curate` writes into its holdout file. Knows how a job's results become row scores. Knows nothing of runs
or of which model ought to win.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from flywheel.curate import HOLDOUT_FILE, HOLDOUT_SUITE, expected_tool
from flywheel.database import new_id
from flywheel.errors import PlatformError
from flywheel.gate_scores import RowScore, Scores
from flywheel.nemo import METRICS, Nemo, Sample
from flywheel.red_team import resists
from flywheel.rows import Row, to_nemo_eval

ExamRow = dict[str, Any]
"""A NeMo evaluation row {messages, tools, tool_calls} with `key`, `suite` and `tool`; the red team's name what is `forbidden`."""

PARALLEL_PREDICTIONS = 4
POLL_SECONDS = 0.5


class Evaluation(NamedTuple):
    """Results row by row and in short."""

    rows: list[RowScore]
    scores: Scores


def read_exam(content: bytes) -> list[ExamRow]:
    """The rows of a holdout file."""
    return [json.loads(line) for line in content.decode("utf-8").splitlines() if line]


def exam_of(rows: Sequence[Row]) -> bytes:
    """A holdout file of rows that belong to no run."""
    exam = [to_nemo_eval(row) | {"key": row.digest, "suite": HOLDOUT_SUITE, "tool": expected_tool(row)} for row in rows]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in exam).encode()


def evaluate(
    nemo: Nemo, model: str, rows: Sequence[Row], *, progress: Callable[[float], None] = lambda percent: None
) -> Evaluation:
    """Evaluate a model on rows, waiting for the job; `progress` hears of 0-100. Raises PlatformError."""
    content, evaluation_id = exam_of(rows), new_id("evaluation")
    nemo.ensure_namespace()
    files_url = nemo.upload(evaluation_id, {HOLDOUT_FILE: content})
    job_id = nemo.create_evaluation(evaluation_id, "model", model, f"{files_url}/{HOLDOUT_FILE}", len(rows))
    while not (state := nemo.evaluation(job_id)).finished:
        progress(state.percent)
        time.sleep(POLL_SECONDS)
    if state.status != "completed":
        raise PlatformError(f"the evaluation of {model!r} {state.status}: {state.message or 'the Evaluator gave no reason'}")
    return results(nemo, job_id, model, read_exam(content))


def results(nemo: Nemo, job_id: str, model: str, exam: Sequence[ExamRow]) -> Evaluation:
    """The results of a completed job, row by row.

    NVIDIA documents the averages but not which file of its archive holds single rows. Where none is found, the model is asked the
    rows again through NIM and scored here by the same rule, since a paired test needs every row.
    """
    samples = nemo.evaluation_samples(job_id)
    scores = _asked(nemo, model, exam) if samples is None else list(map(_recorded, exam, samples))
    if samples is not None and len(samples) != len(exam):
        found = f"{len(samples)} rows instead of {len(exam)}"
        raise PlatformError(f"the evaluation {job_id!r} of {model!r} holds {found}; run it again")
    return results_of(scores)


def results_of(rows: list[RowScore]) -> Evaluation:
    """Row scores with their summary."""
    return Evaluation(rows, Scores.of(rows))


def score_calls(expected: Sequence[Any], predicted: Sequence[Any]) -> tuple[bool, bool]:
    """(all names right, all names and arguments right). Order plays no part; number and case do."""
    wanted, got = [[_comparable(call) for call in calls] for calls in (expected, predicted)]
    return Counter(name for name, _ in wanted) == Counter(name for name, _ in got), Counter(wanted) == Counter(got)


def _recorded(row: ExamRow, sample: Sample) -> RowScore:
    """What the Evaluator wrote down; its rows may lack the tokens and the seconds."""
    calls = (sample.get("response") or {}).get("tool_calls") or []
    name, name_and_args = (sample["scores"][metric] == 1 for metric in METRICS)
    return _score(row, calls, name, name_and_args, (sample.get("usage") or {}).get("completion_tokens"), sample.get("seconds"))


def _asked(nemo: Nemo, model: str, exam: Sequence[ExamRow]) -> list[RowScore]:
    def ask(row: ExamRow) -> RowScore:
        began = time.perf_counter()
        calls, tokens = nemo.predict(model, row["messages"], row["tools"])
        return _score(row, calls, *score_calls(row["tool_calls"], calls), tokens, time.perf_counter() - began)

    with ThreadPoolExecutor(PARALLEL_PREDICTIONS) as pool:
        return list(pool.map(ask, exam))


def _score(
    row: ExamRow, calls: Sequence[Any], name: bool, name_and_args: bool, tokens: int | None, seconds: float | None
) -> RowScore:
    resisted = resists(row["forbidden"], calls) if "forbidden" in row else None
    return RowScore(row["key"], row["suite"], row["tool"], name, name_and_args, bool(calls), resisted, tokens, seconds)


def _comparable(call: Any) -> tuple[str, str]:
    """A call's name, and its arguments as JSON with sorted keys, where 3 and 3.0 are one number."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    text = (arguments or "{}") if isinstance(arguments, str) else json.dumps(arguments)
    try:
        return name, json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return name, f"unreadable: {text}"


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value
