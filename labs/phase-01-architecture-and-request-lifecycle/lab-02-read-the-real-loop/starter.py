r"""Read the log of a real vLLM, line by line, until nothing in it is unexplained.

The folder `capture/` holds three runs of vLLM 0.22.1: what it printed (`plain.log`) and what its
scheduler did (`plain.json`), recorded from outside. You write a handful of small tools. Together
they say for every line which function wrote it and in which stage of the loop, what the two lines
about capacity promise, and whether our engine takes the same steps.

    python starter.py default       # the log of a scene, each line beside its stage
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.probe import Probe, StepRecord
from mini_vllm.sampling_params import SamplingParams

CAPTURE = Path(__file__).parent / "capture"

# One GiB of keys and values at 65,536 bytes a block: the pool of the scenes that do not set one.
POOL_BLOCKS = 16_384
SHARED_SETTINGS = ("max_model_len", "max_num_batched_tokens", "max_num_seqs", "block_size")

# What a line can be about. The four in the middle are the stages of one step, in order; `step` is
# for a line about the step as a whole.
STAGES = (
    *("start-up", "front-end", "idle"),
    *("schedule", "execute", "sample", "update"),
    *("step", "transport", "shutdown"),
)

# For each file, its functions and classes with their first and last line.
Sources = Mapping[str, Sequence[tuple[str, int, int]]]


@dataclass(frozen=True)
class LogLine:
    r"""One line of the log.

    Only a line that vLLM's logger wrote has a level, a time, a location and a line number.
    `process` is what the prefix says, `None` without one.
    """

    process: str | None
    level: str | None
    time: str | None
    location: str | None
    lineno: int | None
    message: str


@dataclass(frozen=True)
class LoggedStep:
    r"""What the log tells of one step of the engine.

    `model_tokens` is the size of the batch that the worker ran, 0 for a step that ran none. The
    rest is `None` unless the line `Iteration(…)` was asked for: requests and tokens of both kinds,
    and the time in milliseconds.
    """

    model_tokens: int
    context: tuple[int, int] | None = None
    generation: tuple[int, int] | None = None
    milliseconds: float | None = None


def parse(text: str) -> list[LogLine]:
    r"""Read a log: one {py:class}`LogLine` for each line, blank ones included, in order.

    A record of vLLM's logger is `LEVEL MM-DD HH:MM:SS [location:lineno] message`, with a level of
    `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`. Other libraries print into the same stream in
    formats of their own: such a line is all message.

    Either may follow a prefix `(Name pid=123) `, which a child process puts before what it prints
    ({up}`vllm/utils/system_utils.py#decorate_logs`). Prefix and text are two writes. Where two
    processes write at the same moment a line gets two prefixes, and the last of them counts; a
    prefix is never part of the message.
    """
    # TODO task 1: read the lines of a log into their parts
    raise NotImplementedError("task 1: read the lines of a log into their parts")


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def shrunk(path: str) -> str:
    r"""How the debug log writes the path of one of vLLM's files, such as `vllm/v1/engine/core.py`.

    The rule stands in {up}`vllm/logging_utils/formatter.py#NewLineFormatter.format`, in its inner
    function. It loses something: two files may be written alike.
    """
    # TODO task 2: find the function that wrote a line
    raise NotImplementedError("task 2: find the function that wrote a line")


def source_of(line: LogLine, sources: Sources) -> str | None:
    r"""The function that wrote a line, as an anchor: `vllm/v1/engine/core.py#EngineCore.step`.

    The innermost function or class around the line's number counts; a line that stands in none of
    them is its file's alone, `vllm/triton_utils/importing.py`. The answer is `None` for a line that
    is no record, for a file that `sources` does not have, and when two of its files fit.
    """
    # TODO task 2: find the function that wrote a line
    raise NotImplementedError("task 2: find the function that wrote a line")


def stage_of(source: str | None) -> str | None:
    r"""The stage that a function belongs to whenever it runs, or `None`: then the time decides.

    These functions decide by themselves. Open each, see who calls it, and choose from
    {py:data}`STAGES`:

    - {up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule`
    - {up}`vllm/v1/core/sched/scheduler.py#Scheduler._update_from_kv_xfer_finished`
    - {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.execute_model`
    - {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.sample_tokens`
    - {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._dummy_run` (with one rank)
    - {up}`vllm/v1/engine/core.py#EngineCore.log_iteration_details`
    - {up}`vllm/v1/engine/core.py#EngineCoreProc._process_input_queue`
    - {up}`vllm/v1/engine/core.py#EngineCoreProc._handle_shutdown`
    - {up}`vllm/v1/executor/multiproc_executor.py#MultiprocExecutor.shutdown`
    - {up}`vllm/v1/metrics/loggers.py#LoggingStatLogger.log_engine_initialized`
    - {up}`vllm/v1/metrics/loggers.py#LoggingStatLogger.log`
    - everything in {up}`vllm/distributed/device_communicators/shm_broadcast.py`
    - everything below {up}`vllm/config` and {up}`vllm/platforms`, where settings are made: the
      engine core makes them once more
      {up}`after it has reported ready <vllm/v1/engine/core.py#EngineCoreProc._perform_handshakes>`

    All others may run at any time, and so does what wrote a line without a source.
    """
    # TODO task 3: put every line into its stage
    raise NotImplementedError("task 3: put every line into its stage")


def attribute(sources: Sequence[str | None]) -> list[str]:
    r"""The stage of every line of a log, given the source of every line.

    {py:func}`stage_of` goes first. What it leaves open is `start-up` until the engine is up,
    `shutdown` once a function of the shutdown has spoken, and `front-end` in between.

    The engine is up from the line that says that it was initialized, which
    `LoggingStatLogger.log_engine_initialized` writes. That function is silent when statistics are
    off; then the first line of a step or of one of its stages will do. An idle engine core proves
    nothing: it waits for work while its front-end is still starting.
    """
    # TODO task 3: put every line into its stage
    raise NotImplementedError("task 3: put every line into its stage")


def advertised(num_blocks: int, block_size: int, max_model_len: int) -> tuple[str, str]:
    r"""The two messages about capacity that vLLM prints for a pool of `num_blocks`.

    `GPU KV cache size: … tokens` and `Maximum concurrency for … tokens per request: …x`, from
    {up}`vllm/v1/core/kv_cache_utils.py#_report_kv_cache_config` and, for the number that both are
    made of, {up}`vllm/v1/core/kv_cache_utils.py#get_max_concurrency_for_kv_cache_config`. The model
    has one kind of layer, so a request of full length takes whole blocks and nothing else.
    """
    # TODO task 4: say what the pool can serve
    raise NotImplementedError("task 4: say what the pool can serve")


def blocks_behind(messages: Iterable[str], block_size: int) -> int:
    r"""How many blocks the pool has, from a log that says it at INFO level only: in tokens.

    `messages` are the messages of a whole log, the two of {py:func}`advertised` somewhere among
    them. The number of tokens was cut to a whole one; find the number of blocks that it was.
    """
    # TODO task 4: say what the pool can serve
    raise NotImplementedError("task 4: say what the pool can serve")


def fit_at_once(num_blocks: int, block_size: int, num_tokens: int) -> int:
    r"""How many requests of `num_tokens` computed tokens each can hold their blocks at one time.

    Nothing is shared between them. Of the pool's blocks, see what
    {up}`vllm/v1/core/block_pool.py#BlockPool.__init__` does with the first.
    """
    # TODO task 4: say what the pool can serve
    raise NotImplementedError("task 4: say what the pool can serve")


def steps_in(messages: Iterable[str]) -> list[LoggedStep]:
    r"""The steps of the engine that a log tells of, in order.

    A step that runs the model has the worker's line `Running batch with … num_tokens=…`. With
    iteration details, the engine core then adds `Iteration(i): …`, for a step without a batch as
    well. Without them, the worker's line is all there is.
    """
    # TODO task 5: read the steps off the log
    raise NotImplementedError("task 5: read the steps off the log")


def counters(
    prompts: Mapping[str, int], steps: Sequence[Mapping[str, Any]]
) -> list[dict[str, tuple[str, int, int]]]:
    r"""Both counters of every request after every step, from what the scheduler decided.

    `prompts` says how long each prompt is. A step is a mapping:

    - `arrived`: requests that came in since the step before;
    - `admitted`: requests that begin to run in this step, also again, and how many of their tokens
      are computed already, because the prefix cache has them;
    - `preempted`: requests that lost their blocks in this step;
    - `scheduled`: how many tokens of each request this step computes;
    - `sampled`: the tokens that each request gained;
    - `finished`: requests that ended, and why: `"stop"`, `"length"` or `"abort"`.

    Each entry of the result has `(status, num_computed_tokens, num_tokens)` for every request that
    has arrived, finished ones included, with the status by its name in
    {up}`vllm/v1/request.py#RequestStatus`.
    """
    # TODO task 6: line two engines up
    raise NotImplementedError("task 6: line two engines up")


def line_up(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> int | None:
    r"""The first step in which two engines scheduled different things, or `None`.

    Two steps agree when they schedule the same number of tokens for the same requests. A step that
    schedules nothing decides nothing: leave it out on both sides, and count without it. When one
    engine goes on after the other has ended, they differ in its first further step.
    """
    # TODO task 6: line two engines up
    raise NotImplementedError("task 6: line two engines up")


def our_steps(scene: str, folder: Path = CAPTURE) -> list[dict[str, Any]]:
    r"""The steps of our engine on the requests of a scene, in the form of the recorded ones.

    Same prompts, same settings, arrivals before the same step. The model is a script: it says what
    vLLM's model said. What is compared is who gets how many tokens when, and that runs without
    torch, watched by the {py:class}`~mini_vllm.observe.probe.Probe` of lab 01's traces.
    """
    recorded, origin = trace(scene, folder), provenance(folder)
    requests, settings = recorded["requests"], origin["scenes"][scene]["settings"]
    engine = LLMEngine.from_scripted(
        {name: told["token_ids"] for name, told in requests.items()},
        num_gpu_blocks=settings.get("num_gpu_blocks_override", POOL_BLOCKS),
        eos_token_id=origin["checkpoint"]["eos_token_id"],
        **{name: settings[name] for name in SHARED_SETTINGS},
    )
    arrivals = [step["arrived"] for step in recorded["steps"]]
    return watched(engine, requests, arrivals)


def watched(
    engine: LLMEngine, requests: Mapping[str, Mapping[str, Any]], arrivals: Sequence[Sequence[str]]
) -> list[dict[str, Any]]:
    r"""Serve the requests of a recording with an engine of ours, and record its steps likewise.

    `arrivals[i]` come in before step `i`. Steps until all have come and the last one has ended.
    """
    waiting = [list(names) for names in arrivals]
    arrived: list[list[str]] = []
    with Probe(engine) as probe:
        while any(waiting) or engine.has_unfinished_requests():
            arrived.append(waiting.pop(0) if waiting else [])
            for name in arrived[-1]:
                params = SamplingParams(temperature=0.0, max_tokens=requests[name]["max_tokens"])
                prompt = {"prompt_token_ids": requests[name]["prompt_token_ids"]}
                engine.add_request(name, prompt, params)
            engine.step()
    return [_as_recorded(*pair) for pair in zip(probe.records, arrived, strict=True)]


def _as_recorded(record: StepRecord, arrived: list[str]) -> dict[str, Any]:
    """A step as the probe saw it, in the words of the recordings."""
    rows = record.requests.items()
    return {
        "arrived": arrived,
        "admitted": {name: row.num_cached_tokens for name, row in rows if row.admitted},
        "preempted": record.preempted_req_ids,
        "scheduled": {
            name: row.num_scheduled_tokens for name, row in rows if row.num_scheduled_tokens
        },
        "sampled": {name: row.sampled_token_ids for name, row in rows if row.sampled_token_ids},
        "finished": {name: row.finish_reason for name, row in rows if row.finished},
    }


def log(scene: str, folder: Path = CAPTURE) -> str:
    r"""The log of a scene, as vLLM printed it."""
    return (folder / f"{scene}.log").read_text(encoding="utf-8")


def trace(scene: str, folder: Path = CAPTURE) -> dict[str, Any]:
    r"""What a scene's run did: `requests` by id, and `steps` as its recorder saw them."""
    return json.loads((folder / f"{scene}.json").read_text(encoding="utf-8"))


def provenance(folder: Path = CAPTURE) -> dict[str, Any]:
    r"""Where a capture comes from: machine, versions, settings, hashes."""
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


def known_sources(folder: Path = CAPTURE) -> Sources:
    r"""The spans of all functions in the files that the logs of a capture name."""
    return json.loads((folder / "sources.json").read_text(encoding="utf-8"))


def main(scene: str) -> None:
    r"""Print the log of a scene, each line beside its stage and the function that wrote it."""
    spans = known_sources()
    lines = parse(log(scene))
    sources = [source_of(line, spans) for line in lines]
    for line, source, stage in zip(lines, sources, attribute(sources), strict=True):
        symbol = (source or "").rpartition("#")[2].rpartition("/")[2]
        print(f"{stage:<9} {symbol[-40:]:>40}  {line.message[:90]}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["default"]))
