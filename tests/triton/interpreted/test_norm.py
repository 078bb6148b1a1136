"""Norms, alone and after an addition, for rows of a model and rows of a head."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton import norm
from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.norm import (
    add_rms_norm,
    add_rms_norm_cost,
    rms_norm,
    rms_norm_cost,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# The last place of each type, and one more for the order of a sum.
TOLERANCE = {
    torch.float32: {"atol": 2e-6, "rtol": 2e-6},
    torch.float16: {"atol": 1e-3, "rtol": 2**-10},
    torch.bfloat16: {"atol": 1e-3, "rtol": 2**-7},
}
ORACLE = TorchKernels()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 8), (5, 67), (3, 1500), (2, 3, 16)], ids=str)
def test_equals_the_reference(shape, dtype) -> None:
    x, residual = torch.randn(2, *shape).to(dtype)
    weight = torch.randn(shape[-1]).to(dtype)
    expected = ORACLE.rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), expected, **TOLERANCE[dtype])
    out, total = add_rms_norm(x, residual, weight, 1e-5)
    expected, expected_total = ORACLE.add_rms_norm(x, residual, weight, 1e-5)
    assert torch.equal(total, expected_total)
    torch.testing.assert_close(out, expected, **TOLERANCE[dtype])


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_any_shape(rows: int, size: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, size, generator=draw) * 10 ** torch.randint(-3, 4, (rows, 1))
    weight = torch.randn(size, generator=draw)
    torch.testing.assert_close(rms_norm(x, weight, 1e-6), ORACLE.rms_norm(x, weight, 1e-6))


def test_the_norm_is_of_the_sum_as_it_is_kept() -> None:
    """Of the sum before rounding, one number in ten would come out differently."""
    x, residual, weight = (torch.randn(4, 256).bfloat16() for _ in range(3))
    out, _ = add_rms_norm(x, residual, weight[0], 1e-6)
    expected, _ = ORACLE.add_rms_norm(x, residual, weight[0], 1e-6)
    assert (out == expected).float().mean() > 0.99


def test_short_rows_share_a_program() -> None:
    """The heads of 70 tokens: 1,024 numbers a program, and the last one is not full."""
    x, weight = torch.randn(70, 16), torch.ones(16)
    with count_traffic() as traffic:
        result = rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(result, ORACLE.rms_norm(x, weight, 1e-5))
    # rows of 16: 64 to a program, so two programs ask for the weight
    assert traffic.read_asked == (70 + 2) * 16 * 4


def test_rows_of_a_wider_tensor() -> None:
    wide = torch.randn(4, 3, 16)
    x, weight = wide[:, 1], torch.randn(16)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), ORACLE.rms_norm(x, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bytes_claimed_are_bytes_touched(dtype: torch.dtype) -> None:
    x, residual, weight = torch.randn(5, 67), torch.randn(5, 67), torch.randn(67)
    x, residual, weight = (t.to(dtype) for t in (x, residual, weight))
    with count_traffic() as traffic:
        rms_norm(x, weight, 1e-5)
    assert traffic.equals(rms_norm_cost(5, 67, itemsize=dtype.itemsize))
    with count_traffic() as traffic:
        add_rms_norm(x, residual, weight, 1e-5)
    assert traffic.equals(add_rms_norm_cost(5, 67, itemsize=dtype.itemsize))


def test_nothing_is_modified_in_place__nano_vllm_170() -> None:
    x, residual, weight = torch.randn(2, 8), torch.randn(2, 8), torch.randn(8)
    before = [t.clone() for t in (x, residual, weight)]
    add_rms_norm(x, residual, weight, 1e-5)
    assert all(torch.equal(a, b) for a, b in zip((x, residual, weight), before))


def test_no_rows() -> None:
    assert rms_norm(torch.empty(0, 8), torch.ones(8), 1e-5).shape == (0, 8)


def test_what_cannot_be_normed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="evenly spaced"):
        rms_norm(torch.randn(8, 4).T, torch.ones(8), 1e-5)
    with pytest.raises(ValueError, match=r"weight \(7,\) does not fit rows of 8"):
        rms_norm(torch.randn(2, 8), torch.ones(7), 1e-5)
    with pytest.raises(ValueError, match="does not fit x"):
        add_rms_norm(torch.randn(2, 8), torch.randn(2, 8).half(), torch.ones(8), 1e-5)
    monkeypatch.setattr(norm, "LONGEST_ROW", 7)
    with pytest.raises(ValueError, match="a row of 8 numbers; the longest that fits is 7"):
        rms_norm(torch.randn(2, 8), torch.ones(8), 1e-5)
