"""A Llama that learns: its making, its two optimisers, one step, and the rate at each point of a run.

Knows batches and the recipe's numbers; does not know where batches come from, files, or how long a run takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from flywheel.local.attention import NAME as CAUSAL_BLOCKS
from flywheel.local.base.data import Batch
from flywheel.local.base.recipe import Recipe


class Learner:
    """A model in training. `model` keeps its weights in float32; the forward pass runs in bfloat16 where the device has it."""

    def __init__(self, model: LlamaForCausalLM, recipe: Recipe, *, learning_rate: float, device: torch.device) -> None:
        untyped: Any = model
        self.model = untyped.float().to(device).train()
        if device.type == "cpu":
            self.model.set_attn_implementation(CAUSAL_BLOCKS)
        self.device = device
        self._recipe = recipe
        self._learning_rate = learning_rate
        self._dtype = torch.bfloat16 if _has_bfloat16(device) else torch.float32
        named = dict(self.model.named_parameters())
        matrices = [weight for name, weight in named.items() if weight.ndim == 2 and "embed" not in name]
        others = [weight for name, weight in named.items() if weight.ndim != 2 or "embed" in name]
        self.optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer] = (
            torch.optim.Muon(
                matrices,
                lr=learning_rate,
                weight_decay=recipe.weight_decay,
                momentum=recipe.muon_momentum,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(others, lr=learning_rate, betas=recipe.adam_betas, weight_decay=0.0),
        )

    def learn(self, batch: Batch, rate: float) -> float:
        """One step at this share of the learning rate; the mean loss of the batch's labels before it, in nats."""
        for optimizer, share in zip(self.optimizers, (1.0, self._recipe.adam_lr_share), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate * rate * share
        loss = self.loss(batch.to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def loss(self, batch: Batch) -> torch.Tensor:
        """The mean loss of the batch's labels; only their positions reach the large last matrix."""
        chosen = (batch.labels.flatten() >= 0).nonzero()[:, 0]
        targets = batch.labels.flatten()[chosen]
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            hidden = self.model.model(
                input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask(self._dtype), use_cache=False
            ).last_hidden_state
            logits = self.model.lm_head(hidden.flatten(0, 1)[chosen])
        return functional.cross_entropy(logits.float(), targets)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on, by name."""
        found = {f"model/{name}": weight for name, weight in self.model.named_parameters()}
        for number, optimizer in enumerate(self.optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                found |= {f"optimizer{number}/{index}/{key}": value for key, value in values.items()}
        return found

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(state[f"model/{name}"])
        for number, optimizer in enumerate(self.optimizers):
            saved: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in state.items():
                if name.startswith(f"optimizer{number}/"):
                    _, index, key = name.split("/")
                    saved.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": saved})


def rate_at(recipe: Recipe, progress: float, step: int) -> float:
    """The share of the learning rate at this part of the run (0 to 1) and step: warm-up, level, then down to final_lr_share."""
    warm = min(1.0, (step + 1) / recipe.warm_up_steps) if recipe.warm_up_steps else 1.0
    falling = 1.0 - recipe.decay_share
    if progress <= falling:
        return warm
    return warm * max(recipe.final_lr_share, 1 - (progress - falling) / recipe.decay_share)


def fresh_model(recipe: Recipe, folder: Path) -> LlamaForCausalLM:
    """A model of the recipe's shape with random weights, for the tokenizer in `folder`. Seeded by the recipe."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=max(1, recipe.heads // 2),
        head_dim=64,
        max_position_embeddings=recipe.max_positions,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.02 if "embed" in name else 0.7 * weight.shape[1] ** -0.5)
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # what is added to the stream stays small at first
                weight.mul_((2 * recipe.layers) ** -0.5)
    return model


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is quick here; on processors without it, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
