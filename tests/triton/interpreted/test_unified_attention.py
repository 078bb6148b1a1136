"""The Triton backend on the grid of all backends, and its own corners: segments, tiles, windows."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.attention.triton_attention import TritonAttentionBackend
from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.unified_attention import unified_attention

NAME = "attention_cases"
if NAME not in sys.modules:
    path = Path(__file__).parents[2] / "attention" / "cases.py"
    spec = importlib.util.spec_from_file_location(NAME, path)
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
cases = sys.modules[NAME]


builder_for, run = cases.triton_builder, cases.run_triton


@pytest.mark.parametrize("name", cases.GRID)
def test_the_grid(name):
    case = cases.Case(**cases.GRID[name])
    out, pages = run(case)
    case.check(out)
    case.check_pages(pages)


@pytest.mark.parametrize("window", [1, 16, 20])
def test_what_lies_behind_the_window_is_never_read(window):
    """Blocks that no query can see are gone: their ids are stale, and their numbers NaN."""
    for mix, segments in itertools.product(("decodes", "chunks"), (1, 2)):
        case = cases.Case(mix, (2, 1), window=window, block_size=4, forgotten=True)
        case.check(run(case, segments)[0])


def test_tiles_before_the_window_are_skipped_and_not_just_masked():
    long, short = (cases.Case([(stored, 1)], heads=(1, 1), window=16) for stored in (159, 31))
    reads = []
    for case in (long, short):
        with count_traffic() as traffic:
            run(case)
        reads.append(traffic.read_asked)
    assert reads[0] == reads[1]


def test_scores_that_no_exponential_can_hold():
    """Scores of several hundred, of both signs; and a cap over scores that overflow its tanh."""
    for soft_cap in (None, 50.0):
        for segments in (1, 2):
            case = cases.Case([(40, 1), (0, 17)], heads=(2, 1), soft_cap=soft_cap)
            case.query *= 200
            # Scores of up to a thousand, each right to a rounding of its own size.
            out = run(case, segments)[0]
            torch.testing.assert_close(out.double(), case.expected(), atol=1e-3, rtol=0)


@given(
    mix=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=3),
    group=st.integers(1, 5),
    head_size=st.sampled_from([8, 16, 20]),
    block_size=st.integers(1, 20),
    window=st.none() | st.integers(1, 30),
    soft_cap=st.none() | st.floats(0.5, 20),
    segments=st.sampled_from([1, 1, 2, 4]),
    tile=st.sampled_from([16, 32]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=8, deadline=None)
def test_any_shape(mix, group, head_size, block_size, window, soft_cap, segments, tile, seed):
    case = cases.Case(
        mix, (group, 1), head_size, block_size, window=window, soft_cap=soft_cap, seed=seed
    )
    out, pages = run(case, segments, tile)
    case.check(out)
    case.check_pages(pages)


class TestRefusals:
    def test_metadata_of_another_builder(self):
        case = cases.Case("decodes")
        with pytest.raises(TypeError, match="what its builder makes, got AttentionMetadata"):
            TritonAttentionBackend().forward(
                case.layer, case.query, case.key, case.value, case.pages, case.common
            )

    def attend(self, keys, values, **more):
        case = cases.Case("one long")
        plan = builder_for(case, segments=2).build(case.common).plans[None]
        meta = case.common
        unified_attention(
            case.query, keys, values, meta.block_table, meta.query_start_loc, meta.seq_lens, 1.0,
            plan, **more,
        )  # fmt: skip

    def test_a_workspace_that_is_too_small(self):
        keys = torch.zeros(9, 2, 16, 32)
        with pytest.raises(ValueError, match=r"2 segments need a workspace of 272 numbers, got 10"):
            self.attend(keys, keys, workspace=torch.zeros(10))
        with pytest.raises(ValueError, match=r"272 numbers, got 0"):
            self.attend(keys, keys)

    def test_vectors_that_are_not_contiguous(self):
        keys = torch.zeros(9, 2, 32, 16).transpose(2, 3)
        with pytest.raises(ValueError, match="the last of them 1"):
            self.attend(keys, keys)
