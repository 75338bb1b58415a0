"""A LoRA adapter in training on a frozen base model: loss, optimiser step, its whole state, and the adapter as peft reads it.

Takes token ids with labels and gives losses. Knows neither rows, chat templates, epochs nor jobs. Weights are float32; the
arithmetic is bfloat16 where the processor has it.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from flywheel.local.attention import NAME as CAUSAL_BLOCKS
from flywheel.local.chat_format import IGNORED
from flywheel.local.job_folder import TrainingSpec
from flywheel.local.packing import Batch, Example, batch_of, parts

CLIP = 1.0

Row = TypeVar("Row")
"""What a batch is made of."""

_NEMO_NAMES = {
    "linear_qkv": ("q_proj", "k_proj", "v_proj"),
    "linear_proj": ("o_proj",),
    "linear_fc1": ("gate_proj", "up_proj"),
    "linear_fc2": ("down_proj",),
}


class LoraTraining(ABC, Generic[Row]):
    """The base, a fresh adapter drawn from the spec's seed, and its AdamW. A kind of training gives it a loss over its rows."""

    def __init__(self, spec: TrainingSpec) -> None:
        """Load the base from its folder (safetensors only). Raises ValueError where target_modules match no layer."""
        wanted = spec.hyperparameters
        torch.manual_seed(wanted.seed)
        base = AutoModelForCausalLM.from_pretrained(
            spec.base_path, dtype=torch.float32, attn_implementation=CAUSAL_BLOCKS, local_files_only=True, use_safetensors=True
        )
        self._config = LoraConfig(
            r=wanted.lora.adapter_dim,
            lora_alpha=wanted.lora.alpha,
            lora_dropout=wanted.lora.adapter_dropout,
            target_modules=_target_modules(base, wanted.lora.target_modules),
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # peft asks transformers by a name that has a new spelling.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self._model = get_peft_model(base, self._config)
        self._config.base_model_name_or_path = spec.base_id
        self._weights = {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=wanted.learning_rate, weight_decay=wanted.weight_decay)
        self._bfloat16 = has_bfloat16()
        self._clip = CLIP

    def train(self, batch: Sequence[Row], learning_rate: float) -> float:
        """One optimiser step; returns the batch's loss, taken before the step."""
        self._model.train()
        total = self._accumulate(batch)
        torch.nn.utils.clip_grad_norm_(self._weights.values(), self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    @abstractmethod
    def validate(self, examples: Sequence[Row]) -> float:
        """The loss over all examples, with dropout off."""

    @abstractmethod
    def _accumulate(self, batch: Sequence[Row]) -> float:
        """Add the gradients of the batch's loss; returns the loss."""

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the adapter as it stands."""
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Put another adapter of the same shape in its place."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on: adapter, AdamW's moments and step count, random numbers for dropout."""
        tensors = {f"weight/{name}": weight for name, weight in self.weights().items()}
        for name, weight in self._weights.items():
            tensors.update({f"{key}/{name}": value for key, value in self._optimizer.state[weight].items()})
        return {**tensors, "random": torch.get_rng_state()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from `state()` of an earlier process."""
        self.set_weights({name: state[f"weight/{name}"] for name in self._weights})
        for name, weight in self._weights.items():
            self._optimizer.state[weight] = {key: state[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        torch.set_rng_state(state["random"])

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft loads it: adapter_config.json and adapter_model.safetensors."""
        folder.mkdir(parents=True)
        found = get_peft_model_state_dict(self._model, save_embedding_layers=False)
        tensors = {name: tensor.contiguous() for name, tensor in found.items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        self._config.inference_mode = True
        self._config.save_pretrained(str(folder))

    def _forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits of every kept token but the last, and the labels that they are to predict."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bfloat16):
            output = self._model(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                use_cache=False,
                logits_to_keep=batch.kept,
            )
        return output.logits[:, :-1].float(), batch.labels[:, 1:]


class AnswerTraining(LoraTraining[Example]):
    """Supervised training: the loss of the answers' tokens."""

    def validate(self, examples: Sequence[Example]) -> float:
        """The mean loss per label (nats) over all examples, with dropout off."""
        self._model.eval()
        with torch.inference_mode():
            total = sum(self._loss(part).item() for part in parts(examples))
        return float(total) / sum(example.answer_length for example in examples)

    def _accumulate(self, batch: Sequence[Example]) -> float:
        """Add the gradients of the mean loss per label (nats); returns that loss."""
        labels = sum(example.answer_length for example in batch)
        total = 0.0
        for part in parts(batch):
            loss = self._loss(part) / labels
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def _loss(self, examples: Sequence[Example]) -> torch.Tensor:
        """The summed loss of all labels."""
        logits, labels = self._forward(batch_of(examples))
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; elsewhere bfloat16 would be slower than float32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _target_modules(base: Any, wanted: Sequence[str] | None) -> str | list[str]:
    if not wanted:
        return "all-linear"
    patterns = [name for pattern in wanted for name in _NEMO_NAMES.get(pattern.rpartition(".")[2], (pattern,))]
    linear = [name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)]
    found = {name for name in linear for shape in patterns if fnmatch(name, shape) or fnmatch(name.rpartition(".")[2], shape)}
    if not found:
        layers = sorted({name.rpartition(".")[2] for name in linear})
        raise ValueError(f"target_modules {list(wanted)!r} match no layer of the base; name some of {', '.join(layers)}")
    return sorted(found)
