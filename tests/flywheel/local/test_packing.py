"""Rows packed behind the prompt beginning that they share: fewer tokens, the same loss and the same gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flywheel.local.hyperparameters import Hyperparameters
from flywheel.local.job_folder import TrainingSpec
from flywheel.local.lora import AnswerTraining
from flywheel.local.packing import PACKED_TOKENS, SHAPE_STEP, TOKENS_AT_ONCE, Example, batch_of, parts, shared_prefix

BASE = Path(__file__).parents[3] / "flywheel" / "local" / "base"
PREFIX = [1, *range(20, 220)]


def row(own: list[int], answer: int, prefix: list[int] = PREFIX) -> Example:
    ids = prefix + own
    return Example(ids, [-100] * (len(ids) - answer) + ids[len(ids) - answer :])


@pytest.fixture
def lora() -> AnswerTraining:
    wanted = Hyperparameters(finetuning_type="lora")
    training = AnswerTraining(TrainingSpec(base_id="x", base_path=BASE, max_seq_length=2048, hyperparameters=wanted))
    training._bfloat16 = False  # so that equal means equal
    return training


FAMILY = [row([300 + n, 301, 302, 303 + n, 304], answer=3) for n in range(6)] + [row([9, 8, 7, 6, 5, 4, 3, 2], answer=5)]
OTHERS = [row(list(range(400, 400 + n)), answer=4, prefix=[1, 2]) for n in (6, 90, 30)]


def test_packed_rows_have_the_loss_that_they_have_alone(lora: AnswerTraining) -> None:
    batch = FAMILY + OTHERS
    alone = sum(lora.validate([example]) * example.answer_length for example in batch) / sum(e.answer_length for e in batch)
    assert any(batch_of(part).ids.shape[0] == 1 and len(part) == len(FAMILY) for part in parts(batch))
    assert lora.validate(batch) == pytest.approx(alone, rel=1e-5)


def test_packed_rows_teach_what_they_teach_alone(lora: AnswerTraining) -> None:
    def gradients(cut: list[list[Example]]) -> dict[str, torch.Tensor]:
        lora._optimizer.zero_grad()
        for part in cut:
            lora._loss(part).backward()
        return {name: weight.grad.clone() for name, weight in lora._weights.items() if weight.grad is not None}

    together, alone = gradients(parts(FAMILY)), gradients([[example] for example in FAMILY])
    assert together.keys() == alone.keys() and any(gradient.abs().max() > 0 for gradient in alone.values())
    for name, gradient in alone.items():
        assert torch.allclose(gradient, together[name], rtol=1e-3, atol=1e-4), name


def test_packing_computes_fewer_tokens_and_keeps_within_bounds() -> None:
    many = [row([n + 10, n + 11, n + 12], answer=2) for n in range(500)]
    cut = parts(many + OTHERS)
    assert sum(len(part) for part in cut) == len(many) + len(OTHERS)
    sizes = [batch_of(part).ids.numel() for part in cut]
    assert max(sizes) <= max(PACKED_TOKENS, TOKENS_AT_ONCE) + 3 * SHAPE_STEP
    assert sum(sizes) < sum(len(example.ids) for example in many) / 5


def test_what_is_learned_is_never_shared() -> None:
    twins = [row([5, 6, 7], answer=2), row([5, 6, 7], answer=2)]
    assert shared_prefix(twins) == len(PREFIX)
    assert batch_of(twins).labels.ne(-100).sum() == 4
