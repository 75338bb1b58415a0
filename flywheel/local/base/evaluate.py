"""How good is a small base model? `python -m flywheel.local.base.evaluate --model DIR` asks it what it was never trained on.

The platform's own engine answers, several questions at a time, greedily and guided by the grammar of the tools: what is
measured is what is served. The sets are exam.py's; --rows asks the questions of a JSONL file instead. Knows neither how questions
are drawn nor how they are judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from flywheel.local.base.exam import TEST_SEED, ExamSet, Result, Share, exam_sets, judge, sets_from_rows
from flywheel.local.engine import Engine
from flywheel.local.generation import Completion, Request
from flywheel.local.settings import prepare_environment

MAX_TOKENS = 160
_MODEL, _ADAPTED = "exam", "exam-adapted"
_AT_ONCE = 64


def evaluate(
    model: Path, sets: Iterable[ExamSet], *, adapter: Path | None = None, threads: int = 1
) -> Iterator[tuple[ExamSet, list[Completion], Result]]:
    """Ask the model in a folder, with an adapter or without, every question: each set with the answers and how many are right."""
    engine = Engine(_MODEL, model, max_batch=32, threads=threads)
    try:
        engine.wait_ready(120)
        if adapter is not None:
            engine.load_adapter(_ADAPTED, adapter)
        for exam in sets:
            answers = list(_answers(engine, exam, _MODEL if adapter is None else _ADAPTED))
            yield exam, answers, judge(exam, answers)
    finally:
        engine.close()


def _answers(engine: Engine, exam: ExamSet, asked: str) -> Iterator[Completion]:
    requests = [
        Request(model=asked, messages=question.messages, tools=question.tools, temperature=0, max_tokens=MAX_TOKENS)
        for question in exam.questions
    ]
    for start in range(0, len(requests), _AT_ONCE):
        begun = [engine.submit(request) for request in requests[start : start + _AT_ONCE]]
        yield from (generation.result(600) for generation in begun)


def _line(result: Result) -> str:
    if result.called is None or result.refused is None:
        return f"{result.name:28} {result.full.of:5}  {'':17}  {_shown(result.full):17}"
    shares = "  ".join(f"{_shown(share):17}" for share in (result.called, result.full, result.refused))
    return f"{result.name:28} {result.full.of:5}  {shares}"


def _shown(share: Share) -> str:
    low, high = share.interval
    return f"{share.value:.2f} ({low:.2f}-{high:.2f})"


def _record(result: Result) -> dict[str, Any]:
    parts = {"name": result.called, "full": result.full, "refused": result.refused}
    told = {key: {"share": share.value, "interval": share.interval} for key, share in parts.items() if share is not None}
    return {"set": result.name, "n": result.full.of} | told


def _mistakes(exam: ExamSet, answers: list[Completion]) -> Iterator[str]:
    """Every wrong answer of a set, as text."""
    for question, answer in zip(exam.questions, answers, strict=True):
        one = ExamSet(exam.name, exam.judged, [question])
        if not judge(one, [answer]).full.right:
            calls = [(call.name, call.arguments) for call in answer.tool_calls]
            wanted = [call["function"] for call in question.answer.get("tool_calls", [])] or question.answer["content"]
            yield f"  {question.messages[-1]['content']!r}\n    wanted {wanted}\n    got    {calls or answer.content!r}"


@click.command(help=__doc__.split("Knows")[0] if __doc__ else None)
@click.option("--model", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The model's folder.")
@click.option("--adapter", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A LoRA adapter's folder to add.")
@click.option("--n", "count", default=200, show_default=True, help="Questions a set.")
@click.option("--rows", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Ask the rows of this file instead.")
@click.option("--seed", default=TEST_SEED, help="Of the questions.")
@click.option("--threads", default=1, show_default=True, help="Threads of computation.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON a set.")
@click.option("--mistakes", is_flag=True, help="Show the wrong answers, too.")
def main(
    model: Path, adapter: Path | None, count: int, rows: Path | None, seed: int, threads: int, as_json: bool, mistakes: bool
) -> None:
    """The command."""
    prepare_environment()
    sets = sets_from_rows(rows, count) if rows else exam_sets(count, seed)
    if not as_json:
        print(f"{'share right (95 % interval)':28} {'n':>5}  {'name':17}  {'name+args / right':17}  {'call refused':17}")
    for exam, answers, result in evaluate(model, sets, adapter=adapter, threads=threads):
        print(json.dumps(_record(result)) if as_json else _line(result), flush=True)
        if mistakes:
            print("\n".join(_mistakes(exam, answers)), flush=True)


if __name__ == "__main__":
    main()
