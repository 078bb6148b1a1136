"""What the compiler makes of products: each tile reaches the matrix unit of its device."""

from __future__ import annotations

import pytest
import torch

from mini_vllm.kernels.triton.compiling import CAPABILITIES, compile_launches, recorded_launches
from mini_vllm.kernels.triton.linear import linear

HALVES = (torch.float16, torch.bfloat16)
ROWS = (1, 33, 512, 4096)


def product(rows: int, dtype: torch.dtype, columns: int = 4096, depth: int = 4096):
    x = torch.empty(rows, depth, dtype=dtype, device="meta")
    weight = torch.empty(columns, depth, dtype=dtype, device="meta")
    return lambda: linear(x, weight)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_every_tile_multiplies_in_the_matrix_unit(rows, dtype, capability) -> None:
    (kernel,) = compile_launches(product(rows, dtype), capability)
    # On Hopper a group of four warps multiplies 64 rows or more; fewer take the older instruction.
    unit = r"wgmma\.mma_async" if capability == 90 and rows > 16 else r"mma\.sync"
    kind = {torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
    assert kernel.count(rf"{unit}.*\.f32\.{kind}") > 0
    # Pieces travel to shared memory while others are multiplied, 16 bytes a thread.
    assert kernel.count(r"cp\.async\.cg\.shared\.global") > 0
    assert kernel.stack_bytes == 0
    assert kernel.shared_bytes <= {80: 163, 90: 227}[capability] * 1024


def test_the_largest_tile_fits_where_a_program_may_have_least() -> None:
    """99 KB, on the desks' devices of compute capability 8.6, 8.9 and 12.0."""
    (kernel,) = compile_launches(product(4096, torch.bfloat16), 89)
    assert kernel.shared_bytes <= 99 * 1024


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("rows", [1, 512])
def test_float32_is_not_cut_to_a_shorter_format(rows, capability) -> None:
    (kernel,) = compile_launches(product(rows, torch.float32, 256, 256), capability)
    assert kernel.count(r"mma") == 0
    assert kernel.count(r"fma\.rn\.f32|fma\.rn\.f32x2") > 0


def test_few_rows_keep_a_device_busy() -> None:
    """More programs than an H100 has multiprocessors, for one row of a small model's product."""
    (launch,) = recorded_launches(product(1, torch.bfloat16, columns=6144, depth=2048))
    assert launch.grid[0] > 132
