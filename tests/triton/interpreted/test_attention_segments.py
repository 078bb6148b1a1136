"""Segments: cut pasts, merged findings, plans for graphs, and what all of it costs."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mini_vllm.attention.triton_attention import TritonAttentionBackend, TritonMetadataBuilder
from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.unified_attention import cost, unified_attention

NAME = "attention_cases"
if NAME not in sys.modules:
    path = Path(__file__).parents[2] / "attention" / "cases.py"
    spec = importlib.util.spec_from_file_location(NAME, path)
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
cases = sys.modules[NAME]


builder_for, run = cases.triton_builder, cases.run_triton


@pytest.mark.parametrize("name", [n for n in cases.GRID if not n.startswith("chunks")][::5])
def test_the_grid_in_segments(name):
    case = cases.Case(**cases.GRID[name])
    out, _ = run(case, segments=2)
    case.check(out)


def test_more_segments_than_tiles():
    case = cases.Case([(40, 1), (0, 17), (0, 1)])
    case.check(run(case, segments=8)[0])


@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 33, 63, 64, 65])
def test_lengths_around_the_borders_of_segments(length):
    """Two segments of two tiles each, and what is just short of them or just past."""
    case = cases.Case([(length - 1, 1), (0, 1)], heads=(2, 1))
    for segments in (2, 4):
        case.check(run(case, segments)[0])


def test_one_query_a_request_has_a_plan_of_its_own():
    for mix, segments in itertools.product(("mixed", "prompts"), (1, 2)):
        case = cases.Case(mix, heads=(2, 1), window=9)
        builder = builder_for(case, segments)
        metadata = builder.build(case.common)
        assert not metadata.plans[9].one_query
        narrowed = metadata.last_tokens_only
        assert narrowed.plans[9].one_query
        out = TritonAttentionBackend().forward(
            case.layer,
            case.query[metadata.last_tokens].contiguous(),
            case.key,
            case.value,
            case.pages.clone(),
            narrowed,
        )
        torch.testing.assert_close(
            out.double(), case.expected()[metadata.last_tokens], atol=3e-6, rtol=0
        )


def test_a_plan_made_for_the_longest_text_serves_short_ones():
    """What a graph does: segments planned for 512 positions, texts of a few, rows of no request."""
    case = cases.Case("decodes", heads=(2, 1))
    blocks = case.common.block_table.shape[1]
    padded = replace(
        case.common,
        query_start_loc=torch.cat([case.common.query_start_loc, torch.tensor([4, 4])]).int(),
        seq_lens=torch.cat([case.common.seq_lens, torch.tensor([0, 0])]).int(),
        block_table=torch.cat([case.common.block_table, torch.zeros(2, blocks).int()]),
        slot_mapping=torch.cat([case.common.slot_mapping, torch.tensor([-1, -1])]),
        max_seq_len=512,
    )
    builder = TritonMetadataBuilder(case.config, num_processors=64, tile=16)
    builder.workspace.zero_()
    metadata = builder.build_for_cudagraph_capture(padded)
    assert metadata.plans[None].num_segments == 8
    rows = [torch.cat([t, torch.ones(2, *t.shape[1:])]) for t in (case.query, case.key, case.value)]
    out = TritonAttentionBackend().forward(case.layer, *rows, case.pages.clone(), metadata)
    case.check(out[:4])
    assert torch.equal(out[4:], torch.zeros_like(out[4:]))


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("segments", [1, 2])
def test_the_cost_is_what_the_kernel_asks_for(segments, window):
    case = cases.Case("mixed", window=window, head_size=16)
    builder = builder_for(case, segments)
    metadata = builder.build(case.common)
    plan = metadata.plans[window]
    keys, values = torch.zeros_like(case.pages)
    with count_traffic() as traffic:
        unified_attention(
            case.query, keys, values, metadata.block_table, metadata.query_start_loc,
            metadata.seq_lens, 1.0, plan, sliding_window=window, workspace=builder.workspace,
        )  # fmt: skip
    claimed = cost(
        [new for _, new in case.mix],
        [stored + new for stored, new in case.mix],
        num_heads=4,
        num_kv_heads=2,
        head_size=16,
        element_bytes=4,
        plan=plan,
        sliding_window=window,
    )
    assert isinstance(claimed, KernelCost)
    if segments == 1:
        assert traffic.written_asked == claimed.bytes_written
    else:
        # Segments that see nothing write no weighted sum.
        assert claimed.bytes_written * 0.5 < traffic.written_asked <= claimed.bytes_written
    # Beside what is claimed: ids of blocks, a number per position and head; lengths and starts.
    if segments == 1:
        small = 64 * plan.num_query_blocks + 3 * claimed.bytes_read // (2 * 16)
        assert claimed.bytes_read <= traffic.read_asked <= claimed.bytes_read + small
