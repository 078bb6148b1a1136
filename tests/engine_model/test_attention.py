"""Every attention backend against dense attention in float64, and against every other backend."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.attention.cpu_numba import CpuNumbaBackend
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.selector import PRIORITY, obstacle_to, select_attention_backend
from mini_vllm.attention.torch_reference import TorchReferenceBackend
from mini_vllm.errors import ConfigError
from mini_vllm.kernels import numba_kernels

BACKENDS = [TorchReferenceBackend, CpuNumbaBackend]
# (stored, new) per request: a decode, a whole prompt, a chunk in the middle, a prompt of one token
# after a full block, and a decode with nothing stored.
MIXES = {
    "decodes": [(5, 1), (16, 1), (47, 1), (0, 1)],
    "prompts": [(0, 9), (0, 33), (0, 2)],
    "chunks": [(16, 16), (3, 7), (31, 2)],
    "mixed": [(40, 1), (0, 17), (12, 1), (8, 24), (0, 1)],
}
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


class Case:
    """Random pages holding some requests, everything else poisoned with NaN."""

    def __init__(self, mix, heads, kv_heads, head_size, block_size, dtype, window=None, seed=0):
        rng = torch.Generator().manual_seed(seed)
        self.layer = SimpleNamespace(
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_size=head_size,
            scale=1 / math.sqrt(head_size),
            sliding_window=window,
        )
        self.mix, self.block_size = mix, block_size
        lengths = [stored + new for stored, new in mix]
        blocks = [-(-length // block_size) for length in lengths]
        num_blocks = sum(blocks) + 3
        order = (torch.randperm(num_blocks - 1, generator=rng) + 1).tolist()
        rows = [[order.pop() for _ in range(n)] for n in blocks]
        self.pages = torch.full(
            CpuNumbaBackend.kv_cache_shape(num_blocks, block_size, kv_heads, head_size),
            float("nan"),
            dtype=dtype,
        )
        self.full = [
            torch.randn(2, kv_heads, n, head_size, generator=rng).to(dtype) for n in lengths
        ]
        query, key, value, slots = [], [], [], []
        for (stored, new), row, kv in zip(mix, rows, self.full):
            for position in range(stored + new):
                block, place = row[position // block_size], position % block_size
                if position < stored:
                    self.pages[:, block, :, place] = kv[:, :, position]
                else:
                    slots.append(block * block_size + place)
            key.append(kv[0, :, stored:].transpose(0, 1))
            value.append(kv[1, :, stored:].transpose(0, 1))
            query.append(torch.randn(new, heads, head_size, generator=rng).to(dtype))
        self.query, self.key, self.value = (
            torch.cat(parts).contiguous() for parts in (query, key, value)
        )
        # Entries past a row's blocks are stale ids of blocks that exist and hold NaN.
        table = torch.full((len(mix), max(blocks) + 1), order.pop(), dtype=torch.int32)
        for i, row in enumerate(rows):
            table[i, : len(row)] = torch.tensor(row, dtype=torch.int32)
        new_lens = [new for _, new in mix]
        self.metadata = AttentionMetadata(
            query_start_loc=torch.tensor([0, *itertools.accumulate(new_lens)], dtype=torch.int32),
            seq_lens=torch.tensor(lengths, dtype=torch.int32),
            block_table=table,
            slot_mapping=torch.tensor(slots),
            max_query_len=max(new_lens),
            max_seq_len=max(lengths),
            num_actual_tokens=sum(new_lens),
        )

    def run(self, backend):
        pages = self.pages.clone()
        out = backend().forward(self.layer, self.query, self.key, self.value, pages, self.metadata)
        return out, pages

    def expected(self):
        """Dense attention in float64, position by position, that never saw a page."""
        layer, rows, start = self.layer, [], 0
        group = layer.num_heads // layer.num_kv_heads
        for (stored, new), kv in zip(self.mix, self.full):
            keys, values = kv.double()
            for i in range(new):
                last = stored + i
                first = 0 if layer.sliding_window is None else last + 1 - layer.sliding_window
                seen = slice(max(first, 0), last + 1)
                for head in range(layer.num_heads):
                    q = self.query[start + i, head].double()
                    weights = (keys[head // group, seen] @ q * layer.scale).softmax(0)
                    rows.append(weights @ values[head // group, seen])
            start += new
        return torch.stack(rows).view_as(self.query)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("window", [None, 8], ids=["full", "window8"])
@pytest.mark.parametrize("heads", [(4, 2), (3, 1), (2, 2)], ids=str)
@pytest.mark.parametrize("block_size", [1, 3, 16, 128])
@pytest.mark.parametrize("mix", MIXES)
def test_agrees_with_dense_attention(backend, mix, block_size, heads, window):
    case = Case(MIXES[mix], *heads, 32, block_size, torch.float32, window)
    out, _ = case.run(backend)
    torch.testing.assert_close(out.double(), case.expected(), atol=TOLERANCE[torch.float32], rtol=0)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("head_size", [16, 48, 64, 80])
def test_bfloat16_and_uncommon_head_sizes(backend, head_size):
    for dtype in (torch.float32, torch.bfloat16):
        case = Case(MIXES["mixed"], 4, 2, head_size, 16, dtype)
        out, _ = case.run(backend)
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), case.expected(), atol=TOLERANCE[dtype], rtol=0)


@given(
    mix=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=6),
    group=st.integers(1, 4),
    kv_heads=st.integers(1, 3),
    block_size=st.integers(1, 20),
    window=st.none() | st.integers(1, 30),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_backends_agree_on_random_batches(mix, group, kv_heads, block_size, window, seed):
    case = Case(mix, group * kv_heads, kv_heads, 32, block_size, torch.float32, window, seed)
    (a, pages_a), (b, pages_b) = (case.run(backend) for backend in BACKENDS)
    torch.testing.assert_close(a, b, atol=TOLERANCE[torch.float32], rtol=0)
    torch.testing.assert_close(pages_a, pages_b, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_stores_at_the_slots_and_nowhere_else(backend):
    case = Case(MIXES["mixed"], 4, 2, 32, 4, torch.bfloat16)
    slots = case.metadata.slot_mapping.clone()
    slots[3] = -1
    object.__setattr__(case.metadata, "slot_mapping", slots)
    _, pages = case.run(backend)
    # [2, blocks, heads, places, d] -> [2, slots, heads, d]
    flat, before = (p.transpose(2, 3).flatten(1, 2) for p in (pages, case.pages))
    for i, slot in enumerate(slots.tolist()):
        if slot >= 0:
            assert torch.equal(flat[0, slot], case.key[i])
            assert torch.equal(flat[1, slot], case.value[i])
    untouched = torch.ones(flat.shape[1], dtype=torch.bool)
    untouched[slots[slots >= 0]] = False
    assert torch.equal(flat[:, untouched].isnan(), before[:, untouched].isnan())


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_a_request_does_not_see_its_neighbours(backend):
    together = Case(MIXES["mixed"], 4, 2, 32, 16, torch.float32)
    out, _ = together.run(backend)
    other = Case(MIXES["mixed"], 4, 2, 32, 16, torch.float32)
    other.query[1:18] *= -3.0
    other.key[1:18] *= 5.0
    changed, _ = other.run(backend)
    # Only the second request (tokens 1 to 17) changed.
    assert torch.equal(out[:1], changed[:1])
    assert torch.equal(out[18:], changed[18:])
    assert not torch.allclose(out[1:18], changed[1:18])


def test_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(numba_kernels, "WORTH_A_TEAM", 0)
    case = Case(MIXES["decodes"], 4, 2, 64, 16, torch.float32)
    one, _ = case.run(CpuNumbaBackend)
    torch.set_num_threads(2)
    try:
        two, _ = case.run(CpuNumbaBackend)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


class TestSelector:
    cpu = torch.device("cpu")

    def test_the_cpu_gets_the_compiled_backend(self):
        choice = select_attention_backend(self.cpu, torch.float32, 64)
        assert choice.backend.name == "cpu_numba"
        assert not choice.passed_over

    def test_float16_falls_through_and_the_choice_says_why(self):
        choice = select_attention_backend(self.cpu, torch.float16, 64)
        assert choice.backend.name == "torch_reference"
        assert "float16" in str(choice)
        assert "float16" in choice.passed_over["cpu_numba"]

    def test_a_gpu_gets_the_reference(self):
        choice = select_attention_backend(torch.device("cuda"), torch.bfloat16, 64)
        assert choice.backend.name == "torch_reference"
        assert "cuda" in choice.passed_over["cpu_numba"]

    def test_a_named_backend_must_fit(self):
        with pytest.raises(ConfigError, match=r"cpu_numba.*float16"):
            select_attention_backend(self.cpu, torch.float16, 64, "cpu_numba")

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ConfigError, match=r"'flash'.*cpu_numba.*torch_reference"):
            select_attention_backend(self.cpu, torch.float32, 64, "flash")

    def test_every_name_resolves(self):
        for name in PRIORITY:
            backend, obstacle = obstacle_to(name, self.cpu, torch.float32, 64)
            assert backend is not None
            assert backend.name == name
            assert obstacle is None
