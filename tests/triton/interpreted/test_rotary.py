"""Split, norm and rotate: all heads, all of a head or a part of it."""

from __future__ import annotations

import pytest
import torch

from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.rotary import (
    split_qkv_rotary,
    split_qkv_rotary_cost,
    split_qkv_rotary_reference,
)

# Twice as wide as one rounding: the reference rounds after the norm, too.
TOLERANCE = {
    torch.float32: {"atol": 4e-6, "rtol": 4e-6},
    torch.float16: {"atol": 4e-3, "rtol": 2**-9},
    torch.bfloat16: {"atol": 4e-2, "rtol": 2**-6},
}


def case(num_tokens, heads, kv_heads, head_size, rotary, with_norm, dtype):
    qkv = torch.randn(num_tokens, (heads + 2 * kv_heads) * head_size).to(dtype)
    positions = torch.randint(0, 50, (num_tokens,))
    table = torch.randn(50, rotary)
    norms = torch.rand(2, head_size).to(dtype) if with_norm else (None, None)
    return qkv, positions, table, heads, kv_heads, *norms, 1e-5


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("with_norm", [False, True])
@pytest.mark.parametrize(
    ("num_tokens", "heads", "kv_heads", "head_size", "rotary"),
    [(1, 4, 2, 16, 16), (3, 3, 1, 80, 80), (2, 2, 2, 64, 16), (2, 16, 8, 128, 96)],
)
def test_equals_the_reference(num_tokens, heads, kv_heads, head_size, rotary, with_norm, dtype):
    arguments = case(num_tokens, heads, kv_heads, head_size, rotary, with_norm, dtype)
    ours = split_qkv_rotary(*arguments, head_size=head_size)
    theirs = split_qkv_rotary_reference(*arguments, head_size=head_size)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine, yours, **TOLERANCE[dtype])
    assert torch.equal(ours[2], theirs[2]), "values are carried, bit for bit"


def test_the_reference_is_the_oracle_where_all_of_a_head_turns() -> None:
    arguments = case(4, 3, 2, 16, 16, True, torch.float32)
    for mine, yours in zip(
        split_qkv_rotary_reference(*arguments), TorchKernels().split_qkv_rotary(*arguments)
    ):
        assert torch.equal(mine, yours)


def test_the_turn_keeps_lengths_and_position_zero_keeps_all() -> None:
    qkv, _, _, *rest = case(3, 2, 1, 32, 32, False, torch.float32)
    angles = torch.rand(4, 16)
    table = torch.cat((angles.cos(), angles.sin()), dim=1)
    query, _, _ = split_qkv_rotary(qkv, torch.tensor([1, 2, 3]), table, *rest)
    before = qkv[:, : 2 * 32].view(3, 2, 32)
    torch.testing.assert_close(query.norm(dim=-1), before.norm(dim=-1))
    assert not torch.allclose(query, before)
    table = torch.cat((torch.ones(1, 16), torch.zeros(1, 16)), dim=1)
    query, _, _ = split_qkv_rotary(qkv, torch.zeros(3, dtype=torch.int64), table, *rest)
    assert torch.equal(query, before)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("with_norm", [False, True])
def test_bytes_claimed_are_bytes_touched(with_norm, dtype) -> None:
    arguments = case(4, 6, 2, 80, 32, with_norm, dtype)
    arguments[1][:] = torch.tensor([7, 7, 3, 9])
    with count_traffic() as traffic:
        split_qkv_rotary(*arguments, head_size=80)
    cost = split_qkv_rotary_cost(
        4, 6, 2, 80, rotary=32, norm=with_norm, num_positions=3, itemsize=dtype.itemsize
    )
    assert traffic.equals(cost)
    assert traffic.written_asked == traffic.written_touched


def test_no_tokens() -> None:
    query, key, _ = split_qkv_rotary(*case(0, 2, 1, 16, 16, False, torch.float32))
    assert (query.shape, key.shape) == ((0, 2, 16), (0, 1, 16))


def test_what_does_not_fit_is_refused() -> None:
    qkv, positions, table, *rest = case(2, 2, 1, 16, 16, True, torch.float32)
    with pytest.raises(ValueError, match="is not 4 heads of 16 numbers"):
        split_qkv_rotary(qkv[:, 1:], positions, table, *rest)
    with pytest.raises(ValueError, match="cannot rotate 15 of a head's 16"):
        split_qkv_rotary(qkv, positions, table[:, :15], *rest, head_size=16)
    with pytest.raises(ValueError, match="cannot rotate 32 of a head's 16"):
        split_qkv_rotary(qkv, positions, torch.randn(50, 32), *rest, head_size=16)
    with pytest.raises(ValueError, match="needs one for keys"):
        split_qkv_rotary(qkv, positions, table, 2, 1, torch.ones(16))
