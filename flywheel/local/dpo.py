"""Direct preference optimisation of a LoRA adapter: the chosen answer is to become likelier than the rejected one.

The reference policy is the base itself, with the adapter switched off (Rafailov et al. 2023; the names of the hyperparameters are
NeMo's). Takes pairs of token sequences and gives losses; knows neither rows, epochs nor jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid

from flywheel.local.chat_format import IGNORED
from flywheel.local.hyperparameters import Dpo
from flywheel.local.job_folder import TrainingSpec
from flywheel.local.lora import LoraTraining
from flywheel.local.packing import TOKENS_AT_ONCE, Example, padded


class Pair(NamedTuple):
    """One preference as tokens; both sides begin with the same prompt."""

    chosen: Example
    rejected: Example

    @property
    def ids(self) -> list[int]:
        """The chosen side's tokens, by which rows are put into batches."""
        return self.chosen.ids


class PreferenceTraining(LoraTraining[Pair]):
    """The base, a fresh adapter and its AdamW, as in `LoraTraining`, under the loss of preferences."""

    def __init__(self, spec: TrainingSpec) -> None:
        super().__init__(spec)
        self._wanted = spec.hyperparameters.dpo or Dpo()
        self._clip = self._wanted.max_grad_norm
        self._reference: dict[tuple[tuple[int, ...], tuple[int, ...]], torch.Tensor] = {}

    def _accumulate(self, batch: Sequence[Pair]) -> float:
        """Add the gradients of the batch's mean loss; returns that loss."""
        total = 0.0
        for part in _parts(batch):
            loss = self._losses(part).sum() / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def validate(self, examples: Sequence[Pair]) -> float:
        """The mean loss over all pairs, with dropout off."""
        self._model.eval()
        with torch.inference_mode():
            total = sum(self._losses(part).sum().item() for part in _parts(examples))
        return float(total) / len(examples)

    def _losses(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """One loss for each pair."""
        wanted = self._wanted
        reference = self._reference_of(pairs)
        policy, lengths = self._log_probs(pairs)
        gains = policy - reference
        if wanted.preference_average_log_probs:
            gains = gains / lengths
        preferred = -logsigmoid(wanted.ref_policy_kl_penalty * (gains[0] - gains[1]))
        told = -policy[0] / lengths[0] if wanted.sft_average_log_probs else -policy[0]
        return wanted.preference_loss_weight * preferred + wanted.sft_loss_weight * told

    def _reference_of(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """What the base alone gives: it stays the same for the whole job, and so is computed once for each pair."""
        keys = [(tuple(pair.chosen.ids), tuple(pair.rejected.ids)) for pair in pairs]
        if any(key not in self._reference for key in keys):
            training = self._model.training
            self._model.eval()
            with torch.no_grad(), self._model.disable_adapter():
                found, _ = self._log_probs(pairs)
            self._model.train(training)
            self._reference.update(zip(keys, found.T.clone(), strict=True))
        return torch.stack([self._reference[key] for key in keys], dim=1)

    def _log_probs(self, pairs: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-probability (nats) of each answer, and its length in tokens: chosen ones first, (2, pairs) each."""
        logits, labels = self._forward(padded([*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]))
        learned = labels != IGNORED
        picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        return (picked * learned).sum(-1).view(2, -1), learned.sum(-1).view(2, -1)


def _parts(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Cut a batch into forward passes of bounded size; pairs of like length go together."""
    found: list[list[Pair]] = []
    for pair in sorted(pairs, key=_width):
        # The pair that comes last is the widest so far: all of its pass are padded to it.
        if found and 2 * (len(found[-1]) + 1) * _width(pair) <= TOKENS_AT_ONCE:
            found[-1].append(pair)
        else:
            found.append([pair])
    return found


def _width(pair: Pair) -> int:
    return max(len(pair.chosen.ids), len(pair.rejected.ids))
