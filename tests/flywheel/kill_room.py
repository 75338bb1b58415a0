"""Kills the process that turns the wheel, again and again, and looks after each death whether anything was lost or doubled.

Knows what was acknowledged, the store's file and the services' memory. Which places there are is the parent's (kill_parent.py).
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from flywheel.ledger import Ledger
from flywheel.promote import Registry
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.store import Store
from tests.conftest import fix_sides
from tests.flywheel.lamps import lamp_row
from tests.flywheel.wheel_services import WheelServices

MIDDLES = {
    "curate": "save_dataset/before save_dataset/after",
    "upload": "ensure_namespace/after upload/before upload/after",
    "train": "create_training/before create_training/after note_candidate/after training/after add_losses/after model_ids/after"
    " add/after",
    "evaluate": "create_evaluation/before create_evaluation/after evaluation/after evaluation_samples/after note/after",
    "gate": "note_candidate/after pass_over/before pass_over/after note/before note/after",
    "promote": "model_ids/after promote/before promote/after finish/before finish/after",
}
"""Stage → where it is in the middle: around everything that it writes or asks for."""
PLACES = [
    f"{stage}/{place}"
    for stage, middles in MIDDLES.items()
    for place in ["begin_stage/before", "begin_stage/after", *middles.split(), "end_stage/before", "end_stage/after"]
]
"""In the order in which a run passes them: what is behind it, it does not pass again."""
PER_RUN = 15
"""Kills in one run: after MAX_RECOVERY_ATTEMPTS restarts the product itself gives a run up."""


def orders(seed: int) -> Iterator[dict[str, Any]]:
    """Without end: a run is killed at PER_RUN places or at as many moments by chance, then left to end; every place comes."""
    chance, places = random.Random(seed), list[str]()
    while True:
        if len(places) < PER_RUN:
            places += chance.sample(PLACES, len(PLACES))
        chosen, places = sorted(places[:PER_RUN], key=PLACES.index), places[PER_RUN:]
        yield from ({"at": place} for place in chosen)
        yield {}
        yield from ({"after": round(chance.uniform(0.02, 0.5), 3)} for _ in range(PER_RUN // 3))
        yield {}


class KillRoom:
    """One state folder whose wheel is killed. Use as a context manager."""

    def __init__(self, home: Path, seed: int = 1) -> None:
        self.settings = Settings(home=home).prepare()
        self.kills = Counter[str]()
        self.runs: list[str] = []
        self._orders = orders(seed)
        self._rated: dict[str, str] = {}
        self._corrected: set[str] = set()
        self._services = WheelServices(LOCAL_BASE_MODEL)

    def __enter__(self) -> KillRoom:
        with closing(Store(self.settings.store_path)) as store:
            fix_sides(store.database)
            Registry(store.database).begin(LOCAL_BASE_MODEL)
            Ledger(store.database).add_import("lamps", "0" * 64, enumerate(map(lamp_row, range(60)), 1), [], "dev")
        self._services.__enter__()
        command = [sys.executable, str(Path(__file__).with_name("kill_parent.py")), str(self.settings.home), self._services.url]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent.stdin and self._parent.stdout
        self._parent.stdin.close()
        self._parent.wait(30)
        self._parent.stdout.close()
        self._services.__exit__()

    def kill(self, count: int) -> None:
        """Kill so many workers, then let the last run end. Raises AssertionError where anything was lost or doubled."""
        while sum(self.kills.values()) < count:
            self._once(next(self._orders))
        self._once({})

    def _once(self, order: dict[str, Any]) -> None:
        assert self._parent.stdin
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        answer = self._answer()
        for kind, subject, *rest in answer["said"]:
            if kind == "rated":
                self._rated[subject] = rest[0]
            elif kind == "corrected":
                self._corrected.add(subject)
            else:
                self.runs.append(subject)
                assert rest == ["succeeded"], answer
        if answer["killed"]:
            self.kills[order.get("at", f"by chance in {answer['at'].partition('/')[0]}")] += 1
        else:
            assert answer["code"] == 0, (order, answer)
        self._check(f"{order} {answer['at']}")

    def _answer(self) -> dict[str, Any]:
        assert self._parent.stdout
        line = self._parent.stdout.readline()
        assert line, "the parent of the workers ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _check(self, place: str) -> None:
        """What must hold after every death."""
        with closing(sqlite3.connect(self.settings.store_path)) as database:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return database.execute(sql).fetchall()

            assert rows("PRAGMA integrity_check") == [("ok",)], place
            ratings = rows("SELECT turn_id, opinion FROM ratings WHERE thumb = 'down' AND person = 'ann'")
            assert self._rated.items() <= dict(ratings).items() and len(ratings) == len(dict(ratings)), place
            reviews = Counter(turn for (turn,) in rows("SELECT turn_id FROM reviews WHERE verdict = 'approved'"))
            assert self._corrected <= reviews.keys() and set(reviews.values()) <= {1}, place
            taught = Counter(turn for (turn,) in rows("SELECT turn_id FROM examples WHERE source = 'correction'"))
            assert self._corrected <= taught.keys() and set(taught.values()) <= {1}, place
            assert rows("SELECT count(*) FROM served s JOIN models m ON m.id = s.model") == [(1,)], place
            assert rows("SELECT model FROM served") == rows("SELECT model FROM promotions ORDER BY id DESC LIMIT 1"), place
            assert rows("SELECT model FROM promotions GROUP BY model HAVING count(*) > 1") == [], place
            assert rows("SELECT count(*) FROM runs WHERE status IN ('queued', 'running')")[0][0] <= 1, place
        jobs = [job["output_model"] for job in self._services.trained]
        asked = [job["description"] for job in self._services.evaluated]
        assert len(set(jobs)) == len(jobs) and len(set(asked)) == len(asked), place

    def table(self) -> str:
        """Where the wheel was killed, and how often."""
        head = f"{sum(self.kills.values())} kills, {len(self.runs)} runs ended; acknowledged and kept:"
        lines = [f"{head} {len(self._rated)} ratings, {len(self._corrected)} corrections"]
        return "\n".join(lines + [f"{number:>5}  {place}" for place, number in sorted(self.kills.items())])
