"""Every backend that runs on a CPU against dense attention that never saw a page."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.attention.cpu_numba import CpuNumbaBackend
from mini_vllm.attention.torch_reference import TorchReferenceBackend
from mini_vllm.attention.torch_static import TorchStaticBackend
from mini_vllm.kernels import numba_kernels
from mini_vllm.layers.attention import Attention
from mini_vllm.layers.rotary import RopeParameters, RotaryEmbedding

BACKENDS = [TorchReferenceBackend, TorchStaticBackend, CpuNumbaBackend]
every_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)


def needs(backend, case):
    """Skip what the backend says it cannot; the oracle may say nothing."""
    reasons = backend.validate_configuration(case.config)
    if reasons:
        assert backend is not TorchReferenceBackend
        pytest.skip(", ".join(reasons))


@every_backend
def test_the_grid(backend, grid_case, cases):
    case = cases.Case(**cases.GRID[grid_case])
    needs(backend, case)
    out, pages = case.run(backend)
    case.check(out)
    case.check_pages(pages)


@every_backend
@pytest.mark.parametrize("window", [None, 8], ids=["full", "window8"])
@pytest.mark.parametrize("heads", [(4, 2), (3, 1), (2, 2), (8, 1)], ids=str)
@pytest.mark.parametrize("block_size", [1, 4, 16])
def test_every_mix_of_requests(backend, block_size, heads, window, cases):
    for mix in cases.MIXES:
        case = cases.Case(mix, heads, block_size=block_size, window=window)
        case.check(case.run(backend)[0])


@every_backend
def test_one_query_a_request(backend, cases):
    for mix, window in itertools.product(cases.MIXES, (None, 9)):
        case = cases.Case(mix, window=window)
        last = case.common.last_tokens
        torch.testing.assert_close(
            case.run_last_tokens(backend).double(), case.expected()[last], atol=3e-6, rtol=0
        )


@given(
    mix=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=6),
    group=st.integers(1, 4),
    kv_heads=st.integers(1, 3),
    head_size=st.sampled_from([8, 16, 20, 32]),
    block_size=st.integers(1, 20),
    window=st.none() | st.integers(1, 30),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_any_shape(cases, mix, group, kv_heads, head_size, block_size, window, seed):
    heads = (group * kv_heads, kv_heads)
    case = cases.Case(mix, heads, head_size, block_size, window=window, seed=seed)
    for backend in BACKENDS:
        out, pages = case.run(backend)
        case.check(out)
        case.check_pages(pages)


@every_backend
def test_a_request_does_not_see_its_neighbours(backend, cases):
    together, other = cases.Case("mixed"), cases.Case("mixed")
    out, _ = together.run(backend)
    other.query[1:18] *= -3.0
    other.key[1:18] *= 5.0
    changed, _ = other.run(backend)
    # Only the second request (tokens 1 to 17) changed.
    assert torch.equal(out[:1], changed[:1])
    assert torch.equal(out[18:], changed[18:])
    assert not torch.allclose(out[1:18], changed[1:18])


def test_threads_give_the_same_bits(monkeypatch, cases):
    monkeypatch.setattr(numba_kernels, "WORTH_A_TEAM", 0)
    case = cases.Case("decodes", head_size=64)
    one, _ = case.run(CpuNumbaBackend)
    torch.set_num_threads(2)
    try:
        two, _ = case.run(CpuNumbaBackend)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


class TestTheLayer:
    def layer(self, **settings):
        rotary = RotaryEmbedding(16, 64, RopeParameters(theta=1e4))
        torch.manual_seed(0)
        layer = Attention(32, 2, 1, 16, rotary, **settings)
        for parameter in layer.parameters():
            parameter.data = torch.randn(parameter.shape) * 0.3
        return layer

    def answer(self, layer, cases):
        case = cases.Case([(0, 5)], heads=(2, 1), head_size=16)
        torch.manual_seed(1)
        hidden = torch.randn(5, 32)
        return layer(torch.arange(5), hidden, case.pages.clone(), case.common)

    def test_a_soft_cap_reaches_the_backend(self, cases):
        plain, capped, loose = (
            self.answer(self.layer(logits_soft_cap=cap), cases) for cap in (None, 0.1, 1e6)
        )
        assert not torch.allclose(plain, capped, atol=1e-3)
        torch.testing.assert_close(plain, loose, atol=1e-5, rtol=0)

    def test_a_backend_that_knows_no_cap_is_refused(self):
        with pytest.raises(ValueError, match=r"logits_soft_cap=2\.0.*cpu_numba knows no soft cap"):
            self.layer(logits_soft_cap=2.0, backend=CpuNumbaBackend())
