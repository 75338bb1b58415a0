"""The promises to a person with a laptop: `python -m tests.benchmarks.laptop [--skip-run]`.

Starts the app as `make chat` does, in a fresh state folder, and measures: seconds until the first question can be asked; a tool
call with its answer, over HTTP through the NIM; a run on 300 examples, with the memory of all processes while it goes on. The
goals are printed beside, and judged by whoever reads them. Does not measure the browser, the rails or a turn of the chat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from chat_app.model import MAX_TOKENS
from flywheel.rows import to_openai
from flywheel.settings import LOCAL_BASE_MODEL
from flywheel.starter import load_everyday
from tests.benchmarks import wheel
from tests.benchmarks.machine import facts, note, ratio, table
from tests.benchmarks.memory import Use, use_of
from tools import TOOLS, ToolContext, warm_up

GOAL_READY, GOAL_ANSWER, GOAL_RUN, GOAL_BYTES = 15.0, 2.0, 300.0, 2.5e9
EXAMPLES = 300
START_SECONDS = 180.0
LIBRARIES = "torch, transformers, peft, gradio, nemoguardrails, dbos"
ASKED = (
    "calculate",
    "convert_units",
    "convert_currency",
    "local_time",
    "sun_times",
    "public_holidays",
    "find_orders",
    "order_status",
)
"""Tools that need neither a network nor a person's yes."""


class App(NamedTuple):
    """The running app: its process, the NIM's address, and how long it took until the first question could be asked."""

    process: subprocess.Popen[str]
    nim_url: str
    ready_seconds: float


class Asked(NamedTuple):
    """Seconds of each call with its answer and of each plain text reply; and how many tokens each call and its answer took."""

    answered: list[float]
    plain: list[float]
    tokens: list[int]


# the app -----------------------------------------------------------------------------------------------------------------


@contextmanager
def app(home: Path) -> Iterator[App]:
    """The app, as `make chat` starts it. Raises CommandFailed if it does not get ready."""
    port = _free_port()
    began = time.perf_counter()
    with (home / "app.log").open("w", encoding="utf-8") as log:
        command, env = [sys.executable, "-m", "chat_app"], wheel.environment(home, CHAT_PORT=str(port))
        with wheel.started(command, env, stdout=log, stderr=log) as process:
            while not _model_ready(port):
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise wheel.CommandFailed(
                        f"the app did not get ready:\n{(home / 'app.log').read_text(encoding='utf-8')[-2000:]}"
                    )
                time.sleep(0.05)
            seconds = time.perf_counter() - began
            platform = json.loads((home / "platform.json").read_text(encoding="utf-8"))["port"]
            yield App(process, f"http://127.0.0.1:{platform}/nim/v1", seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _model_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=2).json()["model"] is True
    except httpx.HTTPError:
        return False


def libraries_seconds() -> float:
    """The baseline of the start: one process that imports the libraries and does nothing."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {LIBRARIES}"], check=True)
    return time.perf_counter() - began


# a call with its answer --------------------------------------------------------------------------------------------------


class Person:
    """Somebody who asks a model, with all tools on offer and the tools really run."""

    def __init__(self, nim_url: str, model: str, home: Path) -> None:
        self._client = httpx.Client(base_url=nim_url, trust_env=False, timeout=120)
        self._model = model
        self._tools = [tool.schema for tool in TOOLS.values()]
        self._context = ToolContext(person="benchmark", home=home / "tools")

    def call_and_answer(self, name: str, question: str) -> int:
        """Question, call, result, answer; returns the tokens that the model wrote."""
        asked = {"role": "user", "content": question}
        message, written = self._reply([asked], {"type": "function", "function": {"name": name}})
        if not message.get("tool_calls"):
            return written  # cut off at the limit: there is no call to run, and a chat would end here
        call = message["tool_calls"][0]
        result = asyncio.run(TOOLS[name].run(json.loads(call["function"]["arguments"]), self._context))
        told = {"role": "tool", "tool_call_id": call["id"], "name": name, "content": result.text}
        _, more = self._reply([asked, {**message, "tool_calls": [call]}, told], "none")
        return written + more

    def plain(self, question: str) -> int:
        """Question and answer in words; returns the tokens that the model wrote."""
        return self._reply([{"role": "user", "content": question}], "none")[1]

    def _reply(self, messages: list[dict[str, Any]], choice: Any) -> tuple[dict[str, Any], int]:
        body = {"model": self._model, "messages": messages, "tools": self._tools, "tool_choice": choice}
        body |= {"temperature": 0, "max_tokens": MAX_TOKENS, "parallel_tool_calls": False}
        answer = self._client.post("/chat/completions", json=body)
        answer.raise_for_status()
        return answer.json()["choices"][0]["message"], answer.json()["usage"]["completion_tokens"]


def ask(running: App, model: str, home: Path, rounds: int) -> Asked:
    """Ask each tool's first example question, as a call with its answer and as plain words, in turn."""
    person, answered, plain, tokens = Person(running.nim_url, model, home), [], [], []
    for name in ASKED * rounds:
        question = TOOLS[name].examples[0]
        began = time.perf_counter()
        tokens.append(person.call_and_answer(name, question))
        middle = time.perf_counter()
        person.plain(question)
        answered.append(middle - began)
        plain.append(time.perf_counter() - middle)
    return Asked(answered, plain, tokens)


