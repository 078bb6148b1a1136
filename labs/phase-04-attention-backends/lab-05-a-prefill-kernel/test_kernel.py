r"""Lab 05: the whole prefill kernel, in the simulator; then, where there is one, in Triton."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.neighbour import beside
from labkit.properties import examples
from labkit.triton_process import ask

batch = beside(__file__, "batch")
Batch, bounds_by_definition, sees = batch.Batch, batch.bounds_by_definition, batch.sees


def close(found, wanted, tolerance=2e-5):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- task 4: the kernel


def given_pieces(impl):
    r"""What the kernel may call, without yours; the list of the tiles that it asks for."""
    asked_for = []

    def bounds(first, last, WINDOW, TILE):
        begin, end, full = bounds_by_definition(int(first), int(last), WINDOW, TILE)
        return begin, full[0] if full else end, full[-1] + 1 if full else end, end

    def load_tile(cache, row, places, wanted, head, num_kv_heads, size, BLOCK, SIZE):
        tile = np.zeros((len(places), SIZE), cache.memory.dtype)
        for lane, place in enumerate(places):
            if wanted[lane]:
                slot = impl.tl.load(row + place // BLOCK) * BLOCK + place % BLOCK
                first = (slot * num_kv_heads + head) * size
                tile[lane, :size] = impl.tl.load(cache + first + np.arange(size))
        return tile

    def step(asked, keys, values, places, positions, scale, best, total, read, WINDOW, MASKED):
        asked_for.append((int(places[0]) // len(places), MASKED))
        seen = np.array([[sees(q, k, WINDOW) or not MASKED for k in places] for q in positions])
        scores = np.where(seen, scale * asked.astype(np.float32) @ keys.T, -np.inf)
        new = np.maximum(best, scores.max(axis=1))
        base = np.where(np.isneginf(new), 0, new)
        old, weights = np.exp2(best - base), np.exp2(scores - base[:, None])
        return new, old * total + weights.sum(axis=1), old[:, None] * read + weights @ values

    impl.bounds, impl.load_tile, impl.step = map(impl.jit, (bounds, load_tile, step))
    return asked_for


CASES = [
    # chunks of (tokens, length of the text), and what else
    ([(1, 1)], {"heads": (1, 1)}),
    ([(5, 5)], {}),
    ([(6, 23)], {"heads": (6, 2)}),
    ([(7, 19), (1, 9), (12, 12)], {}),
    ([(9, 30)], {"window": 1}),
    ([(9, 30), (20, 20)], {"window": 11, "size": 5}),
    ([(3, 40)], {"block": 16, "window": 7}),
    ([(2, 9)], {"block": 1, "heads": (8, 1)}),
]


@pytest.mark.task(4)
@pytest.mark.parametrize("tile", [4, 16])
@pytest.mark.parametrize(("chunks", "shape"), CASES)
def test_chunks_read_what_they_would_read_densely(impl, chunks, shape, tile):
    given_pieces(impl)
    some = Batch(chunks, **shape)
    close(some.launch(impl, 0.5, rows=16, tile=tile), some.dense(0.5))


@pytest.mark.task(4)
@pytest.mark.parametrize("window", [0, 10])
def test_a_tile_is_masked_where_an_edge_runs_through_it(impl, window):
    asked_for = given_pieces(impl)
    Batch([(8, 40)], heads=(1, 1), window=window).launch(impl, 0.5, rows=8, tile=4)
    begin, end, full = bounds_by_definition(32, 39, window, 4)
    assert asked_for == [(number, number not in full) for number in range(begin, end)]


@pytest.mark.task(4)
def test_every_tile_of_queries_reads_what_it_needs_once(impl):
    given_pieces(impl)
    Batch([(10, 21), (1, 6)], window=0).launch(impl, 0.5, rows=16, tile=16)
    launched = impl.prefill_kernel
    assert launched.loaded["query"] == launched.stored["out"] == 11 * 4 * 3
    # Eight tokens a tile: the first tile ends at position 18, the second at 20.
    assert launched.loaded["k_cache"] == launched.loaded["v_cache"] == (19 + 21 + 6) * 2 * 3


@pytest.mark.task(4)
def test_results_have_the_type_of_the_queries(impl):
    given_pieces(impl)
    some = Batch([(5, 9)], dtype=np.float16)
    close(some.launch(impl, 0.5, rows=16, tile=16), some.dense(0.5), 4e-3)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5, 6)
@examples(25)
@given(
    chunks=st.lists(
        st.tuples(st.integers(1, 20), st.integers(0, 20)).map(lambda c: (c[0], sum(c))),
        min_size=1,
        max_size=3,
    ),
    block=st.sampled_from([1, 4, 16]),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 2), (5, 1)]),
    window=st.sampled_from([0, 1, 5, 17]),
    rows=st.sampled_from([8, 16, 32]),
    tile=st.sampled_from([16, 32]),
)
def test_any_batch_reads_what_it_would_and_moves_what_was_counted(
    impl, chunks, block, heads, window, rows, tile
):
    some = Batch(chunks, block=block, heads=heads, window=window)
    out = np.full_like(some.query, np.nan)
    arrays = (*some.caches, some.tables, some.starts, some.lengths, out)
    options = {"window": window, "rows": rows, "tile": tile}
    impl.prefill(some.query, *arrays, 0.4, some.longest, **options)
    close(out, some.dense(0.4 * math.log2(math.e)))
    shape = {"num_heads": heads[0], "num_kv_heads": heads[1], "size": 3, "number_bytes": 4}
    counts = [impl.traffic(*chunk, rows=rows, window=window, **shape).asked for chunk in chunks]
    launched = impl.prefill_kernel
    moved = sum(launched.loaded[name] for name in ("query", "k_cache", "v_cache"))
    assert 4 * (moved + launched.stored["out"]) == sum(counts)


@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_tiles_of_the_prediction(impl, truth):
    tiles, step = [], impl.step

    def watched(*arguments):
        tiles.append(arguments[-1])
        return step(*arguments)

    impl.step = impl.jit(watched)
    some = Batch([(64, 128)], block=16, heads=(4, 1), size=16)
    out = np.full_like(some.query, np.nan)
    arrays = (*some.caches, some.tables, some.starts, some.lengths, out)
    impl.prefill(some.query, *arrays, 0.25, 64, rows=64, tile=32)
    truth("masked", sum(tiles))
    assert (sum(tiles), len(tiles)) == (4, 2 * 3 + 2 * 4)


ON_TRITON = Path(__file__).with_name("on_triton.py")


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5)
def test_in_tritons_interpreter(impl):
    told = ask(ON_TRITON, impl, "cpu")
    assert told["interpreted"]
    assert max(told["differences"]) < 2e-5, told


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_compiler_gives_the_products_to_the_matrix_units(impl):
    told = ask(ON_TRITON, impl, "compile")
    assert set(told["compiled"]) == {"sm_80", "sm_90"}
    for target, found in told["compiled"].items():
        assert found["bytes"] > 0
        assert found["matrix orders"] > 0, f"{target}: no product is one of tiles"


@pytest.mark.gpu
@pytest.mark.task(1, 2, 3, 4, 5)
def test_compiled_on_a_gpu(impl):
    told = ask(ON_TRITON, impl, "cuda")
    assert not told["interpreted"]
    assert max(told["differences"]) < 4e-3, told
