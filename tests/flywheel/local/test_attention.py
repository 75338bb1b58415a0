"""Attention block after block gives what the library's own gives: values and gradients, whatever the mask and the grouping."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from flywheel.local.attention import BLOCK, causal_blocks

ROWS, SIZE = 3, 16


def tensors(heads: int, key_heads: int, width: int) -> list[torch.Tensor]:
    chance = torch.Generator().manual_seed(heads * 1000 + width)
    return [torch.randn(ROWS, count, width, SIZE, generator=chance).requires_grad_() for count in (heads, key_heads, key_heads)]


def packed_mask(width: int) -> torch.Tensor:
    """A shared beginning, two turns behind it that do not see each other, and padding that sees nothing at all."""
    turn = torch.tensor([0 if place < width // 2 else 1 + (place > 3 * width // 4) for place in range(width)])
    seen = ((turn[:, None] == turn[None]) | (turn[None] == 0)) & torch.ones(width, width, dtype=torch.bool).tril()
    seen[-3:] = False
    return torch.zeros(1, 1, width, width).masked_fill_(~seen, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("width", [5, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (4, 2), (4, 1)])
def test_values_and_gradients_are_the_librarys(heads: int, key_heads: int, width: int) -> None:
    ours, theirs, mask = tensors(heads, key_heads, width), tensors(heads, key_heads, width), packed_mask(width)
    found = causal_blocks(torch.nn.Module(), *ours, mask, SIZE**-0.5)[0].transpose(1, 2)
    expected = scaled_dot_product_attention(*theirs, attn_mask=mask, enable_gqa=True)
    real = slice(0, width - 3)  # what padding is given is of no account, as long as it is a number
    assert torch.allclose(found[:, :, real], expected[:, :, real], atol=1e-5) and bool(found.isfinite().all())
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    weights[:, :, -3:] = 0
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        assert our.grad is not None and their.grad is not None
        assert torch.allclose(our.grad, their.grad, atol=1e-4)


def test_bfloat16_sees_padding_without_turning_to_nothing() -> None:
    queries, keys, values = (each.detach().bfloat16() for each in tensors(4, 2, 40))
    found = causal_blocks(torch.nn.Module(), queries, keys, values, packed_mask(40), SIZE**-0.5)[0]
    assert found.dtype == torch.bfloat16 and bool(found.isfinite().all())
