"""A process that has everything loaded and forks workers: each turns the wheel, rates and corrects, until it is killed.

`python kill_parent.py HOME URL`. Reads orders from standard input, a JSON object a line: {} = work until the run has ended;
{"at": "train/note/after"} = die there; {"after": seconds} = die so long after the first sign of life. Answers each with a line:
{"killed", "at", "said"}: the last place that was passed, and what had been acknowledged before the worker died.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dbos  # noqa: F401  # loaded once, before the first fork
import sqlalchemy.dialects.sqlite  # noqa: F401

import flywheel.runs
import flywheel.stages
import flywheel.upkeep
from flywheel.database import new_id
from flywheel.history import Run, RunRecords
from flywheel.ledger import Ledger
from flywheel.nemo import Nemo
from flywheel.promote import Registry
from flywheel.review import ReviewDesk
from flywheel.runs import Wheel, request
from flywheel.settings import Settings
from flywheel.starter import load_old_skills, load_replay
from flywheel.store import Store
from flywheel.train import Recipe

TINY = Recipe(epochs=1, batch_size=8, learning_rate=1e-3, adapter_dim=4, alpha=8, adapter_dropout=0.0)
PLACES: dict[type, tuple[str, ...]] = {
    RunRecords: ("begin_stage", "end_stage", "note", "add_losses", "finish"),
    Ledger: ("save_dataset",),
    Registry: ("add", "promote"),
    Nemo: (
        "ensure_namespace", "upload", "create_training", "training", "model_ids", "create_evaluation", "evaluation",
        "evaluation_samples",
    ),
}  # fmt: skip
"""The calls before and after which a worker can die: everything that a stage writes or asks for."""
CORRECTED = 20
"""Every so manieth turn is corrected as well as rated."""
TOOL = {"type": "function", "function": {"name": "set_lamp", "description": "Set the lamp", "parameters": {
    "type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]}}}  # fmt: skip


class Told:
    """The pipe to the one who keeps watch, and the place at which to die. A line is whole: it is shorter than a pipe's buffer."""

    def __init__(self, pipe: int, order: dict[str, Any]) -> None:
        self._pipe, self._at, self._stage = pipe, order.get("at"), "start"

    def say(self, *words: str) -> None:
        os.write(self._pipe, (" ".join(words) + "\n").encode())

    def resume(self, run: Run) -> None:
        """A step that is repeated after a death need not begin its stage again: it is the one that was under way."""
        going = [stage for stage, entry in run.stages.items() if entry["status"] == "running"]
        self._stage = going[-1] if going else self._stage

    def passed(self, name: str, side: str, arguments: tuple[Any, ...]) -> None:
        """Die here, if it is the place."""
        if name == "begin_stage":
            self._stage = str(arguments[1])
        place = f"{self._stage}/{name}/{side}"
        self.say("at", place)
        if place == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: type, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def passing(this: Any, *arguments: Any, **named: Any) -> Any:
            self.passed(name, "before", arguments)
            result = original(this, *arguments, **named)
            self.passed(name, "after", arguments)
            return result

        setattr(owner, name, passing)


def work(settings: Settings, nemo: Nemo, told: Told) -> None:
    """One worker's life."""
    for owner, names in PLACES.items():
        for name in names:
            told.wrap(owner, name)
    flywheel.runs.Nemo = lambda _: nemo  # type: ignore[assignment,misc]  # made before the fork: its certificates take long to load
    store = Store(settings.store_path)
    records = RunRecords(store.database)
    if (run := records.active()) is None:
        rate(store, told, corrected=True)  # without something new nobody may ask
        run = request(store, "somebody")
    told.resume(run)
    wheel = Wheel(settings, store, recipe=TINY)
    assert wheel.launch()
    turns = 0
    while records.run(run.id).active:
        turns += 1
        rate(store, told, corrected=turns % CORRECTED == 1)
        time.sleep(0.01)
    told.say("ended", run.id, records.run(run.id).status)
    wheel.shutdown()


def rate(store: Store, told: Told, corrected: bool) -> None:
    """Ask, rate and perhaps correct; what was acknowledged is told only then."""
    word = new_id("room")
    turn = store.begin_turn(store.create_conversation("ann"), f"Light in {word}", tools=[TOOL], model="m", context=[])
    said = {"role": "assistant", "content": "No."}
    store.save_turn(turn.id, status="answered", messages=[*turn.messages, said], answer="No.", verdicts=[], timings={})
    store.rate("ann", turn.id, "down", ["wrong_tool"], word)
    told.say("rated", turn.id, word)
    if corrected:
        call = {"type": "function", "function": {"name": "set_lamp", "arguments": {"level": 7}}}
        ReviewDesk(store, Ledger(store.database)).approve(
            turn.id, "rita", {"role": "assistant", "content": "", "tool_calls": [call]}
        )
        told.say("corrected", turn.id)


def obey(settings: Settings, nemo: Nemo, order: dict[str, Any]) -> dict[str, Any]:
    """Fork a worker, kill it if that was the order, and say how it went."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            work(settings, nemo, Told(writing, order))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    said = []
    with open(reading, encoding="utf-8") as pipe:
        for line in pipe:
            if "after" in order and not said:  # from the first sign of life on: how long a start takes is the machine's affair
                threading.Timer(order["after"], os.kill, (pid, signal.SIGKILL)).start()
            said.append(line.split())
    _, status = os.waitpid(pid, 0)
    places = [words[1] for words in said if words[0] == "at"]
    acknowledged = [words for words in said if words[0] != "at"]
    return {"killed": os.WIFSIGNALED(status), "code": status, "at": places[-1] if places else "start", "said": acknowledged}


def warm(nemo: Nemo) -> None:
    """Load what the first use of each client loads, so that no worker has to."""
    load_replay(), load_old_skills()
    nemo.ensure_namespace()
    url = nemo.upload("warm", {"a": b"1"})
    nemo.training(nemo.create_training("warm", "warm", "flywheel/warm@v1", TINY.hyperparameters()))
    job = nemo.create_evaluation("warm", "current", "m", f"{url}/a", 1)
    nemo.evaluation(job), nemo.evaluation_samples(job), nemo.model_ids()


def main(home: str, url: str) -> None:
    """Obey until there are no more orders."""
    flywheel.stages.POLL_SECONDS = 0.02
    flywheel.runs.LOOK_SECONDS = flywheel.runs.POLL_SECONDS = 0.05
    settings = Settings(home=Path(home)).prepare().with_urls(f"{url}/nemo", f"{url}/nds", f"{url}/nim")
    nemo = Nemo(settings)
    warm(nemo)
    assert threading.active_count() == 1  # a fork takes no other thread along
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(obey(settings, nemo, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
