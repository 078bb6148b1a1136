r"""Is the server well, and if not, where does the time go?

A trace answers for one run, and somebody has to read it. A server is asked every few seconds, by a
program, for months. What it can be asked for are *metrics*: numbers that only count up (counters),
numbers that are true now (gauges), and counts by size (histograms). Prometheus comes by, reads them
as text, and computes rates and percentiles from the differences.

The names are vLLM's wherever the meaning is vLLM's, so a dashboard made for one draws the other.
They are defined at {up}`vllm/v1/metrics/loggers.py#PrometheusStatLogger`, and a test holds
{py:data}`FAMILIES` against that source: names, kinds, labels, bucket bounds.

## From when to when?

"Latency" has no meaning until someone names two moments and a clock. There are seven moments in
the life of a request, told by two clocks. *Arrival* is taken by the front-end from the wall clock,
when it receives the request and before it tokenizes. *Queued*, *scheduled*, *first token* and *last
token* are taken by the core from its monotonic clock. The two outer ends, when the front-end has
*processed* the news of the first and of the last token, are on the wall clock again.

| metric | from | to | clock |
|---|---|---|---|
| time to first token | arrival | first token processed | wall, front-end |
| inter-token latency | end of the step that drew the last token | end of this step | core |
| request queue time | queued | first scheduled | core |
| request prefill time | first scheduled | first token | core |
| request decode time | first token | last token | core |
| request inference time | first scheduled | last token | core |
| time per output token | decode time divided by the tokens after the first | | core |
| end to end | arrival | last token processed | wall, front-end |

The columns of clocks are the reason that the parts do not add up. Queue, prefill and decode time
fill the request's life in the core without a gap; end to end is longer by what happens outside:
tokenizing, the way to the core and back, detokenizing. A difference that grows is a front-end that
has become the bottleneck, and no core metric shows it.

Three more things surprise. A preemption does not begin a new queue time: the wait for a second
admission is part of prefill or decode, whichever it interrupted
({up}`vllm/v1/metrics/stats.py#IterationStats.update_from_events@"# ignore preemptions"`). The
inter-token latency is one observation *per token*, so a long answer outvotes a hundred short ones;
the time per output token is one per request. And none of these is what the client sees, who has
a network and a queue of the web server in front: {py:mod}`mini_vllm.bench.serve` measures that.

Upstream takes them at {up}`vllm/v1/metrics/stats.py#IterationStats.update_from_output` and
{up}`vllm/v1/metrics/stats.py#IterationStats.update_from_finished_request`.

## Rates are not reported

There is no "tokens per second" here and no hit rate. A rate needs a window, and the one who asks
knows which: `rate(vllm:generation_tokens_total[1m])`. The same for a percentile, which is read off
a histogram's buckets and is as coarse as they are. Both hit counters count tokens, so their
quotient is the share of prompt tokens that were not computed, the first time they were asked for
(a request that comes back from preemption is left out of both).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mini_vllm.core.request import FinishReason

if TYPE_CHECKING:
    from mini_vllm.core.stats import SchedulerStats
    from mini_vllm.engine.iteration_stats import FinishedRequestStats, IterationStats

_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_BETWEEN_TOKENS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
_WHOLE_REQUEST = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)

_LABELS = ("model_name", "engine")


@dataclass(frozen=True)
class Family:
    r"""One metric: what kind, what it says, and how its values are put into buckets.

    `buckets` is a tuple of upper bounds, `"1-2-5"` for bounds that grow to the model's length, and
    `None` for what is no histogram. `labels` come after the model's name and the engine's number.
    `text` is the help line that the server prints; the wording is ours.
    """

    name: str
    kind: type[Counter] | type[Gauge] | type[Histogram]
    text: str
    buckets: tuple[float, ...] | str | None = None
    labels: tuple[str, ...] = ()


#: Every metric of the server. Order: the state of the scheduler, counters, tokens, times.
FAMILIES: tuple[Family, ...] = (
    Family("vllm:num_requests_running", Gauge, "Requests that hold a seat in the batch."),
    Family("vllm:num_requests_waiting", Gauge, "Requests that wait, preempted ones included."),
    Family("vllm:kv_cache_usage_perc", Gauge, "Share of KV blocks in use; 1 is all of them."),
    Family("vllm:prefix_cache_queries", Counter, "Tokens looked up in the prefix cache."),
    Family("vllm:prefix_cache_hits", Counter, "Tokens found in the prefix cache."),
    Family("vllm:num_preemptions", Counter, "Preemptions."),
    Family("vllm:prompt_tokens", Counter, "Prompt tokens of requests that drew a first token."),
    Family("vllm:prompt_tokens_cached", Counter, "Of those, tokens that a cache held."),
    Family("vllm:generation_tokens", Counter, "Tokens drawn."),
    Family(
        "vllm:request_success",
        Counter,
        "Requests that ended, by reason.",
        None,
        ("finished_reason",),
    ),
    Family("vllm:request_prompt_tokens", Histogram, "Prompt tokens per request.", "1-2-5"),
    Family("vllm:request_generation_tokens", Histogram, "Tokens drawn per request.", "1-2-5"),
    Family("vllm:iteration_tokens_total", Histogram, "Tokens per step.", _STEP_TOKENS),
    Family("vllm:request_params_max_tokens", Histogram, "What requests asked for.", "1-2-5"),
    Family(
        "vllm:request_prefill_kv_computed_tokens",
        Histogram,
        "Prompt tokens per request that no cache held.",
        "1-2-5",
    ),
    Family("vllm:time_to_first_token_seconds", Histogram, "Arrival to first token.", _FIRST_TOKEN),
    Family(
        "vllm:inter_token_latency_seconds", Histogram, "One token to the next.", _BETWEEN_TOKENS
    ),
    Family(
        "vllm:request_time_per_output_token_seconds",
        Histogram,
        "Mean time per token after the first, one value a request.",
        _BETWEEN_TOKENS,
    ),
    Family("vllm:e2e_request_latency_seconds", Histogram, "Arrival to last token.", _WHOLE_REQUEST),
    Family("vllm:request_queue_time_seconds", Histogram, "Queued to scheduled.", _WHOLE_REQUEST),
    Family("vllm:request_inference_time_seconds", Histogram, "Scheduled to end.", _WHOLE_REQUEST),
    Family("vllm:request_prefill_time_seconds", Histogram, "To first token.", _WHOLE_REQUEST),
    Family("vllm:request_decode_time_seconds", Histogram, "First to last token.", _WHOLE_REQUEST),
)


def build_1_2_5_buckets(max_value: int) -> tuple[int, ...]:
    r"""Bounds 1, 2, 5, 10, 20, 50, ... as far as `max_value` goes, and no further.

    Upstream: {up}`vllm/v1/metrics/loggers.py#build_1_2_5_buckets`.
    """
    if max_value < 1:
        raise ValueError(f"buckets up to {max_value}: the smallest bound is 1")
    bounds: list[int] = []
    power = 1
    while True:
        for mantissa in (1, 2, 5):
            if mantissa * power > max_value:
                return tuple(bounds)
            bounds.append(mantissa * power)
        power *= 10


class PrometheusStatLogger:
    r"""Turns the statistics of each step into metrics in a registry.

    The server makes one, with a registry of its own (the library's global one would leak from one
    test into the next), hands it the statistics of every step, and prints the registry at
    `/metrics`. A step without requests need not be recorded; gauges keep their value until they
    are.

    `max_model_len` bounds the buckets that count tokens. All reasons of an end exist from the
    start at 0, so that the first error is a rise from 0 and not a line that appears from nowhere.

    Not safe for several threads at once; one loop records. Does not change what it is given.
    Upstream: {up}`vllm/v1/metrics/loggers.py#PrometheusStatLogger`.
    """

    def __init__(
        self,
        model_name: str,
        registry: CollectorRegistry,
        *,
        max_model_len: int = 32_768,
        engine: int = 0,
    ) -> None:
        values = (model_name, str(engine))
        self._metrics: dict[str, Any] = {}
        self._success: dict[FinishReason, Any] = {}
        for family in FAMILIES:
            options: dict[str, Any] = {}
            if family.buckets is not None:
                options["buckets"] = (
                    build_1_2_5_buckets(max_model_len)
                    if isinstance(family.buckets, str)
                    else family.buckets
                )
            metric = family.kind(
                family.name,
                family.text,
                labelnames=(*_LABELS, *family.labels),
                registry=registry,
                **options,
            )
            if not family.labels:
                self._metrics[family.name] = metric.labels(*values)
                continue
            for reason in FinishReason:
                self._success[reason] = metric.labels(*values, str(reason))

    def record(
        self, scheduler_stats: SchedulerStats | None, iteration_stats: IterationStats | None
    ) -> None:
        r"""Take in one step: the scheduler's state after it, and what it brought.

        Either may be missing. Counts in them are of this step alone, not sums since the start.
        """
        if scheduler_stats is not None:
            self._set("num_requests_running", scheduler_stats.num_running_reqs)
            self._set("num_requests_waiting", scheduler_stats.num_waiting_reqs)
            self._set("kv_cache_usage_perc", scheduler_stats.kv_cache_usage)
            self._add("prefix_cache_queries", scheduler_stats.prefix_cache_queries)
            self._add("prefix_cache_hits", scheduler_stats.prefix_cache_hits)
        if iteration_stats is not None:
            self._add("num_preemptions", iteration_stats.num_preempted_reqs)
            self._add("prompt_tokens", iteration_stats.num_prompt_tokens)
            self._add("prompt_tokens_cached", iteration_stats.num_cached_tokens)
            self._add("generation_tokens", iteration_stats.num_generation_tokens)
            tokens = iteration_stats.num_prompt_tokens + iteration_stats.num_generation_tokens
            self._observe("iteration_tokens_total", [tokens])
            self._observe("time_to_first_token_seconds", iteration_stats.time_to_first_tokens_iter)
            self._observe("inter_token_latency_seconds", iteration_stats.inter_token_latencies_iter)
            for finished in iteration_stats.finished_requests:
                self._record_finished(finished)

    def _record_finished(self, finished: FinishedRequestStats) -> None:
        self._success[finished.finish_reason].inc()
        computed = finished.num_prompt_tokens - max(finished.num_cached_tokens, 0)
        for name, value in (
            ("e2e_request_latency_seconds", finished.e2e_latency),
            ("request_queue_time_seconds", finished.queued_time),
            ("request_prefill_time_seconds", finished.prefill_time),
            ("request_inference_time_seconds", finished.inference_time),
            ("request_decode_time_seconds", finished.decode_time),
            ("request_time_per_output_token_seconds", finished.mean_time_per_output_token),
            ("request_prompt_tokens", finished.num_prompt_tokens),
            ("request_generation_tokens", finished.num_generation_tokens),
            ("request_prefill_kv_computed_tokens", computed),
        ):
            self._observe(name, [value])
        if finished.max_tokens_param:
            self._observe("request_params_max_tokens", [finished.max_tokens_param])

    def _set(self, name: str, value: float) -> None:
        self._metrics[f"vllm:{name}"].set(value)

    def _add(self, name: str, amount: float) -> None:
        self._metrics[f"vllm:{name}"].inc(amount)

    def _observe(self, name: str, values: Iterable[float]) -> None:
        histogram = self._metrics[f"vllm:{name}"]
        for value in values:
            histogram.observe(value)
