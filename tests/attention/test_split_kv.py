"""The launch plan: when segments pay, how many, and what bounds their workspace."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.split_kv import (
    MOST_OVERHEAD,
    MOST_SEGMENTS,
    PROGRAMS_PER_PROCESSOR,
    TILE_BYTES,
    largest_workspace,
    plan_launch,
    smallest_segment_for,
    tile_places,
)

#: Llama-3-8B on a device of 132 processors.
MODEL = {
    "num_heads": 32,
    "num_kv_heads": 8,
    "head_size": 128,
    "element_bytes": 2,
    "num_processors": 132,
}


def decodes(num_reqs, max_seq_len, **more):
    step = {"num_queries": num_reqs, "num_reqs": num_reqs, "max_query_len": 1}
    return plan_launch(**MODEL | step | {"max_seq_len": max_seq_len} | more)


def test_one_long_decode_is_cut():
    plan = decodes(1, 100_000)
    assert plan.num_segments == MOST_SEGMENTS
    assert plan.num_query_blocks == 1
    assert plan.one_query
    assert "8 programs alone, 528 are wanted" in str(plan)


def test_a_full_batch_is_not_cut():
    plan = decodes(64, 4096)
    assert plan.num_segments == 1
    assert "512 programs keep the device busy" in plan.reason


def test_a_short_text_is_not_cut():
    plan = decodes(1, 200)
    assert plan.num_segments == 1
    assert "200 positions are too few" in plan.reason


def test_segments_become_fewer_as_requests_become_more():
    numbers = [decodes(n, 8192).num_segments for n in (1, 2, 4, 8, 16, 32, 64, 128)]
    assert numbers == [32, 32, 16, 8, 4, 2, 1, 1]


def test_a_window_bounds_what_can_be_cut():
    assert decodes(1, 100_000, sliding_window=512).num_segments == 2
    assert decodes(1, 100_000, sliding_window=128).num_segments == 1


def test_findings_cost_at_most_their_share():
    """At the smallest length, and no longer one position below it."""
    for group, head_size, element in ((1, 64, 2), (4, 128, 2), (8, 128, 2), (4, 128, 4)):
        smallest = smallest_segment_for(group, head_size, element)
        findings = 2 * 4 * group * (head_size + 2)
        for length, fits in ((smallest, True), (smallest - 1, False)):
            assert (findings <= MOST_OVERHEAD * 2 * length * head_size * element) is fits


def test_a_chunk_fills_a_tile_and_a_decode_the_least():
    assert decodes(4, 100).rows == 16
    chunk = {"num_queries": 512, "num_reqs": 1, "max_query_len": 512, "max_seq_len": 512}
    plan = plan_launch(**MODEL | chunk)
    assert (plan.rows, plan.queries, plan.num_query_blocks) == (64, 16, 33)
    two = plan_launch(**MODEL | chunk | {"num_queries": 2, "max_query_len": 2})
    assert (two.rows, two.queries) == (16, 4)


def test_a_group_that_is_no_power_of_two():
    plan = decodes(4, 100, num_heads=28, num_kv_heads=4)
    assert plan.rows == 16
    wide = decodes(4, 100, num_heads=71, num_kv_heads=1)
    assert wide.rows == 128
    chunk = {"num_queries": 64, "num_reqs": 1, "max_query_len": 64, "max_seq_len": 64}
    assert plan_launch(**MODEL | chunk | {"num_heads": 28, "num_kv_heads": 4}).queries == 9


@pytest.mark.parametrize(
    ("head_size", "element", "places"), [(64, 2, 64), (128, 2, 32), (128, 4, 16), (256, 2, 16)]
)
def test_a_tile_fits_its_bytes(head_size, element, places):
    assert tile_places(head_size, element) == places
    assert 2 * places * head_size * element <= TILE_BYTES


def test_a_tile_is_never_too_small_for_a_matrix_unit():
    assert tile_places(1024, 4) == 16


steps = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(
    query_lens=steps,
    past=st.integers(0, 100_000),
    group=st.integers(1, 16),
    kv_heads=st.sampled_from([1, 2, 4, 8]),
    processors=st.sampled_from([1, 8, 108, 132]),
    window=st.none() | st.integers(1, 5000),
)
@settings(max_examples=200, deadline=None)
def test_every_token_has_a_block_and_the_workspace_is_big_enough(
    query_lens, past, group, kv_heads, processors, window
):
    plan = plan_launch(
        num_queries=sum(query_lens),
        num_reqs=len(query_lens),
        max_query_len=max(query_lens),
        max_seq_len=past + max(query_lens),
        num_heads=group * kv_heads,
        num_kv_heads=kv_heads,
        head_size=64,
        element_bytes=2,
        num_processors=processors,
        sliding_window=window,
    )
    assert plan.rows >= plan.queries * group
    # The blocks that the kernel's formula gives to each request hold its tokens, and end in time.
    start = 0
    for i, length in enumerate(query_lens):
        first = start if plan.one_query else start // plan.queries + i
        start += length
        after = start if plan.one_query else start // plan.queries + i + 1
        assert (after - first) * plan.queries >= length
    assert after <= plan.num_query_blocks
    programs = plan.num_query_blocks * kv_heads
    assert plan.num_segments == 1 or (
        programs * plan.num_segments <= processors * PROGRAMS_PER_PROCESSOR
    )
    lots = plan.num_queries * group * kv_heads * plan.num_segments
    if plan.num_segments > 1:
        assert lots <= largest_workspace(group * kv_heads, kv_heads, processors)
    assert dataclasses.replace(plan) == plan
