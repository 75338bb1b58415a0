"""One training job from its rows and last checkpoint to its adapter: the plain loop.

Knows epochs, batches, validation, when to log and when to save. Does not know how a loss is computed, nor processes or HTTP.
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from flywheel.local.chat_format import ChatFormat, PromptError, PromptTooLong
from flywheel.local.checkpoint import Checkpoint, Progress, read_checkpoint, write_checkpoint
from flywheel.local.dpo import Pair, PreferenceTraining
from flywheel.local.job_folder import JobFolder, TrainingSpec, Unfit
from flywheel.local.lora import AnswerTraining, LoraTraining
from flywheel.local.packing import WORTH_SHARING, Example
from flywheel.local.preferences import PreferenceRow, read_preference
from flywheel.local.training_rows import BadRows, TrainingRow, read_row, read_rows, split_rows

VALIDATION_SHARE = 0.1
POOL_BATCHES = 8
SAVING_SHARE = 0.05


class StopSignal(Protocol):
    """Who may ask the loop to stop."""

    def begin_training(self) -> None: ...
    def asked(self) -> bool: ...


class Examples:
    """The job's rows as tokens: `training`, `validation` (empty where there is one row only), and `warnings` to the person."""

    def __init__(self, data: Path, spec: TrainingSpec) -> None:
        """Read and check all rows under `data`/training and `data`/validation. Raises Unfit, which names the rows."""
        self.warnings: list[str] = []
        tokenizer = AutoTokenizer.from_pretrained(spec.base_path, local_files_only=True)
        self._format = ChatFormat(tokenizer, spec.max_seq_length)
        answers = partial(read_row, template=spec.prompt_template)
        read: Any = read_preference if spec.hyperparameters.training_type == "dpo" else answers
        try:
            rows, held_out = (read_rows(data / split, read, spec.tools) for split in ("training", "validation"))
        except BadRows as error:
            raise Unfit(str(error)) from error
        if rows and not held_out:
            count = len(rows)
            rows, held_out = split_rows(rows, VALIDATION_SHARE, spec.hyperparameters.seed)
            self.warnings.append(f"no validation rows: {len(held_out)} of {count} training rows are held out instead")
        self.training, self.validation = self._tokens(rows, "training"), self._tokens(held_out, "validation")
        if not self.training:
            raise Unfit(f"no training row fits into {spec.max_seq_length} tokens" if rows else "the training files hold no rows")

    def _tokens(self, rows: Sequence[TrainingRow | PreferenceRow], split: str) -> list[Example | Pair]:
        examples: list[Example | Pair] = []
        too_long = 0
        for row in rows:
            try:
                examples.append(self._example(row))
            except PromptTooLong:
                too_long += 1
            except PromptError as error:
                raise Unfit(f"{row.where}: {error}") from error
        if too_long:
            limit = self._format.max_length
            self.warnings.append(f"{too_long} of {len(rows)} {split} rows are longer than {limit} tokens and left out")
        return examples

    def _example(self, row: TrainingRow | PreferenceRow) -> Example | Pair:
        if isinstance(row, TrainingRow):
            return Example(*self._format.supervised(row.messages, row.tools))
        answers = ([*row.messages, {"role": "assistant", "content": text}] for text in (row.chosen, row.rejected))
        chosen, rejected = (Example(*self._format.supervised(messages, row.tools)) for messages in answers)
        return Pair(chosen, rejected)


