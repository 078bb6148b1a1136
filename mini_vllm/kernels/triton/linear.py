r"""How does a product of matrices stop waiting for memory?

By using what it has read more than once. Every number of the result is a sum of `k` products, and
takes a row of one matrix and a row of the other. Computed one by one, each pair of numbers that is
read serves a single multiplication, and the device's arithmetic units stand idle nearly all of the
time. Computed as a **tile** of `m` by `n` numbers at once, a piece of `m` rows and a piece of `n`
rows serve `m n` products a column: `2 m n` operations for `m + n` numbers. The side of the tile is
the reuse.

**The grid** is tiles of the result. A program walks along `k` in pieces, loads a piece of each
matrix, and adds their product to a sum that never leaves its registers; only at the end is it
narrowed and stored. The pieces pass through shared memory, several of them under way at a time
(`num_stages`), so that one is multiplied while the next ones arrive.

**The order of the tiles** decides what the cache can do. Taken row by row, all programs that run at
the same time share one strip of `x` and want different strips of the weight. Taken in blocks of
{py:attr}`Tile.group` rows, they share both, and their strips are a square instead of a line.

**Which tile** is a choice by the number of rows, made by {py:func}`tile_for` with reasons and
without a measurement: nothing is tuned when the module is imported. Few rows, as in a decode step:
the weight is read once whatever one does, the product is bound by memory, and what counts is that
many programs read at the same time, so the tile is low and narrow. Many rows: it is bound by
arithmetic, and the tile is as large as registers allow.

This is the starting point of the chapters on products: no split along `k`, no quantized weights,
no special instructions asked for by name. The engine's own products go to the vendor's library
({py:mod}`mini_vllm.kernels.triton_kernels`). Upstream keeps such a kernel for the mode in which a
result must not depend on the batch:
{up}`vllm/model_executor/layers/batch_invariant.py#matmul_kernel_persistent`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.language import dot, narrow


@dataclass(frozen=True)
class Tile:
    r"""How a product is cut: rows, columns and depth of a piece, and how the work is arranged.

    `group` rows of tiles are done together; `warps` share a tile, and `stages` pieces are under
    way.
    """

    rows: int
    columns: int
    depth: int
    group: int = 8
    warps: int = 4
    stages: int = 3


def tile_for(num_rows: int, itemsize: int = 2) -> Tile:
    r"""The tile for a product with `num_rows` rows, of numbers of `itemsize` bytes."""
    if itemsize > 2:
        # No matrix unit multiplies float32 exactly; tiles are as small as its registers are few.
        return Tile(16, 32, 32) if num_rows <= 16 else Tile(64, 64, 16)
    if num_rows <= 16:
        return Tile(16, 32, 128, stages=4)
    if num_rows <= 64:
        return Tile(64, 64, 64, stages=4)
    if num_rows <= 1024:
        return Tile(128, 128, 64, warps=8)
    return Tile(128, 256, 64, warps=8)


@triton.jit
def linear_kernel(
    x,
    weight,
    bias,
    out,
    num_rows,
    num_columns,
    depth,
    x_stride,
    weight_stride,
    BIAS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
):
    r"""One tile of `x @ weight.T + bias`, `[ROWS, COLUMNS]`.

    `x` is `[num_rows, depth]`, `weight` `[num_columns, depth]`: both are read along their rows.
    """
    # Number of this tile -> its place: down a group of GROUP rows of tiles, then one to the right.
    tiles_down, tiles_across = tl.cdiv(num_rows, ROWS), tl.cdiv(num_columns, COLUMNS)
    group, within = tl.program_id(0) // (GROUP * tiles_across), tl.program_id(0)
    within = within % (GROUP * tiles_across)
    height = tl.minimum(tiles_down - group * GROUP, GROUP)
    row = (group * GROUP + within % height).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (within // height).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)

    k = tl.arange(0, DEPTH)
    x_at = x + row[:, None] * x_stride + k[None, :]
    weight_at = weight + column[None, :] * weight_stride + k[:, None]
    row_in, column_in = (row < num_rows)[:, None], (column < num_columns)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, depth, DEPTH):
        inside = k < depth - start
        a = tl.load(x_at, row_in & inside[None, :], 0.0)
        b = tl.load(weight_at, column_in & inside[:, None], 0.0)
        total = dot(a, b, total)
        x_at += DEPTH
        weight_at += DEPTH
    if BIAS:
        total += tl.load(bias + column, column < num_columns, 0.0).to(tl.float32)[None, :]
    at = out + row[:, None] * num_columns + column[None, :]
    tl.store(at, narrow(total, out.dtype.element_ty), row_in & column_in)


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    tile: Tile | None = None,
) -> torch.Tensor:
    r"""`x @ weight.T + bias`: `[num_rows, depth]` to `[num_rows, num_columns]`, sums in float32.

    `weight` is `[num_columns, depth]`, as checkpoints keep it. `tile` overrules
    {py:func}`tile_for`. Meaning: {py:meth}`TorchKernels.linear
    <mini_vllm.kernels.torch_kernels.TorchKernels.linear>`. Raises `ValueError` for matrices that
    do not fit or are not stored row by row.
    """
    num_rows, depth = x.shape
    num_columns = weight.shape[0]
    if weight.shape[1] != depth or weight.dtype != x.dtype:
        raise ValueError(
            f"weight {tuple(weight.shape)} of {weight.dtype} does not fit x {tuple(x.shape)} "
            f"of {x.dtype}"
        )
    for name, matrix in (("x", x), ("weight", weight)):
        if matrix.stride(1) != 1:
            raise ValueError(f"{name} must be stored row by row, its strides are {matrix.stride()}")
    if bias is not None and bias.shape != (num_columns,):
        raise ValueError(f"bias {tuple(bias.shape)} does not fit {num_columns} columns")
    tile = tile or tile_for(num_rows, x.itemsize)
    out = torch.empty((num_rows, num_columns), dtype=x.dtype, device=x.device)
    if out.numel() == 0:
        return out
    tiles = _up(num_rows, tile.rows) * _up(num_columns, tile.columns)
    linear_kernel[(tiles,)](
        x,
        weight,
        bias,
        out,
        num_rows,
        num_columns,
        depth,
        x.stride(0),
        weight.stride(0),
        BIAS=bias is not None,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
        GROUP=tile.group,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out


def linear_cost(
    num_rows: int, num_columns: int, depth: int, *, bias: bool = False, itemsize: int = 2
) -> KernelCost:
    r"""Both matrices in, the result out; a product and a sum for each of `depth`, and the bias."""
    numbers = num_rows * depth + num_columns * depth + (num_columns if bias else 0)
    result = num_rows * num_columns
    return KernelCost(
        numbers * itemsize, result * itemsize, 2 * result * depth + (result if bias else 0)
    )


def linear_bytes_asked(
    num_rows: int, num_columns: int, depth: int, tile: Tile, *, itemsize: int = 2
) -> int:
    r"""The bytes that all programs ask the cache for: each matrix once for every strip of the
    other.

    What a larger tile is for. Without a bias.
    """
    for_x = _up(num_columns, tile.columns) * num_rows * depth
    for_weight = _up(num_rows, tile.rows) * num_columns * depth
    return (for_x + for_weight) * itemsize


def _up(n: int, piece: int) -> int:
    return (n + piece - 1) // piece
