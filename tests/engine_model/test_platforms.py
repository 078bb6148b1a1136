"""What the machine is asked for, and that asking changes nothing."""

from __future__ import annotations

import mmap
import os

import pytest
import torch

from mini_vllm.platforms import available_host_memory, detect_platform, prefer_big_pages


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such request")
class TestBigPages:
    def test_a_big_tensor_gets_the_request_and_keeps_its_values(self):
        tensor = torch.arange(3 << 18, dtype=torch.float64)
        before = tensor.clone()
        if not prefer_big_pages(tensor):
            pytest.skip("this system refuses big pages")
        assert torch.equal(tensor, before)

    def test_a_small_one_does_not(self):
        assert not prefer_big_pages(torch.zeros(1000))

    def test_nor_does_one_that_is_elsewhere(self):
        assert not prefer_big_pages(torch.empty(1 << 24, device="meta"))


def test_a_cache_of_zeros_is_writable_and_shares_nothing():
    platform = detect_platform("cpu")
    one, other = (platform.zeros((4, 1024), torch.bfloat16) for _ in range(2))
    one.fill_(1.0)
    assert not other.any()
    assert one.sum() == one.numel()


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="needs Linux")
def test_available_memory_is_some_and_less_than_all():
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemTotal:"))
    assert 0 < available_host_memory() < total
