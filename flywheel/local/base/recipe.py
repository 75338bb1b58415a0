"""The numbers of the recipe: the model's shape, how it learns, and how much at once. One place to read and to change them.

Measured on two processor cores with AVX-512 bf16; what each number does is said beside it. Knows no code that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run."""

    # shape of a model that is begun afresh; one that is continued keeps its own
    hidden_size: int = 256
    layers: int = 6
    heads: int = 4  # of 64 each; half as many for keys and values
    feed_forward: int = 768
    max_positions: int = 2048

    # how much at once
    batch_tokens: int = 6000  # padding included; about 20 toolsets of 4 turns
    pool_samples: int = 160  # drawn at once and sorted by length
    seed: int = 100  # of the training data; the data of a seed is the same everywhere

    # learning: Muon for matrices, AdamW for embeddings and norms
    muon_lr: float = 3e-3  # from scratch
    muon_lr_continued: float = 2e-3  # from weights that can do something already
    adam_lr_share: float = 0.67  # AdamW's rate as a share of Muon's
    muon_momentum: float = 0.95
    weight_decay: float = 0.05  # of matrices only
    adam_betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    warm_up_steps: int = 60
    decay_share: float = 0.35  # the last part of a run, in which the rate falls to nearly nothing; accuracy rises most there
    final_lr_share: float = 0.02

    # keeping
    checkpoint_minutes: float = 4.0
    print_steps: int = 25
