"""The hyperparameters of a customization job: NVIDIA's names, checked, with defaults that suit a small model on a CPU.

Knows which of them are honoured here and says so of the others. Does not train, and knows no job.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

JobWarning = dict[str, str]
"""One entry of a job's `warnings`: `message` and `explanation`."""


class Lora(BaseModel):
    """The adapter's shape. `target_modules`: layer names of the base, NeMo's, or patterns with `*`; none = all linear layers."""

    model_config = ConfigDict(extra="allow", frozen=True)

    adapter_dim: int = Field(default=16, ge=1, le=1024)
    alpha: int = Field(default=16, ge=1)
    adapter_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    target_modules: tuple[str, ...] | None = None


class Dpo(BaseModel):
    """Preferences: how closely the adapter is to stay with the base (beta), and what an answer's own likelihood adds to the loss.

    The averages take an answer's log-probability per token instead of its sum.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    ref_policy_kl_penalty: float = Field(default=0.05, gt=0.0)
    preference_loss_weight: float = Field(default=1.0, ge=0.0)
    preference_average_log_probs: bool = False
    sft_loss_weight: float = Field(default=0.0, ge=0.0)
    sft_average_log_probs: bool = False
    max_grad_norm: float = Field(default=1.0, gt=0.0)


_DPO_DEFAULTS = {"epochs": 1, "learning_rate": 1e-4}
"""NeMo's own for all weights is 9e-6; an adapter, of which there is little, learns nothing at that."""


class Hyperparameters(BaseModel):
    """What a job may set. Unknown names are kept, so that they are echoed, and named by `warnings_about`.

    max_steps 0 = no limit. val_check_interval up to 1 is a share of an epoch, above 1 a number of steps. warmup_steps None = a
    twentieth of all steps. min_learning_rate is where the linear decay ends. sequence_packing_enabled is only echoed: answers are
    packed wherever that leaves the loss as it is, preferences never.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    training_type: str = "sft"
    finetuning_type: str
    epochs: int = Field(default=3, ge=1, le=1000)
    batch_size: int = Field(default=16, ge=1, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0.0, le=1.0)
    min_learning_rate: float = Field(default=0.0, ge=0.0)
    max_steps: int = Field(default=0, ge=0)
    warmup_steps: int | None = Field(default=None, ge=0)
    weight_decay: float = Field(default=0.01, ge=0.0, le=1.0)
    seed: int = Field(default=1234, ge=0, lt=2**32)
    log_every_n_steps: int = Field(default=10, ge=1)
    val_check_interval: float = Field(default=1.0, gt=0.0)
    sequence_packing_enabled: bool = False
    lora: Lora = Lora()
    dpo: Dpo | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kept = {key: item for key, item in value.items() if item is not None}
        return {**_DPO_DEFAULTS, **kept} if kept.get("training_type") == "dpo" else kept

    @model_validator(mode="after")
    def _learning_rates_in_order(self) -> Hyperparameters:
        if self.min_learning_rate >= self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate} must be below learning_rate {self.learning_rate}")
        return self

    def steps_per_epoch(self, rows: int) -> int:
        """How many optimiser steps one pass over that many rows takes."""
        return -(-rows // self.batch_size)

    def total_steps(self, rows: int) -> int:
        """How many optimiser steps the whole job takes with that many training rows."""
        steps = self.epochs * self.steps_per_epoch(rows)
        return min(steps, self.max_steps) if self.max_steps else steps

    def validation_steps(self, rows: int) -> int:
        """After how many steps the validation loss is taken each time."""
        per_epoch = self.steps_per_epoch(rows)
        wanted = self.val_check_interval * (per_epoch if self.val_check_interval <= 1 else 1)
        return max(1, min(per_epoch, round(wanted)))

    def learning_rate_at(self, step: int, total: int) -> float:
        """The rate of the 0-based `step` out of `total`: a linear rise in the warmup, a linear fall to min_learning_rate."""
        warmup = min(total // 20 if self.warmup_steps is None else self.warmup_steps, total - 1)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        left = (total - step) / (total - warmup)
        return self.min_learning_rate + (self.learning_rate - self.min_learning_rate) * left


def warnings_about(hyperparameters: Hyperparameters) -> list[JobWarning]:
    """What was asked for and is not honoured, one entry each."""
    extra = dict(hyperparameters.model_extra or {})
    dropouts = extra.pop("sft", None)
    parts = {"lora": hyperparameters.lora.model_extra, "sft": dropouts if isinstance(dropouts, dict) else {}}
    if hyperparameters.training_type == "dpo":
        parts["dpo"] = hyperparameters.dpo.model_extra if hyperparameters.dpo else {}
        extra["sequence_packing_enabled"] = hyperparameters.sequence_packing_enabled
    else:
        extra["dpo"] = hyperparameters.dpo
    asked = extra | {f"{part}.{name}": value for part, values in parts.items() for name, value in (values or {}).items()}
    warnings = [
        {"message": f"{name!r} is not honoured", "explanation": f"The local Customizer trains without {name!r}; the job goes on."}
        for name in sorted(name for name, value in asked.items() if value)
    ]
    return warnings + _rank_warning(hyperparameters.lora.adapter_dim)


def _rank_warning(rank: int) -> list[JobWarning]:
    if rank & (rank - 1) == 0:
        return []
    text = f"'lora.adapter_dim' is {rank}, which is no power of 2"
    return [{"message": text, "explanation": "NVIDIA's Customizer takes powers of 2 only; here the job goes on."}]