# a run -------------------------------------------------------------------------------------------------------------------


def turn(running: App, home: Path, examples: int) -> wheel.Turned:
    """Import so many of the everyday questions and turn the wheel; the app works the run off."""
    rows = load_everyday()[:examples]
    file = home / "everyday.jsonl"
    file.write_text("".join(json.dumps(to_openai(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    wheel.say_imported(wheel.import_rows(home, file))
    return wheel.turn(home, running.process.pid)


# what is printed ---------------------------------------------------------------------------------------------------------

Line = tuple[str, ...]


class Found(NamedTuple):
    """Everything that was measured. `turned` and `candidate` are None where the run was left out."""

    ready: float
    libraries: float
    base: Asked
    idle: Use
    turned: wheel.Turned | None
    candidate: Asked | None


def promises(found: Found, examples: int) -> str:
    """The table of the promises."""
    lines = [
        _seconds("ready for the first question", found.ready, GOAL_READY, f"importing {LIBRARIES}", found.libraries),
        *_answers("base model", found.base),
    ]
    if found.candidate:
        lines += _answers("trained model", found.candidate)
    if found.turned:
        peak, training = found.turned.peak, wheel.stage_seconds(found.turned.run["stages"]["train"])
        lines.append(_seconds(f"run on {examples} examples", found.turned.seconds, GOAL_RUN, "its training alone", training))
        told = (f"peak memory in the run ({peak.kind})", _gb(peak.total), _gb(GOAL_BYTES), "the app before the run")
        lines.append((*told, _gb(found.idle.total), ratio(peak.total, found.idle.total)))
    return table(["promise", "measured", "goal", "baseline", "baseline's", "ratio"], lines)


def _answers(model: str, asked: Asked) -> list[Line]:
    first, *later = asked.answered
    what, plain = f"call with its answer, {model},", ("plain text reply, median", median(asked.plain))
    return [
        _seconds(f"{what} the very first", first, GOAL_ANSWER, *plain),
        _seconds(f"{what} median of the next {len(later)}", median(later), GOAL_ANSWER, *plain),
        _seconds(f"{what} slowest of them", max(later), GOAL_ANSWER, *plain),
    ]


def _seconds(what: str, measured: float, goal: float, baseline: str, other: float) -> Line:
    return what, f"{measured:.2f} s", f"{goal:.0f} s", baseline, f"{other:.2f} s", ratio(measured, other)


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def measure(options: argparse.Namespace, home: Path) -> Found:
    """Start the app, ask, turn the wheel, ask again, stop the app."""
    turned, candidate = None, None
    note("starting the app ...")
    with app(home) as running:
        note(f"ready after {running.ready_seconds:.1f} s; asking the base model ...")
        base = ask(running, LOCAL_BASE_MODEL, home, options.rounds)
        idle = use_of([running.process.pid])
        if not options.skip_run:
            note("turning the wheel ...")
            turned = turn(running, home, options.examples)
            note("asking the trained model ...")
            candidate = ask(running, turned.run["candidate"], home, options.rounds)
    note("importing the libraries alone ...")
    return Found(running.ready_seconds, libraries_seconds(), base, idle, turned, candidate)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what is promised to a person with a laptop.")
    parser.add_argument("--skip-run", action="store_true", help="leave out the run of the wheel, which takes minutes")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="rows to import for the run")
    parser.add_argument("--rounds", type=int, default=3, help=f"how often to ask each of the {len(ASKED)} tools")
    options = parser.parse_args()
    machine = facts()
    warm_up()  # the tools run in this process, and the app does so at its own start
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    tokens = [f"{name} {median(asked.tokens):.0f}" for name, asked in found._asdict().items() if isinstance(asked, Asked)]
    print(machine)
    print(f"The app before the run: {_gb(found.idle.total)} {found.idle.kind} ({found.idle.breakdown}).")
    print(f"Median tokens of a call and its answer: {', '.join(tokens)}.\n")
    print(promises(found, options.examples))
    if turned := found.turned:
        print(f"\n{wheel.summary(turned)}\n\n{wheel.accuracy_table(turned)}\n\n{wheel.stage_table(turned)}")


if __name__ == "__main__":
    main()
