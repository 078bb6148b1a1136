r"""A paged-attention kernel in Triton.

A kernel is written for one *program*, and launched as a grid of them. A program knows its place in
the grid, loads tiles of memory by their addresses, computes, and stores. It sees an array as a
pointer to its first element: `keys + 7` is the address of element 7 and `keys + tl.arange(0, 8)`
are eight addresses. Sizes of tiles are `constexpr`, known when the kernel is compiled, and powers
of two; what sticks out of the array is cut off by a *mask*.

Arrays are contiguous, and their shapes are

- caches: `[num_blocks, BLOCK, num_kv_heads, size]`, block after block,
- queries and outputs: `[num_requests, num_heads, size]`,
- tables: `[num_requests, max_blocks]`; behind a request's blocks a row holds rubbish.

Query head `h` reads the keys of head `h // (num_heads // num_kv_heads)`.

By itself this file runs on the simulator in `labs/labkit/triton_simulator.py`, in NumPy. With
`LAB_TRITON=1` in the environment the same kernels are Triton's.
"""

import os

if os.environ.get("LAB_TRITON"):
    import triton
    import triton.language as tl

    jit = triton.jit
else:
    from labkit.triton_simulator import jit, tl


@jit
def write_kernel(keys, values, k_cache, v_cache, slots, row, ROW: tl.constexpr):
    r"""One token's keys and values, `row` numbers each, into its slot of both caches.

    Program `i` writes token `i` of `keys` and `values`, `[num_tokens, row]`, to slot `slots[i]`. A
    negative slot is padding and nothing is written for it. `ROW` is `row` or the next power of two.
    """
    # TODO task 1: write a token into its slot
    raise NotImplementedError("task 1: write a token into its slot")


@jit
def load_tile(
    cache, block, head, count, num_kv_heads, size, BLOCK: tl.constexpr, SIZE: tl.constexpr
):
    r"""One block of one head, `[BLOCK, SIZE]`, zero where there is nothing to read.

    Only the first `count` tokens of the block are the request's (all of them, if `count` is larger
    than the block), and only the first `size` numbers of a row exist. Everything else must be zero,
    and must not be read: it may be `NaN`.
    """
    # TODO task 2: load a tile of a block
    raise NotImplementedError("task 2: load a tile of a block")


@jit
def fold(scores, values, best, total, read):
    r"""Take one more tile into the sums of a softmax; returns the new `best`, `total` and `read`.

    `scores` is `[GROUP, BLOCK]`, minus infinity for what must not count, and in each row something
    counts. `values` is `[BLOCK, SIZE]`. Of the tiles before, `best` is the largest score,
    `[GROUP]`, `total` the sum of `exp(score - best)`, `[GROUP]`, and `read` the sum of
    `exp(score - best) * value`, `[GROUP, SIZE]`. Before the first tile these are minus infinity,
    zero and zero.
    """
    # TODO task 3: fold a tile into the sums
    raise NotImplementedError("task 3: fold a tile into the sums")


@jit
def decode_kernel(
    query,
    k_cache,
    v_cache,
    tables,
    lengths,
    out,
    scale,
    max_blocks,
    num_kv_heads,
    group,
    size,
    BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""What the last token of each request reads.

    A key's score is `scale` times the sum over query times key; a query head reads the average of
    the request's values, weighted by the softmax of their keys' scores.

    Program `(r, k)` computes, for request `r`, all `group` query heads that share head `k` of keys
    and values, and reads each of its keys and values once. It walks over the blocks of row `r` of
    `tables`, which has `max_blocks` entries, as far as `lengths[r]` tokens go. `GROUP` and `SIZE`
    are `group` and `size`, or the next power of two; `BLOCK` is the block size.
    """
    # TODO task 4: walk over the blocks of a request
    raise NotImplementedError("task 4: walk over the blocks of a request")


def power_of_two(number):
    r"""The smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()


def write(keys, values, k_cache, v_cache, slots):
    r"""Launch {py:func}`write_kernel` for tokens `[num_tokens, num_kv_heads, size]`."""
    # TODO task 5: launch both kernels
    raise NotImplementedError("task 5: launch both kernels")


def decode(query, k_cache, v_cache, tables, lengths, out, scale):
    r"""Launch {py:func}`decode_kernel` for all requests and all heads of keys and values."""
    # TODO task 5: launch both kernels
    raise NotImplementedError("task 5: launch both kernels")
