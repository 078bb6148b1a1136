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
    # lab: begin task 1 "write a token into its slot"
    token = tl.program_id(0)
    slot = tl.load(slots + token)
    places = tl.arange(0, ROW)
    mask = (places < row) & (slot >= 0)
    key = tl.load(keys + token * row + places, mask=mask, other=0.0)
    value = tl.load(values + token * row + places, mask=mask, other=0.0)
    tl.store(k_cache + slot * row + places, key, mask=mask)
    tl.store(v_cache + slot * row + places, value, mask=mask)
    # lab: end


@jit
def load_tile(
    cache, block, head, count, num_kv_heads, size, BLOCK: tl.constexpr, SIZE: tl.constexpr
):
    r"""One block of one head, `[BLOCK, SIZE]`, zero where there is nothing to read.

    Only the first `count` tokens of the block are the request's (all of them, if `count` is larger
    than the block), and only the first `size` numbers of a row exist. Everything else must be zero,
    and must not be read: it may be `NaN`.
    """
    # lab: begin task 2 "load a tile of a block"
    tokens = tl.arange(0, BLOCK)[:, None]
    numbers = tl.arange(0, SIZE)[None, :]
    mask = (tokens < count) & (numbers < size)
    slots = block * BLOCK + tokens
    return tl.load(cache + (slots * num_kv_heads + head) * size + numbers, mask=mask, other=0.0)
    # lab: end


@jit
def fold(scores, values, best, total, read):
    r"""Take one more tile into the sums of a softmax; returns the new `best`, `total` and `read`.

    `scores` is `[GROUP, BLOCK]`, minus infinity for what must not count, and in each row something
    counts. `values` is `[BLOCK, SIZE]`. Of the tiles before, `best` is the largest score,
    `[GROUP]`, `total` the sum of `exp(score - best)`, `[GROUP]`, and `read` the sum of
    `exp(score - best) * value`, `[GROUP, SIZE]`. Before the first tile these are minus infinity,
    zero and zero.
    """
    # lab: begin task 3 "fold a tile into the sums"
    new_best = tl.maximum(best, tl.max(scores, axis=1))
    shrink = tl.exp(best - new_best)
    weights = tl.exp(scores - new_best[:, None])
    # [GROUP, BLOCK, 1] * [1, BLOCK, SIZE], summed over the tokens of the block
    tile = tl.sum(weights[:, :, None] * values[None, :, :], axis=1)
    return new_best, total * shrink + tl.sum(weights, axis=1), read * shrink[:, None] + tile
    # lab: end


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
    # lab: begin task 4 "walk over the blocks of a request"
    request = tl.program_id(0)
    kv_head = tl.program_id(1)
    length = tl.load(lengths + request)
    heads = tl.arange(0, GROUP)[:, None]
    numbers = tl.arange(0, SIZE)[None, :]
    mask = (heads < group) & (numbers < size)
    own = ((request * num_kv_heads + kv_head) * group + heads) * size + numbers
    asked = tl.load(query + own, mask=mask, other=0.0)
    best = tl.full([GROUP], float("-inf"), tl.float32)
    total = tl.zeros([GROUP], tl.float32)
    read = tl.zeros([GROUP, SIZE], tl.float32)
    for start in range(0, length, BLOCK):
        block = tl.load(tables + request * max_blocks + start // BLOCK)
        count = length - start
        keys = load_tile(k_cache, block, kv_head, count, num_kv_heads, size, BLOCK, SIZE)
        values = load_tile(v_cache, block, kv_head, count, num_kv_heads, size, BLOCK, SIZE)
        scores = scale * tl.sum(asked[:, None, :] * keys[None, :, :], axis=2)
        scores = tl.where(tl.arange(0, BLOCK)[None, :] < count, scores, float("-inf"))
        best, total, read = fold(scores, values, best, total, read)
    tl.store(out + own, read / total[:, None], mask=mask)
    # lab: end


def power_of_two(number):
    r"""The smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()


def write(keys, values, k_cache, v_cache, slots):
    r"""Launch {py:func}`write_kernel` for tokens `[num_tokens, num_kv_heads, size]`."""
    # lab: begin task 5 "launch both kernels"
    num_tokens, num_kv_heads, size = keys.shape
    row = num_kv_heads * size
    write_kernel[(num_tokens,)](keys, values, k_cache, v_cache, slots, row, ROW=power_of_two(row))
    # lab: end


def decode(query, k_cache, v_cache, tables, lengths, out, scale):
    r"""Launch {py:func}`decode_kernel` for all requests and all heads of keys and values."""
    # lab: begin task 5 "launch both kernels"
    num_requests, num_heads, size = query.shape
    block_size, num_kv_heads = k_cache.shape[1:3]
    group = num_heads // num_kv_heads
    decode_kernel[(num_requests, num_kv_heads)](
        *(query, k_cache, v_cache, tables, lengths, out),
        *(scale, tables.shape[1], num_kv_heads, group, size),
        BLOCK=block_size,
        GROUP=power_of_two(group),
        SIZE=power_of_two(size),
    )
    # lab: end
