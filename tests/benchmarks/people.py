"""Many people at once, each with an answer that streams for four seconds: `python -m tests.benchmarks.people`.

The real web app in a process of its own, with a scripted model server, and as many browsers as told, which speak HTTP as Gradio's
page does. It measures the app, not a model: from the question to the end of its answer, four seconds of which are the answer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import psutil

from tests.benchmarks.machine import facts, note, table
from tests.chat_app.conftest import WebApp, start_web_app, stop_web_app
from tests.fakes import NimReply, ScriptedNim

ANSWER_SECONDS = 4.0
TARGET_SECONDS = 6.0
TEXT = "This is one of the sentences of a long answer, and it goes on for a while. " * 2 + "And that is all there is to say."


def streamed(seconds: float) -> NimReply:
    """An answer that comes in pieces for so long."""
    return NimReply(TEXT, spread_seconds=seconds)


def visits(url: str, people: int) -> list[float]:
    """Let so many people ask at once; the seconds that each waited for the end of their answer."""
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=f"{url}/chat", trust_env=False, timeout=120, limits=limits) as client:
        events = client.get("/config").json()["dependencies"]
        asking = next(event["id"] for event in events if event["api_name"] == "ask")
        with ThreadPoolExecutor(people) as pool:
            return list(pool.map(lambda _: _visit(client, asking), range(people)))


def _visit(client: httpx.Client, asking: int) -> float:
    """One question and its answer, as the page sends and reads them. Raises AssertionError where it did not end well."""
    session, began = uuid.uuid4().hex, time.perf_counter()
    event = {"data": ["Tell me something long", None, None], "fn_index": asking, "session_hash": session}
    client.post("/gradio_api/queue/join", json=event).raise_for_status()
    for message in _messages(client, session):
        if message["msg"] == "process_completed":
            assert message["success"], message
            return time.perf_counter() - began
    raise AssertionError("the stream ended before the answer did")


def _messages(client: httpx.Client, session: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


@contextmanager
def running(home: Path) -> Iterator[WebApp]:
    """The app with a model server that answers everybody for four seconds."""
    with ScriptedNim() as nim:
        nim.answer_with(lambda _: streamed(ANSWER_SECONDS))
        app = start_web_app(home, NEMO_URL=nim.url, NDS_URL=nim.url, NIM_URL=nim.url)
        try:
            yield app
        finally:
            stop_web_app(app)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time many people's answers from the web app, with a scripted model.")
    parser.add_argument("--people", type=int, default=200, help="how many ask at once (default: %(default)s)")
    options = parser.parse_args()
    machine = facts()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as app:
        visits(app.url, 2)
        note(f"{options.people} people ...")
        used, began = psutil.Process(app.process.pid).cpu_times(), time.perf_counter()
        took = sorted(visits(app.url, options.people))
        wall, now = time.perf_counter() - began, psutil.Process(app.process.pid).cpu_times()
    cores = (now.user + now.system - used.user - used.system) / wall
    marks = quantiles(took, n=20)
    line = [options.people, *(f"{value:.1f}" for value in (marks[9], marks[18], took[-1], cores))]
    within = sum(seconds <= TARGET_SECONDS for seconds in took) / len(took)
    print(f"{machine}\n\n{table(('people', 'median s', '95 % s', 'slowest s', 'cores of the app'), [line])}")
    print(f"\n{within:.0%} finished within {TARGET_SECONDS:g} s; the answer itself takes {ANSWER_SECONDS:g} s.")


if __name__ == "__main__":
    main()
