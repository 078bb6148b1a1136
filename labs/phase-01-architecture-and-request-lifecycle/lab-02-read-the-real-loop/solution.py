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
    # lab: begin task 1 "read the lines of a log into their parts"
    line_form = re.compile(
        r"(?:\((?P<process>\w+) pid=\d+\) ?)*"
        r"(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<time>\d\d-\d\d \d\d:\d\d:\d\d) "
        r"\[(?P<location>[^\]:]+):(?P<lineno>\d+)\] )?"
        r"(?P<message>.*)"
    )
    parts = [line_form.fullmatch(line).groupdict() for line in text.splitlines()]
    return [LogLine(**part | {"lineno": _number(part["lineno"])}) for part in parts]
    # lab: end


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def shrunk(path: str) -> str:
    r"""How the debug log writes the path of one of vLLM's files, such as `vllm/v1/engine/core.py`.

    The rule stands in {up}`vllm/logging_utils/formatter.py#NewLineFormatter.format`, in its inner
    function. It loses something: two files may be written alike.
    """
    # lab: begin task 2 "find the function that wrote a line"
    parts = path.split("/")[1:]
    first = 2 if parts[0] == "v1" else 1
    head, tail = parts[:first], parts[first:]
    return "/".join([*head, "...", *tail[-2:]] if len(tail) > 2 else parts)
    # lab: end


def source_of(line: LogLine, sources: Sources) -> str | None:
    r"""The function that wrote a line, as an anchor: `vllm/v1/engine/core.py#EngineCore.step`.

    The innermost function or class around the line's number counts; a line that stands in none of
    them is its file's alone, `vllm/triton_utils/importing.py`. The answer is `None` for a line that
    is no record, for a file that `sources` does not have, and when two of its files fit.
    """
    # lab: begin task 2 "find the function that wrote a line"
    files = [path for path in sources if shrunk(path) == line.location]
    if len(files) != 1:
        return None
    (path,) = files
    around = [
        (last - first, name) for name, first, last in sources[path] if first <= line.lineno <= last
    ]
    return f"{path}#{min(around)[1]}" if around else path
    # lab: end


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
    # lab: begin task 3 "put every line into its stage"
    if source is None:
        return None
    if source.partition("#")[0] == "vllm/distributed/device_communicators/shm_broadcast.py":
        return "transport"
    if source.startswith(("vllm/config/", "vllm/platforms/")):
        return "start-up"
    return {
        "core/sched/scheduler.py#Scheduler.schedule": "schedule",
        "core/sched/scheduler.py#Scheduler._update_from_kv_xfer_finished": "update",
        "worker/gpu_model_runner.py#GPUModelRunner.execute_model": "execute",
        "worker/gpu_model_runner.py#GPUModelRunner.sample_tokens": "sample",
        "worker/gpu_model_runner.py#GPUModelRunner._dummy_run": "start-up",
        "engine/core.py#EngineCore.log_iteration_details": "step",
        "engine/core.py#EngineCoreProc._process_input_queue": "idle",
        "engine/core.py#EngineCoreProc._handle_shutdown": "shutdown",
        "executor/multiproc_executor.py#MultiprocExecutor.shutdown": "shutdown",
        "metrics/loggers.py#LoggingStatLogger.log_engine_initialized": "start-up",
        "metrics/loggers.py#LoggingStatLogger.log": "front-end",
    }.get(source.removeprefix("vllm/v1/"))
    # lab: end


def attribute(sources: Sequence[str | None]) -> list[str]:
    r"""The stage of every line of a log, given the source of every line.

    {py:func}`stage_of` goes first. What it leaves open is `start-up` until the engine is up,
    `shutdown` once a function of the shutdown has spoken, and `front-end` in between.

    The engine is up from the line that says that it was initialized, which
    `LoggingStatLogger.log_engine_initialized` writes. That function is silent when statistics are
    off; then the first line of a step or of one of its stages will do. An idle engine core proves
    nothing: it waits for work while its front-end is still starting.
    """
    # lab: begin task 3 "put every line into its stage"
    initialized = "vllm/v1/metrics/loggers.py#LoggingStatLogger.log_engine_initialized"
    working = {"schedule", "execute", "sample", "update", "step"}
    stages: list[str] = []
    otherwise = "start-up"
    for source in sources:
        stage = stage_of(source)
        if stage == "shutdown":
            otherwise = "shutdown"
        elif otherwise == "start-up" and (stage in working or source == initialized):
            otherwise = "front-end"
        stages.append(stage or otherwise)
    return stages
    # lab: end