class Training:
    """The loop over one job's steps, and what it remembers between them."""

    def __init__(self, folder: JobFolder, spec: TrainingSpec) -> None:
        """Read the rows, load the base, and go back to the last checkpoint if there is one. Raises Unfit."""
        # The log is read by people when something went wrong.
        disable_progress_bar()  # type: ignore[no-untyped-call]
        self._folder, self._spec, self._wanted = folder, spec, spec.hyperparameters
        self._examples = Examples(folder.data, spec)
        try:
            self._lora: LoraTraining[Any] = (
                PreferenceTraining(spec) if spec.hyperparameters.training_type == "dpo" else AnswerTraining(spec)
            )
        except ValueError as error:
            raise Unfit(str(error)) from error
        self._progress, self._best = Progress(), dict[str, Tensor]()
        if checkpoint := read_checkpoint(folder.checkpoint):
            self._lora.restore(checkpoint.state)
            self._progress, self._best = checkpoint.progress, checkpoint.best
        folder.forget_events_after(self._progress.step)
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self._cpu_told = 0.0

    def run(self, stop: StopSignal) -> bool:
        """Train to the end and write the adapter; False where it was asked to stop and left a checkpoint instead."""
        rows, wanted = self._examples.training, self._wanted
        per_epoch, total = wanted.steps_per_epoch(len(rows)), wanted.total_steps(len(rows))
        counts = {"training_rows": len(rows), "validation_rows": len(self._examples.validation)}
        plan = {"total_steps": total, "steps_per_epoch": per_epoch, **counts, "warnings": self._examples.warnings}
        self._folder.say("plan", **plan, cpu_seconds=self._cpu_seconds())
        stop.begin_training()
        kinships = [(*row.ids[:WORTH_SHARING], len(row.ids)) for row in rows]
        batches: list[list[int]] = []
        while (step := self._progress.step) < total:
            epoch, place = divmod(step, per_epoch)
            if place == 0 or not batches:
                batches = epoch_batches(kinships, wanted.batch_size, wanted.seed, epoch)
            last = step + 1 == total
            batch = [rows[row] for row in batches[place]]
            self._step(step, batch, wanted.learning_rate_at(step, total), last)
            if last or (place + 1) % wanted.validation_steps(len(rows)) == 0:
                self._validate(step, epoch + 1)
            self._progress.step += 1
            took = {"tokens": sum(map(_token_count, batch)), "cpu_seconds": self._cpu_seconds()}
            self._folder.say("step", step=step, epochs_completed=(step + 1) // per_epoch, **took)
            if stop.asked() and not last:
                self._save()
                return False
            self._save_if_due()
        self._finish()
        return True

    def _step(self, step: int, batch: Sequence[Example | Pair], learning_rate: float, last: bool) -> None:
        loss = self._finite(self._lora.train(batch, learning_rate), "training", step)
        self._progress.recent.append(loss)
        if last or (step + 1) % self._wanted.log_every_n_steps == 0:
            self._folder.say("train_loss", step=step, value=math.fsum(self._progress.recent) / len(self._progress.recent))
            self._progress.recent = []

    def _validate(self, step: int, epoch: int) -> None:
        if not self._examples.validation:
            return
        loss = self._finite(self._lora.validate(self._examples.validation), "validation", step)
        best = self._progress.best_loss is None or loss < self._progress.best_loss
        if best:
            self._best = self._lora.weights()
            self._progress.best_loss, self._progress.best_epoch = loss, epoch
        self._folder.say("val_loss", step=step, value=loss, epoch=epoch, best=best)

    def _cpu_seconds(self) -> float:
        """Processor seconds of this process since the last time it was asked, or since its start."""
        told, self._cpu_told = self._cpu_told, time.process_time()
        return round(self._cpu_told - told, 3)

    def _finite(self, loss: float, split: str, step: int) -> float:
        if not math.isfinite(loss):
            raise Unfit(f"the {split} loss became {loss} at step {step}: lower learning_rate ({self._wanted.learning_rate})")
        return loss

    def _save_if_due(self) -> None:
        # However slow the disk and however large the adapter, saving takes no more than its share of the time.
        if time.monotonic() - self._saved_at >= max(self._spec.checkpoint_seconds, self._save_seconds / SAVING_SHARE):
            self._save()

    def _save(self) -> None:
        began = time.monotonic()
        write_checkpoint(self._folder.checkpoint, Checkpoint(progress=self._progress, state=self._lora.state(), best=self._best))
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - began

    def _finish(self) -> None:
        if self._best:
            self._lora.set_weights(self._best)
        draft = self._folder.adapter.with_name("adapter.draft")
        for left in (draft, self._folder.adapter):  # a child killed at this very place left them
            shutil.rmtree(left, ignore_errors=True)
        self._lora.save_adapter(draft)
        draft.rename(self._folder.adapter)


def _token_count(row: Example | Pair) -> int:
    return len(row.ids) if isinstance(row, Example) else len(row.chosen.ids) + len(row.rejected.ids)


def epoch_batches(kinships: Sequence[tuple[int, ...]], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The row numbers of one epoch's batches, the same for the same arguments.

    Rows are shuffled, then sorted within pools of a few batches by how they begin and how long they are, so that rows which share
    a beginning meet in a batch, little is padded, and chance remains.
    """
    chance = random.Random(f"{seed}/{epoch}")
    order = chance.sample(range(len(kinships)), len(kinships))
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_size * POOL_BATCHES):
        pool = sorted(order[start : start + batch_size * POOL_BATCHES], key=lambda row: kinships[row])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    chance.shuffle(batches)
    return batches
