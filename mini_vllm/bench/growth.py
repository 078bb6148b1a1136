r"""What does a step cost when there is more of everything?

A step should cost in proportion to what is in it: to the requests that run, and to the context that
their attention reads. It is easy to lose that. A list searched per request, a table copied whole, a
token history rebuilt, and the cost grows with the square, or with a length that nobody uses. So it
is measured, per stage, over two decades.

Computing prompts of 32 thousand tokens to time one decode would take longer than everything else
here, and a decode does not ask where its keys came from. So the prompts are *not* computed: the
cache is filled with random numbers beforehand, the scheduler admits the prompts as always, and the
model is stood in for until they are through. Then it is put back, and real decode steps are timed
on exactly the batch and the context that are wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

STAGES = ("schedule", "execute", "sample", "update")


class _StandIn:
    """Answers any input at once, with nothing; the cache stays as it is."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, token_ids: Any, positions: Any, kv_caches: Any, metadata: Any) -> Any:
        return token_ids.new_zeros(len(metadata.seq_lens), 1)

    def compute_logits(self, hidden: Any) -> Any:
        import torch

        return torch.zeros(len(hidden), self.vocab_size, device=hidden.device)


def growth(
    model: str,
    dtype: str,
    running: Sequence[int],
    running_context: int,
    context: Sequence[int],
    context_requests: int,
    steps: int = 24,
    device: str = "cpu",
    threads: int = 1,
) -> dict[str, Any]:
    r"""Seconds per decode step and stage: over `running` at one context, over `context` at one
    number of requests.
    """
    import torch

    torch.set_num_threads(threads)
    return {
        "running": [
            _point(model, dtype, count, running_context, steps, device) for count in running
        ],
        "context": [
            _point(model, dtype, context_requests, length, steps, device) for length in context
        ],
    }


def decoding_engine(
    model: str, dtype: str, requests: int, context: int, steps: int, device: str = "cpu"
) -> Any:
    r"""An engine in which so many requests with so long a context are about to decode.

    Each has `steps` decode steps before its last. The cache holds random numbers, and the prompts
    were never computed.
    """
    from mini_vllm import LLMEngine, SamplingParams

    longest = context + steps + 2
    engine = LLMEngine.from_keywords(
        model,
        dtype=dtype,
        device=device,
        skip_tokenizer_init=True,
        enable_prefix_caching=False,
        max_num_seqs=requests,
        # All of them in one step, so that all of them decode from the next.
        max_num_batched_tokens=max(2048, requests * context),
        max_model_len=longest,
        num_gpu_blocks_override=requests * -(-longest // 16) + 1,
    )
    executor: Any = engine.engine_core.executor
    runner = executor.model_runner
    for cache in runner.kv_caches:
        cache.normal_()
    params = SamplingParams(
        temperature=0.0, max_tokens=steps + 2, ignore_eos=True, detokenize=False
    )
    for i in range(requests):
        engine.add_request(str(i), {"prompt_token_ids": [5] * context}, params)

    real, runner.model = runner.model, _StandIn(runner.model_config.vocab_size)
    engine.step()
    runner.model = real
    num_running, num_waiting = engine.engine_core.scheduler.get_request_counts()
    if (num_running, num_waiting) != (requests, 0):
        raise RuntimeError(f"{num_running} of {requests} requests run, {num_waiting} wait")
    return engine


def timed_steps(engine: Any, count: int) -> list[float]:
    """Seconds of each of `count` steps."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        engine.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def watching(
    model: str, dtype: str, requests: int, context: int, rounds: int, device: str = "cpu"
) -> dict[str, float]:
    r"""Seconds per decode step with nobody watching, and with a probe; in turns, eight steps each.

    One engine serves for both: opening and closing the probe is all that changes.
    """
    import torch

    from mini_vllm.observe.probe import Probe

    torch.set_num_threads(1)
    engine = decoding_engine(model, dtype, requests, context, 16 * rounds + 8, device)
    timed_steps(engine, 4)
    alone: list[float] = []
    watched: list[float] = []
    for _ in range(rounds):
        alone += timed_steps(engine, 8)
        with Probe(engine):
            watched += timed_steps(engine, 8)
    return {"alone_s": median(alone), "watched_s": median(watched)}


def _point(
    model: str, dtype: str, requests: int, context: int, steps: int, device: str
) -> dict[str, Any]:
    engine = decoding_engine(model, dtype, requests, context, steps, device)
    timers = _Timers(engine)
    whole = timed_steps(engine, steps)
    return {
        "requests": requests,
        "context": context,
        "steps": len(whole),
        "step_s": median(whole[1:]),
        **{f"{stage}_s": median(timers.seconds[stage][1:]) for stage in STAGES},
    }


class _Timers:
    """A clock on each of the four seams, and nothing else: no record is kept of requests."""

    def __init__(self, engine: Any) -> None:
        core = engine.engine_core
        self.seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
        for owner, name, stage in (
            (core.scheduler, "schedule", "schedule"),
            (core.executor, "execute_model", "execute"),
            (core.executor, "sample_tokens", "sample"),
            (core.scheduler, "update_from_output", "update"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name), stage))

    def _timed(self, original: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(*arguments)
            finally:
                self.seconds[stage].append(time.perf_counter() - started)

        return wrapper
