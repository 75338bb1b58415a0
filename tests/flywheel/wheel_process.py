"""A process that works runs off and dies, as by kill -9, right after a given call. test_runs.py starts it again and again.

python wheel_process.py HOME NEMO_URL NDS_URL NIM_URL NAMESPACE [POINT]
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.cli_text import Follower, run_object
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.nemo import Nemo
from flywheel.promote import Registry
from flywheel.runs import Wheel
from flywheel.settings import Settings
from flywheel.store import Store
from flywheel.train import Recipe

TINY = Recipe(epochs=3, batch_size=8, learning_rate=2e-3, adapter_dim=8, alpha=16, adapter_dropout=0.0)

Due = Callable[[Any, dict[str, Any]], bool]


def always(result: Any, named: dict[str, Any]) -> bool:
    """Die at the first call."""
    return True


POINTS: dict[str, tuple[type, str, Due]] = {
    "curate": (Ledger, "save_dataset", always),
    "upload": (Nemo, "upload", always),
    "submit the training": (Nemo, "create_training", always),
    "train": (Nemo, "training", lambda state, named: bool(state.percent > 0)),
    "see the trained model": (Nemo, "model_ids", always),
    "submit an evaluation": (Nemo, "create_evaluation", always),
    "evaluate": (Nemo, "evaluation", always),
    "score": (Nemo, "evaluation_samples", always),
    "gate": (RunRecords, "note", lambda result, named: "verdict" in named),
    "promote, before the commit": (Registry, "promote", always),
}
"""Where to die: the call after whose effect nothing more happens."""


def die_after(owner: type, name: str, due: Due) -> None:
    """Let a method end the process once it has done its work."""
    original = getattr(owner, name)

    def last(self: Any, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        if due(result, named):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, last)


def main(home: str, nemo_url: str, nds_url: str, nim_url: str, namespace: str, point: str = "") -> None:
    """Work off the run that is under way and print it as JSON."""
    if point:
        die_after(*POINTS[point])
    settings = Settings(home=Path(home), namespace=namespace).with_urls(nemo_url, nds_url, nim_url)
    store = Store(settings.store_path)
    run = RunRecords(store.database).active()
    assert run is not None
    wheel = Wheel(settings, store, recipe=TINY)
    assert wheel.launch()
    done = Follower(lambda text: None).follow(RunRecords(store.database), run.id)
    wheel.shutdown()
    store.close()
    print(json.dumps(run_object(done)))


if __name__ == "__main__":
    main(*sys.argv[1:])
