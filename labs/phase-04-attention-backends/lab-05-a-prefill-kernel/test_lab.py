r"""Lab 05: the pieces of the prefill kernel, in the simulator. `test_kernel.py` has the whole."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.neighbour import beside
from labkit.properties import examples

batch = beside(__file__, "batch")
bounds_by_definition, sees = batch.bounds_by_definition, batch.sees
NOT_A_BLOCK = batch.NOT_A_BLOCK


def numbers(*shape, seed=0, loud=1.0):
    return (loud * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def close(found, wanted, tolerance=2e-5):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def inside(impl, work, **arrays):
    r"""Run a function of the kernel language as one program; what it returns, and the launch."""
    returned = []

    def kernel(**given):
        returned.append(work(**given))

    launched = impl.jit(kernel)
    launched[(1,)](**arrays)
    return returned[0], launched


# ---------------------------------------------------------------- task 1: bounds


def check_bounds(impl, first, last, window, tile):
    found, _ = inside(impl, lambda: impl.bounds(first, last, window, tile))
    begin, left, right, end = (int(number) for number in found)
    assert begin <= left <= right <= end
    wanted_begin, wanted_end, full = bounds_by_definition(first, last, window, tile)
    assert (begin, end) == (wanted_begin, wanted_end), "a tile that nobody reads, or one too few"
    assert list(range(left, right)) == full, "a mask too many, or one too few"


@pytest.mark.task(1)
@pytest.mark.parametrize("window", [0, 1, 3, 4, 5, 9, 40])
@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (0, 3), (0, 7), (3, 3), (4, 7), (7, 8), (21, 27), (32, 34)]
)
def test_the_loop_is_split_as_pairs_say(impl, first, last, window):
    check_bounds(impl, first, last, window, 4)


@pytest.mark.task(1)
@examples(60)
@given(
    first=st.integers(0, 40),
    more=st.integers(0, 20),
    window=st.integers(0, 50),
    tile=st.sampled_from([1, 2, 8, 16]),
)
def test_any_tile_of_queries_splits_it_so(impl, first, more, window, tile):
    check_bounds(impl, first, first + more, window, tile)


# ---------------------------------------------------------------- task 2: load


def load(impl, begin, low, high, *, tile=8, block=4, heads=2, size=3, head=1):
    r"""A text of 14 positions in blocks at 5, 2, none, 0; positions 8 to 11 are not there."""
    cache = np.full((6, block, heads, size), np.nan, np.float32)
    text = numbers(14, heads, size)
    table = np.array([7, 7, 5, 2, NOT_A_BLOCK, 0, NOT_A_BLOCK])
    for place in [*range(8), 12, 13]:
        cache[table[2 + place // block], place % block] = text[place]
    places = np.arange(begin, begin + tile)
    wanted = (places >= low) & (places < high)

    def work(cache, table):
        wide = impl.power_of_two(size)
        return impl.load_tile(cache, table + 2, places, wanted, head, heads, size, block, wide)

    found, launched = inside(impl, work, cache=cache, table=table)
    assert found.shape == (tile, impl.power_of_two(size))
    expected = np.zeros_like(found)
    expected[wanted, :size] = text[places[wanted], head]
    np.testing.assert_array_equal(found, expected)
    return launched.loaded


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("begin", "low", "high", "tile"),
    [(0, 0, 8, 8), (2, 2, 8, 4), (0, 3, 7, 8), (4, 0, 8, 4), (12, 12, 14, 4), (8, 12, 14, 8)],
)
@pytest.mark.parametrize(("heads", "size", "head"), [(1, 4, 0), (2, 3, 1), (3, 1, 2)])
def test_a_tile_begins_and_ends_anywhere(impl, begin, low, high, tile, heads, size, head):
    load(impl, begin, low, high, tile=tile, heads=heads, size=size, head=head)


@pytest.mark.task(2)
def test_nothing_is_read_for_what_is_not_wanted(impl):
    r"""Position 8 has no block, and the table ends behind position 19."""
    assert load(impl, 6, 6, 8)["cache"] == 2 * 3
    assert load(impl, 6, 6, 8)["table"] == 2
    assert load(impl, 12, 12, 14, tile=16)["cache"] == 2 * 3
    assert not load(impl, 8, 0, 0)["cache"]


# ---------------------------------------------------------------- task 3: step


def stepped(impl, query, keys, values, positions, window, masked, *, width, scale=0.25):
    r"""All keys through `step`, `width` of them at a time."""
    state = (
        np.full(len(query), -np.inf, np.float32),
        np.zeros(len(query), np.float32),
        np.zeros((len(query), values.shape[1]), np.float32),
    )

    def work():
        sums = state
        for begin in range(0, len(keys), width):
            part = slice(begin, begin + width)
            places = np.arange(begin, begin + width)
            sums = impl.step(
                *(query, keys[part], values[part], places, positions),
                *(scale, *sums, window, masked),
            )
        return sums

    return inside(impl, work)


def sums_by_definition(query, keys, values, seen, scale=0.25):
    query, keys, values = (array.astype(np.float64) for array in (query, keys, values))
    scores = np.where(seen, scale * query @ keys.T, -np.inf)
    best = scores.max(axis=1)
    weights = np.exp2(scores - np.where(np.isneginf(best), 0.0, best)[:, None])
    return best, weights.sum(axis=1), weights @ values


@pytest.mark.task(3)
@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("window", [0, 3, 16, 20])
@pytest.mark.parametrize("loud", [1.0, 1000.0])
def test_tiles_add_up_in_base_two(impl, width, window, loud):
    query, keys, values = numbers(16, 16, loud=loud), numbers(64, 16, seed=1), numbers(64, 16)
    positions = 20 + np.arange(16) // 2
    (best, total, read), _ = stepped(
        impl, query, keys, values, positions, window, True, width=width
    )
    seen = np.array([[sees(q, k, window) for k in range(64)] for q in positions])
    for found, wanted in zip((best, total, read), sums_by_definition(query, keys, values, seen)):
        close(found, wanted, 1e-3 if loud > 1 else 2e-5)


@pytest.mark.task(3)
@pytest.mark.parametrize("window", [0, 2])
def test_without_a_mask_positions_are_not_looked_at(impl, window):
    query, keys, values = numbers(16, 16), numbers(32, 16, seed=1), numbers(32, 16)
    found, _ = stepped(impl, query, keys, values, np.zeros(16, int), window, False, width=16)
    for one, wanted in zip(found, sums_by_definition(query, keys, values, True)):
        close(one, wanted)


@pytest.mark.task(3)
def test_a_row_that_has_read_nothing_is_still_a_row(impl):
    query, keys, values = numbers(16, 16), numbers(16, 16, seed=1), numbers(16, 16)
    positions = np.where(np.arange(16) < 4, -1, 40)
    (best, total, read), _ = stepped(impl, query, keys, values, positions, 0, True, width=16)
    assert np.isneginf(best[:4]).all(), "no score, no largest one"
    assert not total[:4].any(), f"a total of {total[:4]} where nothing was read"
    assert not read[:4].any()
    assert np.isfinite(read).all()


@pytest.mark.task(3)
def test_the_matrix_unit_does_both_products(impl):
    r"""In 16 bits: the tiles go in as they are, and the sums come out in 32."""
    query, keys, values = (numbers(*s).astype(np.float16) for s in ((8, 32), (16, 32), (16, 32)))
    found, launched = stepped(impl, query, keys, values, np.zeros(8, int), 0, False, width=16)
    assert launched.multiplied == 2 * 8 * 16 * 32, "two products of tiles, each by tl.dot"
    assert found[2].dtype == np.float32
    best, total, read = sums_by_definition(query, keys, values, True)
    close(found[0], best)
    close(found[1], total)  # no weight has been rounded to 16 bits, nor has their sum
    close(found[2], read, 2e-3)


# ---------------------------------------------------------------- task 5: launch


class Recorder:
    r"""A kernel that computes nothing and remembers how it was launched."""

    def __init__(self, kernel):
        self.signature = inspect.signature(kernel.fn)
        self.launches = []

    def __getitem__(self, grid):
        def launch(*arguments, **named):
            bound = self.signature.bind(*arguments, **named).arguments
            self.launches.append((tuple(int(n) for n in grid), bound))

        return launch


def recorded(impl, heads, size, chunks, block=16, **options):
    kept, recorder = impl.prefill_kernel, Recorder(impl.prefill_kernel)
    impl.prefill_kernel = recorder
    query, caches = np.zeros((sum(chunks), heads[0], size)), np.zeros((2, 5, block, heads[1], size))
    tables, starts = np.zeros((len(chunks), 7), int), np.cumsum([0, *chunks])
    lengths, out = np.array(chunks), np.zeros_like(query)
    arrays = (query, *caches, tables, starts, lengths, out)
    impl.prefill(*arrays, 0.125, max(chunks), **options)
    impl.prefill_kernel = kept
    [(grid, bound)] = recorder.launches
    names = ("query", "k_cache", "v_cache", "tables", "starts", "lengths", "out")
    assert all(np.shares_memory(bound[name], array) for name, array in zip(names, arrays))
    return grid, bound


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("heads", "size", "options", "grid", "sizes"),
    [
        ((8, 2), 64, {}, (7, 2, 2), (0, 16, 64, 64, 64)),
        ((8, 8), 24, {"window": 9, "rows": 32, "tile": 16}, (4, 8, 2), (9, 16, 32, 16, 32)),
        ((6, 2), 3, {"rows": 16}, (20, 2, 2), (0, 16, 16, 64, 16)),
        ((48, 2), 16, {"rows": 16, "tile": 32}, (100, 2, 2), (0, 16, 32, 32, 16)),
        ((4, 4), 80, {"block": 32, "rows": 32, "tile": 16}, (4, 4, 2), (0, 32, 32, 16, 128)),
    ],
)
def test_a_program_per_tile_head_and_request(impl, heads, size, options, grid, sizes):
    found, bound = recorded(impl, heads, size, [100, 7], **options)
    assert found == grid
    assert tuple(bound[name] for name in ("WINDOW", "BLOCK", "ROWS", "TILE", "SIZE")) == sizes
    plain = tuple(bound[name] for name in ("max_blocks", "num_kv_heads", "group", "size"))
    assert plain == (7, heads[1], heads[0] // heads[1], size)


@pytest.mark.task(5)
def test_the_scale_is_in_the_base_of_the_kernel(impl):
    _, bound = recorded(impl, (2, 1), 16, [3])
    assert 2 ** bound["scale"] == pytest.approx(math.exp(0.125))


@pytest.mark.task(5)
def test_short_chunks_leave_programs_without_work(impl, truth):
    grid, bound = recorded(impl, (32, 8), 128, [100, 7])
    working = sum(-(-tokens // (bound["ROWS"] // bound["group"])) for tokens in (100, 7)) * grid[1]
    truth("idle", math.prod(grid) - working)
    assert math.prod(grid) - working == 6 * 8


# ---------------------------------------------------------------- task 6: bytes


def tally(num_tokens, length, heads, size, rows, window):
    r"""Positions that anybody reads, and those that each tile of queries reads, one by one."""
    tokens, context = rows // (heads[0] // heads[1]), length - num_tokens

    def read(begin, end):
        queries = range(context + begin, context + end)
        return sum(any(sees(q, k, window) for q in queries) for k in range(length))

    tiles = range(0, num_tokens, tokens)
    return read(0, num_tokens), sum(read(b, min(b + tokens, num_tokens)) for b in tiles)


@pytest.mark.task(6)
@pytest.mark.parametrize("window", [0, 1, 6, 50])
@pytest.mark.parametrize("rows", [4, 16])
@pytest.mark.parametrize("heads", [(1, 1), (4, 2), (6, 2)])
@pytest.mark.parametrize(("num_tokens", "length"), [(1, 1), (9, 9), (5, 20), (16, 30)])
def test_bytes_are_what_is_read_and_written(impl, num_tokens, length, heads, rows, window):
    shape = {"num_heads": heads[0], "num_kv_heads": heads[1], "size": 8, "number_bytes": 2}
    found = impl.traffic(num_tokens, length, rows=rows, window=window, **shape)
    once, again = tally(num_tokens, length, heads, 8, rows, window)
    own, position = 2 * num_tokens * heads[0] * 8 * 2, 2 * heads[1] * 8 * 2
    assert found.least == own + once * position
    assert found.asked == own + again * position
    assert found.with_scores == found.least + 4 * heads[0] * num_tokens * length * 2


@pytest.mark.task(6)
def test_the_lower_the_tile_the_more_often_a_key_is_fetched(impl, truth):
    shape = {"num_heads": 32, "num_kv_heads": 8, "size": 128, "number_bytes": 2}
    low, high = (impl.traffic(4096, 4096, rows=rows, **shape) for rows in (16, 64))
    truth("worse", "yes" if low.asked > low.with_scores else "no")
    assert low.least == high.least < high.asked < high.with_scores < low.asked
