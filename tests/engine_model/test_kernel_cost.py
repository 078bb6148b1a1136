"""Floors, by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_vllm.kernels.cost import NO_COST, Device, Floor, KernelCost

DEVICE = Device("a round one", bandwidth=100.0, rate=1000.0, source="this test")
counts = st.integers(0, 10**15)
costs = st.builds(KernelCost, counts, counts, counts)


def test_the_slower_side_decides() -> None:
    assert KernelCost(300, 200, 10).floor(DEVICE) == Floor(5.0, "memory")
    assert KernelCost(30, 20, 10_000).floor(DEVICE) == Floor(10.0, "arithmetic")
    assert KernelCost(50, 50, 1000).floor(DEVICE) == Floor(1.0, "memory")


def test_the_ridge_is_where_both_take_equally_long() -> None:
    assert DEVICE.ridge == 10.0
    assert KernelCost(100, 0, 999).floor(DEVICE).bound_by == "memory"
    assert KernelCost(100, 0, 1001).floor(DEVICE).bound_by == "arithmetic"


@given(costs, costs)
def test_kernels_in_a_row_take_at_least_as_long_as_fused(a: KernelCost, b: KernelCost) -> None:
    apart = a.floor(DEVICE).seconds + b.floor(DEVICE).seconds
    assert (a + b).floor(DEVICE).seconds <= apart * (1 + 1e-12)


@given(costs, st.integers(0, 5))
def test_times_is_repeated_plus(a: KernelCost, times: int) -> None:
    assert a * times == sum([a] * times, NO_COST)


def test_intensity() -> None:
    assert KernelCost(6, 2, 24).intensity == 3.0
    with pytest.raises(ValueError, match="moves no byte"):
        _ = KernelCost(0, 0, 1).intensity


def test_a_share_is_of_the_measured_time() -> None:
    assert Floor(2.0, "memory").share(2.5) == 0.8
    with pytest.raises(ValueError, match="above 0, got 0 s"):
        Floor(2.0, "memory").share(0)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="operations must not be negative, got -1"):
        KernelCost(1, 1, -1)
    with pytest.raises(ValueError, match="bandwidth and rate must be above 0"):
        Device("d", 0, 1, "s")
    with pytest.raises(ValueError, match="say where"):
        Device("d", 1, 1, "")


def test_neither_costs_nor_the_package_of_kernels_load_torch_or_triton() -> None:
    program = (
        "import sys, mini_vllm.kernels, mini_vllm.kernels.cost, mini_vllm.kernels.triton, "
        "mini_vllm.kernels.triton.availability; "
        "sys.exit(len({'torch', 'triton', 'numba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
