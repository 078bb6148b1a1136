r"""What did one step mean for the people who wait?

A step ends, and some have their first token, others one more, and a few are done. Each of these is
a latency that somebody felt, and none of them is known to the core alone: it does not know when a
request reached the front door. {py:class}`IterationStats` is filled while the news of one step is
read, by the {py:mod}`output processor <mini_vllm.engine.output_processor>`, and handed to every
{py:class}`StatLogger`; a logger for Prometheus observes each number in a histogram, one for a
benchmark keeps them.

```text
arrival        QUEUED    SCHEDULED          first token      last token    the front-end reads it
   |              |          |                   |                |                  |
   |              |<-queued->|<---- prefill ---->|<--- decode --->|                  |
   |              |          |<------------- inference ---------->|                  |
   |<------------------------------------- e2e ------------------------------------->|
```

Two clocks are in this picture. The moments in the middle are the core's, monotonic, and so are the
gaps between tokens. The two ends are the front-end's, on the wall clock, since only that can be
compared with the time at which a client says that it asked. No number is a difference between the
two clocks.

A preemption is no interval of its own: whatever it costs is inside *prefill* or *decode*, where
the user feels it. Upstream: {up}`vllm/v1/metrics/stats.py#IterationStats`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.request import FinishReason
from mini_vllm.core.stats import EngineCoreEventType, SchedulerStats
from mini_vllm.outputs import RequestMetrics


@dataclass(slots=True)
class FinishedRequestStats:
    r"""One request, looked back on: five intervals in seconds, and its tokens.

    `mean_time_per_output_token` is over the gaps between tokens, so it leaves the first token out
    and is 0 for an answer of one token. A request that was aborted before its first token has no
    intervals but `e2e_latency`; the others are 0.
    Upstream: {up}`vllm/v1/metrics/stats.py#FinishedRequestStats`.
    """

    finish_reason: FinishReason
    request_id: str
    e2e_latency: float
    queued_time: float
    prefill_time: float
    decode_time: float
    inference_time: float
    num_prompt_tokens: int
    num_generation_tokens: int
    num_cached_tokens: int
    max_tokens_param: int | None
    mean_time_per_output_token: float


@dataclass(slots=True)
class IterationStats:
    r"""What one batch of news meant, in tokens and seconds.

    `num_prompt_tokens` counts the prompts whose first token came in this step, cached tokens
    included, so that the sum over all steps is the sum over all requests that began to answer.
    `time_to_first_tokens_iter` and `inter_token_latencies_iter` have one entry per request with
    that kind of news; `num_preempted_reqs` counts preemptions that became known in this batch.
    """

    iteration_timestamp: float = field(default_factory=time.time)
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_generation_tokens: int = 0
    num_preempted_reqs: int = 0
    time_to_first_tokens_iter: list[float] = field(default_factory=list)
    inter_token_latencies_iter: list[float] = field(default_factory=list)
    finished_requests: list[FinishedRequestStats] = field(default_factory=list)

    def update_from_output(
        self,
        news: EngineCoreOutput,
        timestamp: float,
        num_prompt_tokens: int,
        metrics: RequestMetrics,
    ) -> None:
        r"""Count one request's news, *before* `metrics` has taken it in.

        `timestamp` is the core's. Reads `metrics`, and changes nothing in it.
        """
        self.num_generation_tokens += len(news.new_token_ids)
        for event in news.events or ():
            if event.type == EngineCoreEventType.PREEMPTED:
                self.num_preempted_reqs += 1
        if metrics.num_generation_tokens == 0:
            self.num_prompt_tokens += num_prompt_tokens
            self.num_cached_tokens += news.num_cached_tokens or 0
            self.time_to_first_tokens_iter.append(self.iteration_timestamp - metrics.arrival_time)
        else:
            self.inter_token_latencies_iter.append(timestamp - metrics.last_token_ts)

    def update_from_finished_request(
        self,
        request_id: str,
        finish_reason: FinishReason,
        num_prompt_tokens: int,
        num_cached_tokens: int | None,
        max_tokens_param: int | None,
        metrics: RequestMetrics,
    ) -> None:
        r"""Look back on a request that has just ended; its `metrics` are complete."""
        began = metrics.num_generation_tokens > 0
        decode_time = metrics.last_token_ts - metrics.first_token_ts
        num_gaps = metrics.num_generation_tokens - 1
        self.finished_requests.append(
            FinishedRequestStats(
                finish_reason=finish_reason,
                request_id=request_id,
                e2e_latency=self.iteration_timestamp - metrics.arrival_time,
                queued_time=metrics.scheduled_ts - metrics.queued_ts,
                prefill_time=metrics.first_token_ts - metrics.scheduled_ts if began else 0.0,
                decode_time=decode_time,
                inference_time=metrics.last_token_ts - metrics.scheduled_ts if began else 0.0,
                num_prompt_tokens=num_prompt_tokens,
                num_generation_tokens=metrics.num_generation_tokens,
                num_cached_tokens=num_cached_tokens or 0,
                max_tokens_param=max_tokens_param,
                mean_time_per_output_token=decode_time / num_gaps if num_gaps > 0 else 0.0,
            )
        )


class StatLogger(Protocol):
    r"""Whoever wants to hear of every step: called once per message of the core.

    One of the arguments may be `None`: a step without news of any request has no iteration, and
    what an abort ended has no step. Runs on the event loop, between two steps' news,
    so it must be quick and must not raise. Upstream:
    {up}`vllm/v1/metrics/loggers.py#StatLoggerBase`.
    """

    def record(
        self, scheduler_stats: SchedulerStats | None, iteration_stats: IterationStats | None
    ) -> None:
        """Take in one step."""
