r"""Lab 05: the kernels in the simulator, piece by piece; then, where there is one, in Triton."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples
from labkit.triton_process import ask

NOT_A_BLOCK = 10**6


def dense(query, keys, values, scale):
    r"""One request's last token, from the definition: `[num_heads, size]`."""
    group = query.shape[0] // keys.shape[1]
    out = np.zeros_like(query)
    for head, asked in enumerate(query):
        scores = scale * (keys[:, head // group] @ asked)
        weights = np.exp(scores - scores.max())
        out[head] = weights @ values[:, head // group] / weights.sum()
    return out


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)


def numbers(*shape, seed=0, loud=1.0):
    return (loud * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def inside(impl, work, **arrays):
    r"""Run a function of the kernel language as one program, and return what it returns."""
    returned = []

    def kernel(**given):
        returned.append(work(**given))

    impl.jit(kernel)[(1,)](**arrays)
    return returned[0]


# ---------------------------------------------------------------- task 1: write


def launch_write(impl, slots, *, heads=2, size=3, num_blocks=3, block_size=4):
    keys, values = numbers(2, len(slots), heads, size)
    caches = np.full((2, num_blocks, block_size, heads, size), 99, np.float32)
    row = heads * size
    impl.write_kernel[(len(slots),)](
        keys, values, *caches, np.array(slots), row, ROW=impl.power_of_two(row)
    )
    return (keys, values), caches.reshape(2, -1, heads, size)


@pytest.mark.task(1)
@pytest.mark.parametrize("heads_and_size", [(2, 3), (1, 8), (4, 4), (1, 1)])
def test_each_token_lands_in_its_slot_and_nowhere_else(impl, heads_and_size):
    heads, size = heads_and_size
    slots = [5, 0, 11, 7]
    news, caches = launch_write(impl, slots, heads=heads, size=size)
    for new, cache in zip(news, caches):
        assert np.array_equal(cache[slots], new)
        untouched = [slot for slot in range(12) if slot not in slots]
        assert (cache[untouched] == 99).all()


@pytest.mark.task(1)
def test_padding_is_written_nowhere(impl):
    news, caches = launch_write(impl, [-1, 4, -1, -1])
    for new, cache in zip(news, caches):
        assert np.array_equal(cache[4], new[1])
        assert (np.delete(cache, 4, axis=0) == 99).all()


# ---------------------------------------------------------------- task 2: a tile


@pytest.mark.task(2)
@pytest.mark.parametrize("count", [1, 3, 4, 9])
@pytest.mark.parametrize(("heads", "size"), [(1, 4), (2, 4), (3, 5)])
def test_a_tile_is_the_tokens_of_one_head_of_one_block(impl, heads, size, count):
    cache = np.full((3, 4, heads, size), np.nan, np.float32)
    cache[1, :count] = numbers(min(count, 4), heads, size)
    wide = impl.power_of_two(size)
    for head in range(heads):
        tile = inside(
            impl,
            lambda cache, head=head: impl.load_tile(cache, 1, head, count, heads, size, 4, wide),
            cache=cache,
        )
        assert tile.shape == (4, wide)
        held = min(count, 4)
        assert np.array_equal(tile[:held, :size], cache[1, :held, head])
        assert not tile[held:].any()
        assert not tile[:, size:].any()


@pytest.mark.task(2)
def test_what_is_not_there_is_not_read(impl):
    r"""The last block of the cache, the last head: one place further is outside."""
    cache = numbers(2, 4, 2, 3)
    tile = inside(impl, lambda cache: impl.load_tile(cache, 1, 1, 4, 2, 3, 4, 4), cache=cache)
    assert np.array_equal(tile[:, :3], cache[1, :, 1])


# ---------------------------------------------------------------- task 3: fold


def folded(impl, scores, values, width):
    r"""Fold a row of scores in, `width` tokens at a time."""
    group, size = len(scores), values.shape[1]

    def work():
        sums = np.full(group, -np.inf, np.float32), np.zeros(group, np.float32)
        state = (*sums, np.zeros((group, size), np.float32))
        for start in range(0, scores.shape[1], width):
            part = slice(start, start + width)
            state = impl.fold(scores[:, part], values[part], *state)
        return state

    return inside(impl, work)


@pytest.mark.task(3)
@pytest.mark.parametrize("loud", [1.0, 300.0])
@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_tiles_add_up_to_a_softmax(impl, width, loud, seed):
    scores, values = numbers(2, 8, seed=seed, loud=loud), numbers(8, 4, seed=9)
    best, total, read = folded(impl, scores, values, width)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    close(best, scores.max(axis=1))
    close(total, weights.sum(axis=1))
    close(read, weights @ values)


@pytest.mark.task(3)
def test_what_must_not_count_does_not_count(impl):
    scores, values = numbers(2, 8), numbers(8, 4, seed=9)
    scores[:, 5:] = -np.inf
    _, total, read = folded(impl, scores, values, 4)
    weights = np.exp(scores[:, :5] - scores[:, :5].max(axis=1, keepdims=True))
    close(total, weights.sum(axis=1))
    close(read, weights @ values[:5])


# ---------------------------------------------------------------- task 4: a request


def given_pieces(impl):
    r"""What `decode_kernel` may call, without yours."""

    def load_tile(cache, block, head, count, num_kv_heads, size, BLOCK, SIZE):
        tile = np.zeros((BLOCK, SIZE), np.float32)
        for token in range(min(BLOCK, count)):
            first = ((block * BLOCK + token) * num_kv_heads + head) * size
            tile[token, :size] = impl.tl.load(cache + first + np.arange(size))
        return tile

    def fold(scores, values, best, total, read):
        new = np.maximum(best, scores.max(axis=1))
        old, weights = np.exp(best - new), np.exp(scores - new[:, None])
        return new, old * total + weights.sum(axis=1), old[:, None] * read + weights @ values

    impl.load_tile, impl.fold = impl.jit(load_tile), impl.jit(fold)


def texts(lengths, *, block_size=4, heads=(4, 2), size=4, seed=0, loud=1.0):
    r"""Requests in a cache in which everything else is NaN, with tables that end in rubbish."""
    draw = np.random.default_rng(seed)
    counts = [-(-length // block_size) for length in lengths]
    order = draw.permutation(sum(counts) + 1)
    tables = np.full((len(lengths), max(counts) + 2), NOT_A_BLOCK)
    caches = np.full((2, len(order), block_size, heads[1], size), np.nan, np.float32)
    held, taken = [], 0
    for row, (length, count) in enumerate(zip(lengths, counts)):
        tables[row, :count] = order[taken : taken + count]
        taken += count
        held.append(numbers(2, length, heads[1], size, seed=seed + row))
        for place in range(length):
            where = tables[row, place // block_size], place % block_size
            caches[:, where[0], where[1]] = held[row][:, place]
    query = numbers(len(lengths), heads[0], size, seed=seed + 77, loud=loud)
    return query, caches, tables, np.array(lengths), held


def launch_decode(impl, query, caches, tables, lengths, scale):
    num_requests, num_heads, size = query.shape
    block_size, num_kv_heads = caches.shape[2:4]
    group = num_heads // num_kv_heads
    out = np.full_like(query, np.nan)
    impl.decode_kernel[(num_requests, num_kv_heads)](
        *(query, *caches, tables, lengths, out, scale, tables.shape[1], num_kv_heads, group, size),
        BLOCK=block_size,
        GROUP=impl.power_of_two(group),
        SIZE=impl.power_of_two(size),
    )
    return out


SHAPES = [
    # lengths, block_size, heads, size
    ([1], 4, (1, 1), 4),
    ([4], 4, (2, 1), 4),
    ([5], 4, (4, 2), 4),
    ([3, 9, 8], 4, (4, 4), 2),
    ([7, 1], 2, (6, 2), 5),
    ([11, 16], 16, (3, 1), 3),
]


@pytest.mark.task(4)
@pytest.mark.parametrize(("lengths", "block_size", "heads", "size"), SHAPES)
def test_a_request_reads_what_it_would_read_densely(impl, lengths, block_size, heads, size):
    given_pieces(impl)
    query, caches, tables, lens, held = texts(
        lengths, block_size=block_size, heads=heads, size=size
    )
    out = launch_decode(impl, query, caches, tables, lens, 0.5)
    for row, (keys, values) in enumerate(held):
        close(out[row], dense(query[row], keys, values, 0.5))


@pytest.mark.task(4)
def test_every_key_is_read_once(impl):
    given_pieces(impl)
    query, caches, tables, lens, _ = texts([9, 3], heads=(8, 2))
    launch_decode(impl, query, caches, tables, lens, 0.5)
    loaded = impl.decode_kernel.loaded
    assert loaded["k_cache"] == loaded["v_cache"] == (9 + 3) * 2 * 4
    assert loaded["query"] == query.size
    assert loaded["tables"] == (3 + 1) * 2, "entries behind a request's last block were read"


# ---------------------------------------------------------------- task 5: launch


class Recorder:
    r"""A kernel that computes nothing and remembers how it was launched."""

    def __init__(self, kernel):
        self.signature = inspect.signature(kernel.fn)
        self.launches = []

    def __getitem__(self, grid):
        def launch(*arguments, **named):
            bound = self.signature.bind(*arguments, **named).arguments
            self.launches.append((tuple(grid), bound))

        return launch


@pytest.mark.task(5)
@pytest.mark.parametrize(("heads", "size", "ROW"), [(2, 4, 8), (2, 3, 8), (1, 1, 1), (3, 16, 64)])
def test_the_write_has_a_program_per_token(impl, heads, size, ROW):
    impl.write_kernel = Recorder(impl.write_kernel)
    keys, values = numbers(2, 5, heads, size)
    caches = numbers(2, 3, 4, heads, size)
    slots = np.array([3, 1, -1, 0, 2])
    impl.write(keys, values, *caches, slots)
    [(grid, bound)] = impl.write_kernel.launches
    assert grid == (5,)
    assert bound["keys"] is keys
    assert bound["values"] is values
    assert np.shares_memory(bound["k_cache"], caches[0])
    assert np.shares_memory(bound["v_cache"], caches[1])
    assert bound["slots"] is slots
    assert (bound["row"], bound["ROW"]) == (heads * size, ROW)


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("heads", "size", "tiles"), [((8, 2), 64, (4, 64)), ((6, 2), 24, (4, 32)), ((3, 3), 1, (1, 1))]
)
def test_the_read_has_a_program_per_request_and_head_of_keys(impl, heads, size, tiles, truth):
    impl.decode_kernel = Recorder(impl.decode_kernel)
    query = numbers(4, heads[0], size)
    caches = numbers(2, 5, 16, heads[1], size)
    tables, lengths, out = np.zeros((4, 7), int), np.ones(4, int), np.zeros_like(query)
    impl.decode(query, *caches, tables, lengths, out, 0.125)
    [(grid, bound)] = impl.decode_kernel.launches
    if heads == (8, 2):
        truth("programs", int(np.prod(grid)))
    assert grid == (4, heads[1])
    expected = {"query": query, "tables": tables, "lengths": lengths, "out": out}
    assert all(bound[name] is array for name, array in expected.items())
    assert np.shares_memory(bound["k_cache"], caches[0])
    assert np.shares_memory(bound["v_cache"], caches[1])
    plain = ("scale", "max_blocks", "num_kv_heads", "group", "size", "BLOCK")
    assert [bound[name] for name in plain] == [0.125, 7, heads[1], heads[0] // heads[1], size, 16]
    assert (bound["GROUP"], bound["SIZE"]) == tiles


# ---------------------------------------------------------------- all together


def run(impl, lengths, *, block_size, heads, size, loud=1.0):
    query, caches, tables, lens, held = texts(
        lengths, block_size=block_size, heads=heads, size=size, loud=loud
    )
    # The last token of each text is new: the write brings it in.
    news, slots = [], []
    for row, length in enumerate(lengths):
        where = tables[row, (length - 1) // block_size], (length - 1) % block_size
        caches[:, where[0], where[1]] = np.nan
        slots.append(where[0] * block_size + where[1])
        news.append(held[row][:, -1:])
    keys, values = np.concatenate([*news, np.full_like(news[0], 7)], axis=1)
    impl.write(keys, values, *caches, np.array([*slots, -1]))
    out = np.full_like(query, np.nan)
    impl.decode(query, *caches, tables, lens, out, 0.5)
    for row, (text_keys, text_values) in enumerate(held):
        close(out[row], dense(query[row], text_keys, text_values, 0.5))


@pytest.mark.task(1, 2, 3, 4, 5)
@examples(25)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    block_size=st.sampled_from([1, 2, 4, 16]),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 2), (5, 1)]),
    size=st.sampled_from([1, 3, 4]),
    loud=st.sampled_from([1.0, 100.0]),
)
def test_any_batch_reads_what_it_would_read_densely(impl, lengths, block_size, heads, size, loud):
    run(impl, lengths, block_size=block_size, heads=heads, size=size, loud=loud)


@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_launch_of_the_predictions(impl, truth):
    run(impl, [37], block_size=16, heads=(8, 2), size=8)
    read = impl.decode_kernel.loaded["k_cache"]
    truth("keys-read", read)
    truth("masked", 3 * 16 - read // (2 * 8))
    assert read == 37 * 2 * 8


ON_TRITON = Path(__file__).with_name("on_triton.py")


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5)
def test_in_tritons_interpreter(impl):
    told = ask(ON_TRITON, impl, "cpu")
    assert told["interpreted"]
    assert max(told["differences"]) < 2e-5, told


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_compiler_takes_them_for_devices_that_are_not_here(impl):
    r"""No device is needed to compile for one: to PTX, and to the code of the device itself."""
    told = ask(ON_TRITON, impl, "compile")
    assert set(told["compiled"]) == {"sm_80", "sm_90"}
    assert all(size > 0 for sizes in told["compiled"].values() for size in sizes.values())


@pytest.mark.gpu
@pytest.mark.task(1, 2, 3, 4, 5)
def test_compiled_on_a_gpu(impl):
    told = ask(ON_TRITON, impl, "cuda")
    assert not told["interpreted"]
    assert max(told["differences"]) < 1e-4, told
