"""Two orders in which to wait."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mini_vllm.core.request import Request
from mini_vllm.core.request_queue import create_request_queue
from mini_vllm.sampling_params import SamplingParams


def request(name: str, priority: int = 0, arrival_time: float = 0.0) -> Request:
    return Request(name, [1], SamplingParams(), arrival_time, priority)


def test_first_come_first_served_and_the_preempted_before_all() -> None:
    queue = create_request_queue("fcfs")
    a, b, c = (request(name) for name in "abc")
    queue.add_request(b)
    queue.add_request(c)
    queue.prepend_request(a)
    assert list(queue) == [a, b, c]
    assert queue.peek_request() is queue.pop_request() is a
    queue.remove_requests([b])
    assert list(queue) == [c]
    assert len(queue) == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12),
    st.sets(st.integers(0, 11)),
)
def test_priority_then_arrival_then_id(keys: list[tuple[int, int]], removed: set[int]) -> None:
    queue = create_request_queue("priority")
    requests = [request(f"{i:02}", priority, time) for i, (priority, time) in enumerate(keys)]
    for one in requests:
        queue.prepend_request(one) if one.priority else queue.add_request(one)
    gone = [requests[i] for i in removed if i < len(requests)]
    queue.remove_requests(gone)
    expected = sorted(
        (r for r in requests if r not in gone),
        key=lambda r: (r.priority, r.arrival_time, r.request_id),
    )
    assert expected == sorted(r for r in requests if r not in gone)
    assert list(queue) == expected
    assert [queue.pop_request() for _ in range(len(queue))] == expected


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_an_empty_queue_has_no_next(policy: str) -> None:
    queue = create_request_queue(policy)
    assert not queue
    with pytest.raises(IndexError):
        queue.peek_request()
    with pytest.raises(IndexError):
        queue.pop_request()
