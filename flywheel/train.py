"""How a candidate is trained: the recipe for a base model, and the name of the model that comes out.

Knows hyperparameters and names. Knows nothing of jobs, HTTP or rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from flywheel.settings import LOCAL_BASE_MODEL


@dataclass(frozen=True)
class Recipe:
    """LoRA fine-tuning on corrected calls, in the Customizer's terms.

    adapter_dim: rank of the adapter. alpha: its scale is alpha / rank. adapter_dropout: 0-1. batch_size: rows.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    adapter_dim: int
    alpha: int
    adapter_dropout: float

    def hyperparameters(self) -> dict[str, Any]:
        """The `hyperparameters` of a customization job."""
        return {
            "training_type": "sft",
            "finetuning_type": "lora",
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "lora": {"adapter_dim": self.adapter_dim, "alpha": self.alpha, "adapter_dropout": self.adapter_dropout},
        }


@dataclass(frozen=True)
class PreferenceRecipe(Recipe):
    """DPO on pairs of a right and a wrong answer, with LoRA; the base without the adapter is the reference.

    kl_penalty: how closely it stays with the base. sft_weight: what the right answer's own likelihood adds to the loss.
    """

    kl_penalty: float
    sft_weight: float

    def hyperparameters(self) -> dict[str, Any]:
        """The `hyperparameters` of a customization job."""
        weights = {"ref_policy_kl_penalty": self.kl_penalty, "preference_loss_weight": 1.0, "sft_loss_weight": self.sft_weight}
        return super().hyperparameters() | {"training_type": "dpo", "dpo": weights | {"sft_average_log_probs": True}}


# The 5.5 M base on two cores. So small a model needs a high rate and some hundred steps to move, hence small batches; no
# dropout, because the replay rows, half of what it sees, keep what it knew. Old skills right of 80 (67 before) after 60 imported
# rows: 56 at half the rate, 60 with batches of 16 and half the alpha, 60 in eight passes over half the replay, 62 as it stands.
LOCAL_RECIPE = Recipe(epochs=5, batch_size=8, learning_rate=2e-3, adapter_dim=16, alpha=32, adapter_dropout=0.0)

# NVIDIA's tool-calling tutorial for Llama-3.2-1B-Instruct on one GPU; alpha 16 is the Customizer's default.
NVIDIA_RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=1e-4, adapter_dim=32, alpha=16, adapter_dropout=0.1)

# Pairs are few and there is no replay beside them; the reference keeps what the base knew.
LOCAL_PREFERENCES = PreferenceRecipe(
    epochs=6, batch_size=8, learning_rate=5e-4, adapter_dim=16, alpha=32, adapter_dropout=0.0, kl_penalty=0.1, sft_weight=0.2
)

# NVIDIA's defaults for DPO are for all weights (learning rate 9e-6, KL penalty 0.05); an adapter needs more.
NVIDIA_PREFERENCES = PreferenceRecipe(
    epochs=1, batch_size=16, learning_rate=5e-5, adapter_dim=32, alpha=16, adapter_dropout=0.1, kl_penalty=0.05, sft_weight=0.2
)

LOCAL_ROW_PASSES = 2000
"""How many rows, counted once for each pass over them, the small base sees in one training: a few minutes on two cores."""
LOCAL_EPOCHS = (3, 5)


def recipe_for(base_model: str, rows: int) -> Recipe:
    """The recipe for a base model and a number of training rows; the fewer rows, the more passes over them."""
    if base_model != LOCAL_BASE_MODEL:
        return NVIDIA_RECIPE
    least, most = LOCAL_EPOCHS
    return replace(LOCAL_RECIPE, epochs=min(most, max(least, round(LOCAL_ROW_PASSES / max(rows, 1)))))


def preference_recipe_for(base_model: str) -> PreferenceRecipe:
    """The DPO recipe for a base model."""
    return LOCAL_PREFERENCES if base_model == LOCAL_BASE_MODEL else NVIDIA_PREFERENCES


def output_model(namespace: str, base_model: str, dataset_id: str) -> str:
    """The id of the model that is trained on a data set, such as `flywheel/tool-llama-5m-run-3f2a91bc07d1@v1`."""
    return f"{namespace}/{base_model.rpartition('/')[2]}-{dataset_id}@v1"
