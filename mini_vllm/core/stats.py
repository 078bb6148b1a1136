r"""How full is the engine, and when did things happen to a request?

Two kinds of numbers leave the scheduler, and they answer different people.

The *operator* asks about the engine: how many run, how many wait, how much of the cache is taken.
That is {py:class}`SchedulerStats`, a photograph taken once a step. Three of its fields are not a
state but a count of events (tokens looked up in the prefix cache, tokens found, preemptions), and
those count since the photograph before, so that whoever adds all photographs up counts everything
once ({up}`vllm/v1/core/kv_cache_manager.py#KVCacheManager.make_prefix_cache_stats` empties its
counter in the same way).

The *user* asks about one request: how long did it wait, how long was its prompt read? That is known
from three moments, and only the scheduler sees them: when the request was queued, when it was
first given tokens, and each time it was preempted. They travel as {py:class}`EngineCoreEvent` with
the request's next token, so that no message of their own is needed
({up}`vllm/v1/request.py#Request.take_events`). All of them come from the monotonic clock, which no
administrator can set back.

## What is a hit counted against?

The hit rate is `prefix_cache_hits / prefix_cache_queries`, both in tokens, and both are counted
when a request is *admitted* for the first time. Upstream counts at each lookup
({up}`vllm/v1/core/kv_cache_manager.py#KVCacheManager.get_computed_blocks@"self.prefix_cache_stats.record("`),
so a request that is looked up, does not fit, and is looked up again in the next step counts twice
there. A request that comes back after a preemption finds its own blocks; that says nothing about
how alike prompts are, so it is left out here and kept apart there
({up}`vllm/v1/metrics/stats.py#PrefixCacheStats.record`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class EngineCoreEventType(IntEnum):
    r"""What happened to a request in the scheduler.

    Upstream: {up}`vllm/v1/engine/__init__.py#EngineCoreEventType`.
    """

    QUEUED = 1
    SCHEDULED = 2
    PREEMPTED = 3


class EngineCoreEvent(NamedTuple):
    r"""One moment of a request: what, and when, in seconds of the monotonic clock.

    Upstream: {up}`vllm/v1/engine/__init__.py#EngineCoreEvent`.
    """

    type: EngineCoreEventType
    timestamp: float

    @classmethod
    def new_event(cls, event_type: EngineCoreEventType) -> EngineCoreEvent:
        """Note that it happens now."""
        return cls(event_type, time.monotonic())


@dataclass(frozen=True, slots=True)
class CUDAGraphStat:
    r"""How one step was run: its own tokens, the rows that were computed for them, and the mode.

    An eager step is not padded. Upstream: {up}`vllm/compilation/cuda_graph.py#CUDAGraphStat`.
    """

    num_unpadded_tokens: int
    num_padded_tokens: int
    num_paddings: int
    runtime_mode: str


@dataclass(slots=True)
class SchedulerStats:
    r"""The scheduler after one step, for whoever watches the engine.

    `num_running_reqs`, `num_waiting_reqs`, `kv_cache_usage` (0 to 1) and `num_free_blocks` are a
    state. `prefix_cache_queries` and `prefix_cache_hits`, in tokens, and `num_preempted_reqs` are
    counts since the last stats. `cudagraph_stats` says how the step was run, None for an engine
    without graphs and for a step without tokens.
    Upstream: {up}`vllm/v1/metrics/stats.py#SchedulerStats`.
    """

    num_running_reqs: int = 0
    num_waiting_reqs: int = 0
    kv_cache_usage: float = 0.0
    num_free_blocks: int = 0
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0
    num_preempted_reqs: int = 0
    cudagraph_stats: CUDAGraphStat | None = None
