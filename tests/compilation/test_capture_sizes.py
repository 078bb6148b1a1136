"""Which sizes are captured, and what a step is padded to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_vllm.compilation.capture_sizes import CaptureSizes, default_capture_sizes
from mini_vllm.config import SchedulerConfig
from mini_vllm.config.compilation import CompilationConfig, CUDAGraphMode
from mini_vllm.errors import ConfigError, InvariantError
from mini_vllm.invariants import check

sizes_lists = st.sets(st.integers(1, 300), min_size=1, max_size=20).map(
    lambda sizes: CaptureSizes(tuple(sorted(sizes)))
)


@given(sizes_lists)
def test_every_step_is_padded_to_the_next_size(sizes: CaptureSizes) -> None:
    check(sizes)


@given(sizes_lists, st.integers(1, 400))
def test_padding_by_its_definition(sizes: CaptureSizes, num_tokens: int) -> None:
    holding = [size for size in sizes if size >= num_tokens]
    assert sizes.padded(num_tokens) == (min(holding) if holding else None)
    assert sizes.num_padding(num_tokens) == (min(holding) - num_tokens if holding else 0)


@given(sizes_lists, st.lists(st.integers(1, 400), max_size=30))
def test_waste_is_a_share_of_rows(sizes: CaptureSizes, steps: list[int]) -> None:
    computed = sum(sizes.padded(n) or n for n in steps)
    expected = (computed - sum(steps)) / computed if steps else 0.0
    assert sizes.waste(steps) == expected
    assert 0.0 <= sizes.waste(steps) < 1.0


def test_the_ladder() -> None:
    usual = default_capture_sizes(512, 8192)
    assert usual[:5] == (1, 2, 4, 8, 16)
    assert {b - a for a, b in pairwise(usual[2:]) if b <= 8} == {4}
    assert {b - a for a, b in pairwise(usual) if 16 <= b <= 256} == {8}
    assert {b - a for a, b in pairwise(usual) if b > 256} == {16}
    assert usual[-1] == 512
    # The budget is a size of its own where it is small enough.
    assert default_capture_sizes(512, 100)[-2:] == (96, 100)
    assert default_capture_sizes(3, 100) == (1, 2)


def of(max_num_seqs: int, budget: int, **settings) -> CaptureSizes:
    config = CompilationConfig(cudagraph_mode=CUDAGraphMode.FULL, **settings)
    limits = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": budget}
    return CaptureSizes.of(config, SchedulerConfig(max_model_len=64, **limits))


def test_the_default_ends_at_twice_the_requests() -> None:
    assert of(64, 2048).largest == 128
    assert of(1000, 8192).largest == 512
    assert of(64, 100).largest == 100
    assert of(64, 2048, max_cudagraph_capture_size=33).sizes == (1, 2, 4, 8, 16, 24, 32)
    assert of(64, 2048, cudagraph_capture_sizes=(3, 7)).sizes == (3, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cudagraph_capture_sizes": (4, 200)}, "has 200, above max_num_batched_tokens=100"),
        ({"max_cudagraph_capture_size": 200}, "size=200 is above max_num_batched_tokens=100"),
    ],
)
def test_a_size_that_no_step_has_is_refused(settings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        of(8, 100, **settings)


@pytest.mark.parametrize("sizes", [(), (0, 1), (2, 1), (1, 1)])
def test_sizes_must_ascend(sizes) -> None:
    with pytest.raises(ConfigError, match="capture size"):
        CaptureSizes(sizes)


def test_a_step_without_tokens_is_no_step() -> None:
    with pytest.raises(ValueError, match="at least 1 token, got 0"):
        CaptureSizes((1,)).padded(0)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [(lambda n: 1, "padding-covers"), (lambda n: None, "covers"), (lambda n: 8, "minimal")],
)
def test_the_invariants_bite(monkeypatch, wrong, name: str) -> None:
    sizes = CaptureSizes((1, 4, 8))
    monkeypatch.setattr(CaptureSizes, "padded", lambda self, n: wrong(n))
    with pytest.raises(InvariantError, match=name):
        check(sizes)
