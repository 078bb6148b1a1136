"""The two helpers that make the interpreter tell the truth about bfloat16."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from mini_vllm.kernels.triton.language import INTERPRET, dot, narrow, next_power_of_two


@triton.jit
def product_kernel(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + m[:, None] * K + k)
    right = tl.load(b + k[:, None] * N + n)
    tl.store(out + m[:, None] * N + n, dot(left, right, tl.full((M, N), 1.0, tl.float32)))


@triton.jit
def narrow_kernel(x, out, SIZE: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(out + at, narrow(tl.load(x + at), out.dtype.element_ty))


def test_this_process_interprets() -> None:
    assert INTERPRET.value is True


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_products_are_of_numbers_and_not_of_bits(dtype: torch.dtype) -> None:
    a, b = torch.randn(16, 32).to(dtype), torch.randn(32, 16).to(dtype)
    out = torch.empty(16, 16)
    product_kernel[(1,)](a, b, out, 16, 16, 32)
    torch.testing.assert_close(out, a.float() @ b.float() + 1.0, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_narrowing_rounds_as_torch_does(dtype: torch.dtype) -> None:
    one = 0x3F800000
    ties = [one | 0x8000, one | 0x18000, one | 0x8001, one | 0x7FFF, 0x7F800000, 0xFF800000, 0]
    special = torch.tensor(ties, dtype=torch.int64).to(torch.int32).view(torch.float32)
    x = torch.cat((special, 100 * torch.randn(1024 - len(special))))
    out = torch.empty(1024, dtype=dtype)
    narrow_kernel[(1,)](x, out, 1024)
    assert torch.equal(out, x.to(dtype))


def test_a_nan_stays_one() -> None:
    x = torch.tensor([0x7FFFFFFF, 0x7F800001], dtype=torch.int32).view(torch.float32)
    out = torch.zeros(2, dtype=torch.bfloat16)
    narrow_kernel[(1,)](x, out, 2)
    assert out.isnan().all()


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128)])
def test_a_block_is_a_power_of_two(n: int, expected: int) -> None:
    assert next_power_of_two(n) == expected


def test_a_block_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 number, got 0"):
        next_power_of_two(0)
