"""Keys and values reach their slots, nothing else is touched, and each byte is moved once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.kernels.triton.kv_write import write_kv, write_kv_cost, write_kv_reference

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def case(num_tokens: int, heads: int, size: int, block_size: int, dtype: torch.dtype):
    key, value = torch.randn(2, num_tokens, heads, size).to(dtype)
    caches = torch.randn(2, 7, heads, block_size, size).to(dtype)
    return key, value, caches


def both(key, value, caches, slots):
    ours, theirs = caches.clone(), caches.clone()
    write_kv(key, value, *ours, slots)
    write_kv_reference(key, value, *theirs, slots)
    return ours, theirs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "size", "block_size"), [(2, 16, 4), (3, 24, 16), (1, 80, 1)])
def test_equals_the_reference(heads, size, block_size, dtype) -> None:
    key, value, caches = case(5, heads, size, block_size, dtype)
    slots = torch.randperm(7 * block_size)[:5]
    slots[2] = -1
    ours, theirs = both(key, value, caches, slots)
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, caches)


@given(st.lists(st.integers(0, 27), unique=True, max_size=6), st.data())
@settings(max_examples=15, deadline=None)
def test_any_slots_in_any_order(slots: list[int], data: st.DataObject) -> None:
    for place in range(len(slots)):
        if data.draw(st.booleans()):
            slots[place] = -data.draw(st.integers(1, 100))
    key, value, caches = case(6, 2, 8, 4, torch.float32)
    ours, theirs = both(key, value, caches, torch.tensor(slots, dtype=torch.int64))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("slot_dtype", [torch.int32, torch.int64], ids=str)
def test_slots_of_either_width(slot_dtype: torch.dtype) -> None:
    key, value, caches = case(3, 2, 16, 4, torch.float32)
    ours, theirs = both(key, value, caches, torch.tensor([9, -1, 3], dtype=slot_dtype))
    assert torch.equal(ours, theirs)


def test_fewer_slots_than_tokens_and_tokens_that_are_slices() -> None:
    fused = torch.randn(4, 6, 16)
    key, value = fused[:, 2:4], fused[:, 4:6]
    caches = torch.zeros(2, 3, 2, 4, 16)
    ours, theirs = both(key, value, caches, torch.tensor([5, 0]))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bytes_claimed_are_bytes_touched(dtype: torch.dtype) -> None:
    key, value, caches = case(4, 3, 24, 4, dtype)
    with count_traffic() as traffic:
        write_kv(key, value, *caches, torch.tensor([3, -1, 20, 7]))
    assert traffic.equals(write_kv_cost(4, 3, 3, 24, itemsize=dtype.itemsize))
    assert traffic.read_asked == traffic.read_touched
    assert traffic.written_asked == traffic.written_touched


def test_nothing_to_write() -> None:
    key, value, caches = case(0, 2, 16, 4, torch.float32)
    before = caches.clone()
    write_kv(key, value, *caches, torch.empty(0, dtype=torch.int64))
    assert torch.equal(caches, before)


def test_a_cache_that_does_not_fit_is_refused() -> None:
    key, value, caches = case(2, 2, 16, 4, torch.float32)
    slots = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"key_cache .* of torch.float16 does not fit"):
        write_kv(key, value, *caches.half(), slots)
    with pytest.raises(ValueError, match="does not fit keys"):
        write_kv(key[:, :1].contiguous(), value, *caches, slots)
    with pytest.raises(ValueError, match="must be contiguous"):
        write_kv(key, value, *caches.transpose(1, 2).contiguous().transpose(1, 2), slots)
    with pytest.raises(ValueError, match="heads must be contiguous"):
        write_kv(key.transpose(1, 2).contiguous().transpose(1, 2), value, *caches, slots)
