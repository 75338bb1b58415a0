"""The training child as a process: how it ends, what it saves when it is stopped, and how its successor goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trainer_jobs import make_job, rows, tiny_base, write_rows

from flywheel.local.checkpoint import read_checkpoint
from flywheel.local.job_folder import STOPPED, JobFolder, Outcome


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    return tiny_base(tmp_path_factory.mktemp("base"))


def start_child(folder: JobFolder) -> subprocess.Popen[bytes]:
    with folder.log.open("ab") as output:
        command = [sys.executable, "-m", "flywheel.local.trainer", str(folder.path)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)


def wait_for_step(folder: JobFolder, child: subprocess.Popen[bytes], step: int = 1) -> None:
    deadline = time.monotonic() + 90
    while not any(said.get("step", -1) >= step for said in folder.events()):
        assert child.poll() is None and time.monotonic() < deadline, folder.log_tail()
        time.sleep(0.05)


def end_child(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    if child.stdin:
        child.stdin.close()


@pytest.mark.slow
def test_the_child_trains_and_says_how_it_ended(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, epochs=1)
    child = start_child(folder)
    assert child.wait(timeout=90) == 0, folder.log_tail()
    assert folder.outcome() == Outcome(status="completed")
    assert (folder.adapter / "adapter_model.safetensors").exists()
    end_child(child)


@pytest.mark.slow
def test_the_child_names_the_bad_row(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base)
    write_rows(folder.data / "training" / "worse.jsonl", [rows(1)[0], {"messages": []}])
    child = start_child(folder)
    assert child.wait(timeout=90) == 1
    outcome = folder.outcome()
    assert outcome is not None and outcome.status == "failed"
    assert "training/worse.jsonl:2: a row needs 'messages'" in str(outcome.detail)
    end_child(child)


@pytest.mark.slow
def test_a_full_disk_is_a_reason(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base)
    (folder.path / "checkpoint.safetensors.draft").symlink_to("/dev/full")
    child = start_child(folder)
    assert child.wait(timeout=90) == 1
    outcome = folder.outcome()
    assert outcome is not None and str(outcome.detail).startswith("no space left on the disk")
    end_child(child)


@pytest.mark.slow
def test_sigterm_saves_a_checkpoint(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, checkpoint_seconds=1e9, epochs=1000)
    child = start_child(folder)
    wait_for_step(folder, child)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == STOPPED
    checkpoint = read_checkpoint(folder.checkpoint)
    assert checkpoint is not None and folder.outcome() is None
    assert checkpoint.progress.step == folder.events()[-1]["step"] + 1
    end_child(child)


@pytest.mark.slow
def test_an_orphan_saves_and_leaves_before_its_successor_trains(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, checkpoint_seconds=1e9, epochs=1000)
    orphan = start_child(folder)
    wait_for_step(folder, orphan)
    successor = start_child(folder)
    time.sleep(1)
    assert os.getpriority(os.PRIO_PROCESS, orphan.pid) == 10
    assert orphan.stdin is not None
    orphan.stdin.close()  # as the kernel does when the platform dies
    assert orphan.wait(timeout=20) == STOPPED
    saved = folder.events()[-1]["step"]
    wait_for_step(folder, successor, saved + 2)
    end_child(successor)
    end_child(orphan)
    steps = [said["step"] for said in folder.events() if said["event"] == "step"]
    assert steps == list(range(len(steps)))
    assert sum(said["event"] == "plan" for said in folder.events()) == 2
