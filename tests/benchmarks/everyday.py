"""200 questions written by hand in everyday wording, to the tools the chat ships with: `python -m tests.benchmarks.everyday`.

Scores the base model, or the model named with --model in the state folder named with --home, through `flywheel evaluate`: greedy,
guided, all the chat's tools on offer. The questions are in everyday_200.jsonl: [question, tool, arguments]. They train nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from flywheel.settings import LOCAL_BASE_MODEL
from tests.benchmarks import wheel
from tests.benchmarks.machine import facts, table
from tests.benchmarks.questions import schemas

QUESTIONS = Path(__file__).with_name("everyday_200.jsonl")


def rows() -> list[dict[str, Any]]:
    """The questions as OpenAI messages with the calls that answer them."""
    offered, made = schemas(), []
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        question, tool, arguments = json.loads(line)
        call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": None, "tool_calls": [call]}]
        made.append({"messages": messages, "tools": offered})
    return made


def scores(model: str, home: Path, folder: Path) -> dict[str, Any]:
    """What `flywheel evaluate --json` says of the model on the questions."""
    data = folder / "everyday.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return wheel.evaluated(home, model, data)


def main() -> None:
    """Score and print, each tool by itself."""
    parser = argparse.ArgumentParser(description="Score a model on 200 everyday questions.")
    parser.add_argument("--model", default=LOCAL_BASE_MODEL, help="an id that the platform serves (default: %(default)s)")
    parser.add_argument("--home", type=Path, help="a state folder that has the model (default: an empty one)")
    options = parser.parse_args()
    machine, began = facts(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = scores(options.model, options.home or Path(folder) / "home", Path(folder))
    tools = {"all": found, **found["tools"]}
    lines = [[name, each["count"], *(f"{each[metric]:.3f}" for metric in wheel.METRICS)] for name, each in tools.items()]
    print(f"{machine}\nModel: {options.model}; {time.perf_counter() - began:.0f} s with the platform's start.\n")
    print(table(("tool", "n", *wheel.METRICS), lines))


if __name__ == "__main__":
    main()
