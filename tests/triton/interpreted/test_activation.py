"""The gated activation, over pieces of a row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton.activation import BLOCK, silu_and_mul, silu_and_mul_cost
from mini_vllm.kernels.triton.counting import count_traffic

ORACLE = TorchKernels()
# The interpreter computes with NumPy, which remarks on exp(30,000).
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")
TOLERANCE = {
    torch.float32: {"atol": 1e-6, "rtol": 2e-6},
    torch.float16: {"atol": 1e-4, "rtol": 2**-10},
    torch.bfloat16: {"atol": 1e-4, "rtol": 2**-7},
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("num_tokens", "size"), [(1, 3), (4, 40), (2, BLOCK + 5)])
def test_equals_the_reference(num_tokens, size, dtype) -> None:
    x = (20 * torch.randn(num_tokens, 2 * size)).to(dtype)
    torch.testing.assert_close(silu_and_mul(x), ORACLE.silu_and_mul(x), **TOLERANCE[dtype])


@given(st.lists(st.floats(-3e4, 3e4, width=32), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_far_from_zero_it_is_zero_or_the_product(gates: list[float]) -> None:
    x = torch.cat((torch.tensor(gates), torch.full((len(gates),), 2.0)))[None]
    torch.testing.assert_close(silu_and_mul(x), ORACLE.silu_and_mul(x))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_bytes_claimed_are_bytes_touched(dtype: torch.dtype) -> None:
    x = torch.randn(3, 2 * 1100).to(dtype)
    with count_traffic() as traffic:
        silu_and_mul(x)
    assert traffic.equals(silu_and_mul_cost(3, 1100, itemsize=dtype.itemsize))
    assert traffic.read_asked == traffic.read_touched


def test_no_tokens() -> None:
    assert silu_and_mul(torch.empty(0, 6)).shape == (0, 3)


def test_what_has_no_halves_is_refused() -> None:
    with pytest.raises(ValueError, match="even width, got 5"):
        silu_and_mul(torch.randn(2, 5))
    with pytest.raises(ValueError, match="must be contiguous"):
        silu_and_mul(torch.randn(6, 2).T)