def advertised(num_blocks: int, block_size: int, max_model_len: int) -> tuple[str, str]:
    r"""The two messages about capacity that vLLM prints for a pool of `num_blocks`.

    `GPU KV cache size: … tokens` and `Maximum concurrency for … tokens per request: …x`, from
    {up}`vllm/v1/core/kv_cache_utils.py#_report_kv_cache_config` and, for the number that both are
    made of, {up}`vllm/v1/core/kv_cache_utils.py#get_max_concurrency_for_kv_cache_config`. The model
    has one kind of layer, so a request of full length takes whole blocks and nothing else.
    """
    # lab: begin task 4 "say what the pool can serve"
    blocks_per_request = -(-max_model_len // block_size)
    concurrency = num_blocks / blocks_per_request
    tokens = int(concurrency * max_model_len)
    return (
        f"GPU KV cache size: {tokens:,} tokens",
        f"Maximum concurrency for {max_model_len:,} tokens per request: {concurrency:.2f}x",
    )
    # lab: end


def blocks_behind(messages: Iterable[str], block_size: int) -> int:
    r"""How many blocks the pool has, from a log that says it at INFO level only: in tokens.

    `messages` are the messages of a whole log, the two of {py:func}`advertised` somewhere among
    them. The number of tokens was cut to a whole one; find the number of blocks that it was.
    """
    # lab: begin task 4 "say what the pool can serve"
    text = "\n".join(messages)
    (tokens,) = re.findall(r"^GPU KV cache size: ([\d,]+) tokens$", text, re.MULTILINE)
    (length,) = re.findall(r"^Maximum concurrency for ([\d,]+) tokens", text, re.MULTILINE)
    num_tokens, max_model_len = int(tokens.replace(",", "")), int(length.replace(",", ""))
    blocks_per_request = -(-max_model_len // block_size)
    return -(-num_tokens * blocks_per_request // max_model_len)
    # lab: end


def fit_at_once(num_blocks: int, block_size: int, num_tokens: int) -> int:
    r"""How many requests of `num_tokens` computed tokens each can hold their blocks at one time.

    Nothing is shared between them. Of the pool's blocks, see what
    {up}`vllm/v1/core/block_pool.py#BlockPool.__init__` does with the first.
    """
    # lab: begin task 4 "say what the pool can serve"
    return (num_blocks - 1) // -(-num_tokens // block_size)
    # lab: end


def steps_in(messages: Iterable[str]) -> list[LoggedStep]:
    r"""The steps of the engine that a log tells of, in order.

    A step that runs the model has the worker's line `Running batch with … num_tokens=…`. With
    iteration details, the engine core then adds `Iteration(i): …`, for a step without a batch as
    well. Without them, the worker's line is all there is.
    """
    # lab: begin task 5 "read the steps off the log"
    batch = re.compile(r"Running batch with .*\bnum_tokens=(\d+)")
    iteration = re.compile(
        r"Iteration\(\d+\): (\d+) context requests, (\d+) context tokens, "
        r"(\d+) generation requests, (\d+) generation tokens, "
        r"iteration elapsed time: ([\d.]+) ms"
    )
    steps: list[LoggedStep] = []
    ran: int | None = None
    for message in messages:
        if found := batch.match(message):
            if ran is not None:
                steps.append(LoggedStep(ran))
            ran = int(found[1])
        elif found := iteration.match(message):
            a, b, c, d = map(int, found.groups()[:4])
            steps.append(LoggedStep(ran or 0, (a, b), (c, d), float(found[5])))
            ran = None
    return steps if ran is None else [*steps, LoggedStep(ran)]
    # lab: end


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
    # lab: begin task 6 "line two engines up"
    ended = {
        "stop": "FINISHED_STOPPED",
        "length": "FINISHED_LENGTH_CAPPED",
        "abort": "FINISHED_ABORTED",
    }
    status: dict[str, str] = {}
    computed: dict[str, int] = {}
    total: dict[str, int] = {}
    rows = []
    for step in steps:
        for name in step["arrived"]:
            status[name], computed[name], total[name] = "WAITING", 0, prompts[name]
        for name in step["preempted"]:
            status[name], computed[name] = "PREEMPTED", 0
        for name, count in step["admitted"].items():
            status[name], computed[name] = "RUNNING", count
        for name, count in step["scheduled"].items():
            computed[name] += count
        for name, tokens in step["sampled"].items():
            total[name] += len(tokens)
        for name, reason in step["finished"].items():
            status[name] = ended[reason]
        rows.append({name: (status[name], computed[name], total[name]) for name in status})
    return rows
    # lab: end


def line_up(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> int | None:
    r"""The first step in which two engines scheduled different things, or `None`.

    Two steps agree when they schedule the same number of tokens for the same requests. A step that
    schedules nothing decides nothing: leave it out on both sides, and count without it. When one
    engine goes on after the other has ended, they differ in its first further step.
    """
    # lab: begin task 6 "line two engines up"
    left, right = ([s["scheduled"] for s in side if s["scheduled"]] for side in (ours, theirs))
    for index in range(max(len(left), len(right))):
        if left[index : index + 1] != right[index : index + 1]:
            return index
    return None
    # lab: end


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
