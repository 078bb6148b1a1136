r"""Who is next?

Two answers. First come, first served: a queue. By priority: a heap, ordered by priority, then by
arrival, then by id, so that the order is total and two runs agree.

A preempted request goes back to the *front*: it has waited its turn once already. In a priority
queue there is no front, and it takes the place that its priority gives it; the same place as
before.

Upstream has the same pair of kinds, and holds *two* queues of the kind that the policy names
({up}`vllm/v1/core/sched/request_queue.py#RequestQueue`). `waiting` is for requests that wait for
room. `skipped_waiting` is for those that wait for something else: a grammar that is being compiled,
keys and values on their way from another machine, the next piece of an input
({up}`vllm/v1/core/sched/scheduler.py#Scheduler._is_blocked_waiting_status`), an adapter that the
batch has no room for. Such a request is stepped over, and the ones behind it are let by; a request
that waits for *room* never is, or a big one might wait for ever. First come, first served, those
that were stepped over are asked first in the next step; under priorities the two heads are compared
({up}`vllm/v1/core/sched/scheduler.py#Scheduler._select_waiting_queue_for_scheduling`).

This engine has no grammars, adapters, connectors or sessions, so nobody in it waits for anything
but room, and the second queue would always be empty. The comparison with the pinned scheduler reads
upstream's after every step, and it is.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator

from mini_vllm.core.request import Request


class RequestQueue(ABC):
    r"""Requests that wait, in the order in which they will be asked.

    Length, truth and iteration (next first) as of a list. Does not touch the requests' status.
    """

    @abstractmethod
    def add_request(self, request: Request) -> None:
        """Let a new request wait."""

    @abstractmethod
    def prepend_request(self, request: Request) -> None:
        """Let a request wait that ran before: at the front, if the policy has one."""

    @abstractmethod
    def peek_request(self) -> Request:
        """Return the next request and leave it; raises `IndexError` when none waits."""

    @abstractmethod
    def pop_request(self) -> Request:
        """Return the next request and remove it; raises `IndexError` when none waits."""

    @abstractmethod
    def remove_requests(self, requests: Collection[Request]) -> None:
        """Remove some requests, wherever they stand: all in one pass."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Request]: ...


class FCFSRequestQueue(RequestQueue):
    r"""First come, first served.

    Upstream: {up}`vllm/v1/core/sched/request_queue.py#FCFSRequestQueue`.
    """

    def __init__(self) -> None:
        self._queue: deque[Request] = deque()

    def add_request(self, request: Request) -> None:
        """Put the request at the end."""
        self._queue.append(request)

    def prepend_request(self, request: Request) -> None:
        """Put the request at the front."""
        self._queue.appendleft(request)

    def peek_request(self) -> Request:
        """Return the request at the front."""
        return self._queue[0]

    def pop_request(self) -> Request:
        """Take the request at the front."""
        return self._queue.popleft()

    def remove_requests(self, requests: Collection[Request]) -> None:
        """Keep the others, in their order."""
        gone = set(requests)
        self._queue = deque(request for request in self._queue if request not in gone)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._queue)


class PriorityRequestQueue(RequestQueue):
    r"""The lowest `(priority, arrival_time, request_id)` first.

    The heap holds that key beside the request, so that comparing two entries never leaves C.
    Upstream: {up}`vllm/v1/core/sched/request_queue.py#PriorityRequestQueue`.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, str, Request]] = []

    def add_request(self, request: Request) -> None:
        """Put the request where its priority belongs."""
        key = (request.priority, request.arrival_time, request.request_id, request)
        heapq.heappush(self._heap, key)

    def prepend_request(self, request: Request) -> None:
        """Put the request where its priority belongs: this queue has no front to give away."""
        self.add_request(request)

    def peek_request(self) -> Request:
        """Return the most urgent request."""
        return self._heap[0][-1]

    def pop_request(self) -> Request:
        """Take the most urgent request."""
        return heapq.heappop(self._heap)[-1]

    def remove_requests(self, requests: Collection[Request]) -> None:
        """Keep the others, and make them a heap again."""
        gone = set(requests)
        self._heap = [entry for entry in self._heap if entry[-1] not in gone]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Request]:
        return (entry[-1] for entry in sorted(self._heap, key=lambda entry: entry[:-1]))


def create_request_queue(policy: str) -> RequestQueue:
    """Make the queue of a policy, `"fcfs"` or `"priority"`; the config has checked the name."""
    return PriorityRequestQueue() if policy == "priority" else FCFSRequestQueue()
