"""How fast the local platform's engine answers: `python -m tests.benchmarks.serving`.

The base model with the 13 shipped tools on offer: first token and a whole call with the prompt's beginning known and unknown;
eight adapters in one batch and one after another; what the grammar costs, and what peft would. Goes through the engine itself,
without HTTP, in this process. Does not judge answers: the adapters are drawn at random.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from flywheel.local.settings import prepare_environment

prepare_environment()  # torch reads it once

from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH  # noqa: E402
from flywheel.local.engine import Engine  # noqa: E402
from flywheel.local.generation import Completion, Generation, Request  # noqa: E402
from tests.benchmarks import decoding  # noqa: E402
from tests.benchmarks.machine import facts, interleaved, milliseconds, note, ratio, serving_threads, table  # noqa: E402
from tests.benchmarks.questions import schemas, turns  # noqa: E402

ADAPTERS = 8
CALL_TOKENS = 30
LONG_TOOL, LONG_ARGUMENT, LONG_CHARACTERS = "add_reminder", "text", 150
"""The call that is measured. Its text must be long, so that whatever model writes it comes to CALL_TOKENS, where it is cut."""

Result = tuple[str, float, str, float]
"""What, its milliseconds, the baseline, the baseline's milliseconds."""


class Served:
    """The engine with its adapters, and a new question each time."""

    def __init__(self, engine: Engine, folders: dict[str, Path]) -> None:
        self.engine, self.models = engine, list(folders)
        self._folders, self._tools = folders, _with_a_long_call(schemas())
        self._questions = (question for question, _, _ in turns())
        for model in self.models:
            self.forget(model)

    def forget(self, model: str) -> None:
        """Load an adapter again, whereby what was read under it is forgotten."""
        self.engine.load_adapter(model, self._folders[model])

    def ask(self, model: str, tokens: int) -> Generation:
        """Begin a call of at most so many tokens."""
        choice = {"type": "function", "function": {"name": LONG_TOOL}}
        asked = [{"role": "user", "content": next(self._questions)}]
        wanted = Request(
            model=model,
            messages=asked,
            tools=self._tools,
            tool_choice=choice,
            max_tokens=tokens,
            several_calls=False,
            temperature=0.0,
        )
        return self.engine.submit(wanted)

    def serially(self, models: Sequence[str], tokens: int = CALL_TOKENS) -> list[Completion]:
        """A call from each, one after another."""
        return [self.ask(model, tokens).result(120) for model in models]

    def together(self, models: Sequence[str]) -> list[Completion]:
        """A call from each, all at once."""
        return [generation.result(120) for generation in [self.ask(model, CALL_TOKENS) for model in models]]


def _with_a_long_call(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    functions = {tool["function"]["name"]: tool["function"] for tool in tools}
    functions[LONG_TOOL]["parameters"]["properties"][LONG_ARGUMENT]["minLength"] = LONG_CHARACTERS
    return tools


def beginnings(served: Served, repeats: int) -> list[Result]:
    """First token and whole call: the tools' part of the prompt read before under this adapter, or not."""
    found = []
    for what, tokens in (("first token", 1), (f"call of {CALL_TOKENS} tokens", CALL_TOKENS)):
        known, unknown = [], []
        for model in islice(cycle(served.models), repeats):
            served.forget(model)
            unknown.append(milliseconds(partial(served.serially, [model], tokens)))
            known.append(milliseconds(partial(served.serially, [model], tokens)))
        found.append((f"{what}, prompt's beginning known", median(known), "unknown", median(unknown)))
    return found


def batches(served: Served, repeats: int) -> list[Result]:
    """Eight calls at once against the same one after another."""
    models, same = served.models, served.models[:1] * len(served.models)
    lengths = {made.completion_tokens for made in served.serially(models)}
    assert lengths == {CALL_TOKENS}, f"the calls are to be of {CALL_TOKENS} tokens, not {lengths}"
    found = interleaved(
        {
            "serial": lambda: served.serially(models),
            "together": lambda: served.together(models),
            "one adapter": lambda: served.together(same),
        },
        repeats,
    )
    count, one_by_one = len(models), "the same, one after another"
    return [
        (f"{count} calls, {count} adapters, one batch", found["together"], one_by_one, found["serial"]),
        (f"{count} calls, one adapter, one batch", found["one adapter"], one_by_one, found["serial"]),
    ]


def through_engine(folders: dict[str, Path], threads: int, repeats: int) -> list[Result]:
    """All that is measured through the engine."""
    engine = Engine(SHIPPED_ID, SHIPPED_PATH, threads=threads)
    try:
        engine.wait_ready(120)
        served = Served(engine, folders)
        served.serially(served.models[:1])  # the grammar of these tools is compiled once
        note("beginnings of prompts ...")
        results = beginnings(served, repeats)
        note("batches ...")
        return results + batches(served, repeats)
    finally:
        engine.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the local platform's engine.")
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each kind, of which the median is shown")
    parser.add_argument("--threads", type=int, default=serving_threads(), help="torch threads; default: as the platform")
    options = parser.parse_args()
    machine = facts()
    with tempfile.TemporaryDirectory() as folder:
        note("making adapters ...")
        folders = decoding.make_adapters(Path(folder), ADAPTERS)
        results = through_engine(folders, options.threads, options.repeats)
        note("grammar and adapters, step by step ...")
        more, agreement = decoding.compare(folders, options.threads, options.repeats)
    print(machine)
    print(f"Model: {SHIPPED_ID}, {len(schemas())} tools, torch threads {options.threads}, medians of {options.repeats};")
    print(f"ratio = time / baseline's time. A call is {CALL_TOKENS} tokens; a step is one token of every row.\n")
    lines = [(what, f"{ms:.1f}", other, f"{other_ms:.1f}", ratio(ms, other_ms)) for what, ms, other, other_ms in results + more]
    print(table(["what", "ms", "baseline", "baseline ms", "ratio"], lines))
    print(f"\nOur adapters and peft's chose the same token in {agreement:.1%} of the steps.")


if __name__ == "__main__":
    main()
