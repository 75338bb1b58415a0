"""How fast a run's training goes, and in how much memory: `python -m tests.benchmarks.training`.

A small fixed set of rows that offer the 13 shipped tools, trained twice by the recipe of a run: packed behind the prompt
beginning that the rows share, and padded side by side. Each in a process of its own, without the platform. Losses are shown
because they must not differ by more than rounding does: packing is to change the time only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flywheel.local.settings import prepare_environment

WAYS = ("packed", "padded")
CONTEXT = 2048
LOSSES = {
    "in_float32": "all rows before training, float32",
    "first_loss": "first step",
    "last_loss": "last step",
    "afterwards": "all rows after training",
}


def measure(way: str, rows: int, epochs: int, threads: int) -> dict[str, Any]:
    """What the child does: train, and say how long it took, what it lost and how much memory it had at most."""
    prepare_environment()
    import torch
    from transformers.utils.logging import disable_progress_bar

    from flywheel.local import packing
    from flywheel.local.lora import AnswerTraining, has_bfloat16

    disable_progress_bar()  # type: ignore[no-untyped-call]
    if threads:
        torch.set_num_threads(threads)
    if way == "padded":
        packing.WORTH_SHARING = CONTEXT  # no beginning is that long: every row is then treated as one without relatives
    spec, bfloat16 = _spec(epochs), has_bfloat16()
    examples, training = _examples(rows), AnswerTraining(spec)
    batches = _batches(examples, spec)
    passes = [part for batch in batches for part in packing.parts(batch)]
    began, losses = time.perf_counter(), []
    for step, batch in enumerate(batches):
        losses.append(training.train(batch, spec.hyperparameters.learning_rate_at(step, len(batches))))
    seconds, peak_bytes = time.perf_counter() - began, _peak_bytes()
    return {
        "seconds": seconds,
        "tokens": sum(len(example.ids) for batch in batches for example in batch),
        "computed": sum(packing.batch_of(part).ids.numel() for part in passes),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "afterwards": training.validate(examples),
        "peak_bytes": peak_bytes,
        "in_float32": _loss_in_float32(examples, spec),
        "steps": len(batches),
        "threads": torch.get_num_threads(),
        "bfloat16": bfloat16,
    }


def _spec(epochs: int) -> Any:
    """What a run's job would say: its recipe, for the base model that ships."""
    from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH
    from flywheel.local.hyperparameters import Hyperparameters
    from flywheel.local.job_folder import TrainingSpec
    from flywheel.train import LOCAL_RECIPE

    wanted = Hyperparameters.model_validate(LOCAL_RECIPE.hyperparameters() | {"epochs": epochs})
    return TrainingSpec(base_id=SHIPPED_ID, base_path=SHIPPED_PATH, max_seq_length=CONTEXT, hyperparameters=wanted)


def _examples(count: int) -> list[Any]:
    from transformers import AutoTokenizer

    from flywheel.local.base_model import SHIPPED_PATH
    from flywheel.local.chat_format import ChatFormat
    from flywheel.local.packing import Example
    from tests.benchmarks.questions import rows

    chat = ChatFormat(AutoTokenizer.from_pretrained(SHIPPED_PATH, local_files_only=True), CONTEXT)
    return [Example(*chat.supervised(row["messages"], row["tools"])) for row in rows(count)]


def _batches(examples: list[Any], spec: Any) -> list[list[Any]]:
    """The batches of all epochs, as a job would draw them."""
    from flywheel.local.packing import WORTH_SHARING
    from flywheel.local.training import epoch_batches

    wanted, kin = spec.hyperparameters, [(*example.ids[:WORTH_SHARING], len(example.ids)) for example in examples]
    epochs = (epoch_batches(kin, wanted.batch_size, wanted.seed, epoch) for epoch in range(wanted.epochs))
    return [[examples[row] for row in batch] for batches in epochs for batch in batches]


def _loss_in_float32(examples: list[Any], spec: Any) -> float:
    """The loss before training, in arithmetic whose rounding does not show."""
    from flywheel.local import lora

    lora.has_bfloat16 = lambda: False
    return lora.AnswerTraining(spec).validate(examples)


def _peak_bytes() -> int:
    """The most memory that this process had in its life; what its parent had before is not in it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _in_child(way: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.training", "--child", way]
    command += ["--rows", str(options.rows), "--epochs", str(options.epochs), "--threads", str(options.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(found: dict[str, dict[str, Any]]) -> str:
    """The table: packed against padded."""
    from tests.benchmarks.machine import ratio, table

    packed, padded = found["packed"], found["padded"]
    speeds = [each["tokens"] / each["seconds"] for each in (packed, padded)]
    megabytes = [each["peak_bytes"] / 1e6 for each in (packed, padded)]
    lines = [
        ("seconds", f"{packed['seconds']:.2f}", f"{padded['seconds']:.2f}", ratio(packed["seconds"], padded["seconds"])),
        ("tokens of the rows per second", f"{speeds[0]:.0f}", f"{speeds[1]:.0f}", ratio(*speeds)),
        ("tokens computed", packed["computed"], padded["computed"], ratio(packed["computed"], padded["computed"])),
        ("peak RSS, MB", f"{megabytes[0]:.0f}", f"{megabytes[1]:.0f}", ratio(*megabytes)),
    ]
    for name, words in LOSSES.items():
        lines.append((f"loss, {words}", f"{packed[name]:.5f}", f"{padded[name]:.5f}", ratio(packed[name], padded[name])))
    return table(["training", "packed", "padded (baseline)", "ratio"], lines)


def main() -> None:
    """Measure both ways and print."""
    parser = argparse.ArgumentParser(description="Time training with rows packed and padded.")
    parser.add_argument("--rows", type=int, default=64, help="how many rows")
    parser.add_argument("--epochs", type=int, default=2, help="how many passes over them")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; default: torch's own choice, as in a job")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.rows, options.epochs, options.threads)))
        return
    from tests.benchmarks.machine import facts, note

    machine, found = facts(), {}
    for way in WAYS:
        note(f"{way} ...")
        found[way] = _in_child(way, options)
    steps, threads, bfloat16 = (found["packed"][name] for name in ("steps", "threads", "bfloat16"))
    print(machine)
    print(f"{options.rows} rows, 13 tools on offer, {options.epochs} epochs, {steps} steps, torch threads {threads},", end=" ")
    print(f"arithmetic in {'bfloat16' if bfloat16 else 'float32'}.\n")
    print(report(found))


if __name__ == "__main__":
    main()
