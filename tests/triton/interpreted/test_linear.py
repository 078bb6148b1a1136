"""The tiled product: odd sizes, every tile, and how often it asks for its inputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.linear import (
    Tile,
    linear,
    linear_bytes_asked,
    linear_cost,
    tile_for,
)

TOLERANCE = {
    torch.float32: {"atol": 1e-5, "rtol": 1e-5},
    torch.float16: {"atol": 1e-3, "rtol": 2**-10},
    torch.bfloat16: {"atol": 1e-2, "rtol": 2**-7},
}
SMALL = Tile(16, 32, 16, group=2)


def matrices(rows: int, columns: int, depth: int, dtype: torch.dtype):
    x, weight = torch.randn(rows, depth), torch.randn(columns, depth)
    return (x / depth**0.5).to(dtype), weight.to(dtype), torch.randn(columns).to(dtype)


def exact(x, weight, bias=None):
    wide = x.double() @ weight.double().T
    return (wide if bias is None else wide + bias.double()).to(x.dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 7, 130), (17, 48, 64), (70, 130, 33)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_the_exact_product_rounded_once(rows, columns, depth, with_bias, dtype) -> None:
    x, weight, bias = matrices(rows, columns, depth, dtype)
    bias = bias if with_bias else None
    result = linear(x, weight, bias)
    torch.testing.assert_close(result, exact(x, weight, bias), **TOLERANCE[dtype])


@given(st.integers(1, 60), st.integers(1, 100), st.integers(1, 50), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_every_tile_is_done_once_whatever_the_order(rows, columns, depth, group) -> None:
    x, weight, _ = matrices(rows, columns, depth, torch.float32)
    result = linear(x, weight, tile=Tile(16, 32, 16, group=group))
    torch.testing.assert_close(result, exact(x, weight), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_bytes_claimed_are_bytes_touched_and_asked_for(dtype) -> None:
    x, weight, _ = matrices(40, 70, 50, dtype)
    with count_traffic() as traffic:
        linear(x, weight, tile=SMALL)
    assert traffic.equals(linear_cost(40, 70, 50, itemsize=dtype.itemsize))
    asked = linear_bytes_asked(40, 70, 50, SMALL, itemsize=dtype.itemsize)
    assert traffic.read_asked == asked
    # three strips of rows and three of columns: x three times, the weight three times
    assert asked == 3 * (40 + 70) * 50 * dtype.itemsize


def test_a_bias_is_counted() -> None:
    x, weight, bias = matrices(5, 6, 7, torch.float32)
    with count_traffic() as traffic:
        linear(x, weight, bias)
    assert traffic.equals(linear_cost(5, 6, 7, bias=True, itemsize=4))


def test_a_larger_tile_asks_less() -> None:
    sizes = (4096, 4096, 4096)
    asked = [linear_bytes_asked(*sizes, Tile(side, side, 64)) for side in (16, 64, 128)]
    assert asked[0] == 4 * asked[1] == 8 * asked[2]


def test_few_rows_get_a_low_tile() -> None:
    assert [tile_for(n).rows for n in (1, 16, 17, 64, 65, 5000)] == [16, 16, 64, 64, 128, 128]


def test_rows_of_a_wider_matrix_and_no_rows() -> None:
    x, weight, _ = matrices(4, 8, 48, torch.float32)
    torch.testing.assert_close(linear(x[:, 16:], weight[:, 16:]), exact(x[:, 16:], weight[:, 16:]))
    assert linear(x[:0], weight).shape == (0, 8)


def test_what_does_not_fit_is_refused() -> None:
    x, weight, bias = matrices(4, 8, 16, torch.float32)
    with pytest.raises(ValueError, match=r"weight \(8, 15\) .* does not fit"):
        linear(x, weight[:, 1:])
    with pytest.raises(ValueError, match=r"of torch\.float16 does not fit"):
        linear(x, weight.half())
    with pytest.raises(ValueError, match=r"bias \(7,\) does not fit 8 columns"):
        linear(x, weight, bias[1:])
    with pytest.raises(ValueError, match="x must be stored row by row"):
        linear(torch.randn(16, 4).T, weight)
