"""The training child: `python -m flywheel.local.trainer JOBDIR` trains one LoRA adapter from a job's folder.

Knows how a child process behaves: one trains at a time, it stops at SIGTERM or when its standard input ends because the platform
that started it is gone, and it says how it ended. Does not know how training works, HTTP, or what becomes of the adapter.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from filelock import FileLock

from flywheel.local.job_folder import STOPPED, JobFolder, Outcome, Unfit
from flywheel.local.settings import prepare_environment

NICENESS = 10
"""Whoever serves on the same cores goes first."""
STOP_SECONDS = 20.0
LOCK_SECONDS = 120.0


class Stop:
    """Whether this child was asked to stop. Before training begins it exits at once: there is nothing to save."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._training = False

    def asked(self) -> bool:
        """Whether to save a checkpoint and leave."""
        return self._asked.is_set()

    def watch_parent(self) -> None:
        """Take the end of standard input as the wish to stop: the platform holds its other end, and death closes it."""
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def begin_training(self) -> None:
        """From now on a wish to stop waits for the checkpoint after the present step, though no longer than STOP_SECONDS."""
        self._training = True
        signal.signal(signal.SIGTERM, lambda *_: self._asked.set())

    def _wait_for_end(self) -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        if self._training:
            self._asked.set()
            time.sleep(STOP_SECONDS)
        os._exit(STOPPED)


def main(arguments: list[str]) -> int:
    """Train the job in the folder that the only argument names. Returns the exit status: 0, 1 or STOPPED."""
    prepare_environment()
    os.nice(NICENESS)
    folder = JobFolder(Path(arguments[0]).resolve())
    stop = Stop()
    stop.watch_parent()
    # A child orphaned by a killed platform may still be saving: its successor waits, and then reads what it saved.
    with FileLock(folder.path.parent / "training.lock", timeout=LOCK_SECONDS):
        try:
            outcome = _train(folder, stop)
        except Exception as error:
            # Clients read this log: what is wrong with their rows needs no word about this program's insides.
            print(error, file=sys.stderr) if isinstance(error, Unfit) else traceback.print_exc()
            outcome = Outcome(status="failed", detail=_reason(error, folder))
        if outcome:
            folder.write_outcome(outcome)
    return STOPPED if outcome is None else int(outcome.status == "failed")


def _train(folder: JobFolder, stop: Stop) -> Outcome | None:
    from flywheel.local.training import Training  # torch and peft take seconds to import: the wish to stop is heard before

    spec = folder.spec()
    if spec is None:
        raise Unfit(f"{folder.path} holds no spec.json: nothing says what to train")
    return Outcome(status="completed") if Training(folder, spec).run(stop) else None


def _reason(error: Exception, folder: JobFolder) -> str:
    if isinstance(error, Unfit):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {folder.path.parent}: free some, then start the job again"
    last = folder.log_tail()
    return f"training stopped with {type(error).__name__}: {error}" + (f"\nThe last lines of its log:\n{last}" if last else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
