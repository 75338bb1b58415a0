"""Attention in training, ours against torch's fused kernel: `python -m tests.benchmarks.attention [--width N]`.

Rows as the base model's training packs them: four heads of 64, two of keys, a shared beginning and turns behind it that do not
see each other. Forward and backward, the two in turn, the quickest of several. Without a model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from flywheel.local.attention import causal_blocks
from tests.benchmarks.machine import facts, ratio, table

HEADS, KEY_HEADS, SIZE = 4, 2, 64


def mask_of(width: int) -> torch.Tensor:
    """Three fifths are shared, then four turns."""
    shared = 3 * width // 5
    turn = torch.tensor([0 if at < shared else 1 + 4 * (at - shared) // (width - shared) for at in range(width)])
    seen = ((turn[:, None] == turn[None]) | (turn[None] == 0)) & torch.ones(width, width, dtype=torch.bool).tril()
    return torch.zeros(1, 1, width, width).masked_fill_(~seen, torch.finfo(torch.bfloat16).min).bfloat16()


def seconds(act: Callable[[], torch.Tensor]) -> float:
    """How long one pass forward and backward takes."""
    began = time.perf_counter()
    act().sum().backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time attention in training.")
    parser.add_argument("--width", type=int, default=736, help="tokens in a row")
    parser.add_argument("--rows", type=int, default=8, help="rows in a batch")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured")
    options = parser.parse_args()
    machine, mask = facts(), mask_of(options.width).expand(options.rows, -1, -1, -1)
    shapes = [(options.rows, heads, options.width, SIZE) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    q, k, v = (torch.randn(shape).bfloat16().requires_grad_() for shape in shapes)
    module = torch.nn.Module()
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: causal_blocks(module, q, k, v, mask, SIZE**-0.5)[0],
        "fused": lambda: scaled_dot_product_attention(
            q, k.repeat_interleave(HEADS // KEY_HEADS, 1), v.repeat_interleave(HEADS // KEY_HEADS, 1), attn_mask=mask
        ),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, act in ways.items():
            found[way].append(seconds(act))
    ours, fused = (1000 * min(found[way]) for way in ways)
    line = (f"{options.rows} rows of {options.width} tokens", f"{ours:.0f} ms", f"{fused:.0f} ms", ratio(ours, fused))
    print(f"{machine}\n\n{table(['forward and backward', 'ours', 'fused kernel (baseline)', 'ratio'], [line])}")


if __name__ == "__main__":
    main()
