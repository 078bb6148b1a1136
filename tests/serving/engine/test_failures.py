"""What happens when something dies: the core by a signal, by an exception, at birth; the parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.request import Request
from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.engine.core_messages import (
    CoreSetup,
    EngineCoreRequestType,
    ScriptedModel,
    decode_outputs,
    encode,
)
from mini_vllm.engine.core_proc import EngineCoreProc
from mini_vllm.engine.engine_args import EngineArgs
from mini_vllm.engine.llm_engine import scripted_config
from mini_vllm.errors import EngineDeadError, InvariantError, RequestError
from mini_vllm.sampling_params import SamplingParams
from tests.serving.engine.streams import ENDLESS, all_free, last, prompt

ROOT = Path(__file__).parents[3]
# Seconds. The streams here would go on for longer, and who waits for one that is dead, for ever.
SOON = 3


async def open_streams(llm: AsyncLLM, count: int) -> list[asyncio.Task]:
    """Streams of which each has had a token."""
    params = SamplingParams(max_tokens=900)
    streams = [llm.generate(prompt(i + 1), params, f"r{i}") for i in range(count)]
    for stream in streams:
        await anext(stream)
    return [asyncio.create_task(last(stream)) for stream in streams]


async def all_raise(tasks: list[asyncio.Task], match: str) -> float:
    """Wait until each task has raised that the engine is dead; how long did the last one take?"""
    start = time.monotonic()
    for task in tasks:
        with pytest.raises(EngineDeadError, match=match):
            await asyncio.wait_for(task, 10)
    return time.monotonic() - start


async def is_dead(llm: AsyncLLM, match: str) -> None:
    """Every later call raises too."""
    assert llm.errored
    assert match in str(llm.dead_error)
    for call in (
        llm.check_health(),
        llm.get_stats(),
        llm.reset_prefix_cache(),
        last(llm.generate(prompt(1), SamplingParams(), "later")),
    ):
        with pytest.raises(EngineDeadError, match=match):
            await call


def test_a_killed_core_fails_every_stream_at_once(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.005)

    async def main() -> float:
        tasks = await open_streams(llm, 20)
        os.kill(llm.client.core_process.pid, signal.SIGKILL)
        seconds = await all_raise(tasks, "exit code -9")
        await is_dead(llm, "exit code -9")
        return seconds

    assert run(main()) < SOON
    assert llm.client.core_process.exit_code == -9


def test_an_exception_inside_a_step_fails_every_stream_with_its_text(start, run) -> None:
    """The script of one request ends too early, which a scripted model takes for a fault."""
    llm = start({"short": [1, 2, 3]}, default=ENDLESS, step_seconds=0.005)

    async def main() -> float:
        tasks = await open_streams(llm, 10)
        params = SamplingParams(max_tokens=10)
        tasks.append(asyncio.create_task(last(llm.generate(prompt(1), params, "short"))))
        seconds = await all_raise(tasks, "ScriptError: the script of request 'short' has 3 tokens")
        await is_dead(llm, "ScriptError")
        return seconds

    assert run(main()) < SOON
    assert llm.client.core_process.process.wait(5) == 1


def test_a_death_between_requests_is_seen_by_a_health_check(start, run) -> None:
    llm = start(default=ENDLESS)

    async def main() -> None:
        await llm.check_health()
        os.kill(llm.client.core_process.pid, signal.SIGKILL)
        llm.client.core_process.process.wait(5)
        with pytest.raises(EngineDeadError, match="exit code -9"):
            await llm.check_health()
        while not llm.errored:
            await asyncio.sleep(0.02)

    run(main())


def test_a_core_that_checks_itself_ends_at_the_first_violation(tmp_path) -> None:
    """Its loop, by hand: the switch arrives, and what it switches on is run after each step."""
    setup = CoreSetup(
        config=scripted_config(),
        directory=str(tmp_path),
        scripted=ScriptedModel(scripts={}, default=[1] * 9),
        check_invariants=True,
    )
    context = zmq.Context()
    output = zmq.Context.instance().socket(zmq.PUSH)
    core = EngineCoreProc(setup, context, output)
    core.scheduler.kv_cache_manager.block_pool.blocks[3].ref_cnt += 1
    core.input_queue.put(Request("a", [1], SamplingParams()))
    with pytest.raises(InvariantError, match="block 3"):
        core.run_busy_loop()
    output.close(linger=0)
    context.term()


def test_shutting_down_fails_open_streams_and_leaves_nothing(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.01)
    directory = Path(llm.client.core_process.setup.directory)
    assert directory.stat().st_mode & 0o777 == 0o700

    async def main() -> None:
        tasks = await open_streams(llm, 3)
        llm.shutdown()
        await all_raise(tasks, "shut down")
        await is_dead(llm, "shut down")

    run(main())
    assert llm.client.core_process.exit_code == 0
    assert not directory.exists()
    llm.shutdown()


@pytest.mark.parametrize("fault", ["no such tensor", "a pool that is too small"])
def test_a_core_that_cannot_start_says_why(tmp_path, fault) -> None:
    checkpoint = ROOT / "book" / "model" / "checkpoint"
    for file in checkpoint.iterdir():
        if fault == "a pool that is too small" or file.suffix != ".safetensors":
            (tmp_path / file.name).symlink_to(file)
    args = EngineArgs(model=str(tmp_path), max_model_len=64, skip_tokenizer_init=True)
    if fault == "a pool that is too small":
        args.kv_cache_memory_bytes = 1
    pattern = "CheckpointError" if fault == "no such tensor" else "ConfigError.*0 blocks"
    with pytest.raises(EngineDeadError, match=f"could not start: {pattern}"):
        AsyncLLM.from_engine_args(args)


def test_signals_to_the_whole_group_leave_the_decision_to_the_front_end(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.002)

    async def main() -> int:
        tasks = await open_streams(llm, 1)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(llm.client.core_process.pid, number)
        return len((await tasks[0]).outputs[0].token_ids)

    assert run(main()) == 900


PARENT = """
import asyncio, json, sys
from mini_vllm import SamplingParams
from mini_vllm.engine.async_llm import AsyncLLM

async def main():
    llm = AsyncLLM.from_scripted(default=[5] * 900, step_seconds=0.01)
    process = llm.client.core_process
    stream = llm.generate({"prompt_token_ids": [1]}, SamplingParams(max_tokens=900), "a")
    await anext(stream)
    print(json.dumps([process.pid, process.setup.directory]), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_core_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        try:
            child, directory = json.loads(parent.stdout.readline())
        finally:
            parent.kill()
    deadline = time.monotonic() + 5
    while (Path("/proc") / str(child)).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(child), "the core outlived its parent"
    assert not Path(directory).exists()


def alive(pid: int) -> bool:
    try:
        return b"State:\tZ" not in (Path("/proc") / str(pid) / "status").read_bytes()
    except FileNotFoundError:
        return False


def test_messages_that_nobody_should_send_kill_nothing(start, run) -> None:
    """Sent past the client's checks, into the socket: the core refuses each, and goes on."""
    llm = start(default=ENDLESS, step_seconds=0.002)
    add, abort, call = (kind.value for kind in EngineCoreRequestType)
    request = {
        "request_id": "x",
        "prompt_token_ids": [1],
        "arrival_time": 0.0,
        "sampling_params": {"max_tokens": 4},
    }
    wrong = [
        [b""],
        [b"\x07", b"x"],
        [add],
        [add, b"x"],
        [add, b"x", b"\xc1"],
        [add, b"\xff\xfe", encode({"request_id": 3})],
        [add, b"x", encode({**request, "prompt_token_ids": "text"})],
        [add, b"x", encode({**request, "prompt_token_ids": []})],
        [add, b"x", encode({**request, "prompt_token_ids": [1] * 100_000})],
        # The pair that ends the input thread of the pinned engine.
        [add, b"x", encode({**request, "sampling_params": {"max_tokens": 1, "min_tokens": 2}})],
        [abort, encode([3])],
        [abort, encode(["nobody"])],
        [call, encode([1, 2])],
    ]

    async def main() -> int:
        tasks = await open_streams(llm, 1)
        for frames in wrong:
            llm.client._input.send_multipart(frames)
        with pytest.raises(RuntimeError, match="no utility 'shutdown'"):
            await llm.client.call_utility_async("shutdown")
        length = len((await tasks[0]).outputs[0].token_ids)
        assert await all_free(llm)
        return length

    assert run(main()) == 900


def test_a_front_end_that_does_not_read_stops_the_core(start) -> None:
    """Not the memory: what is under way between the two is bounded, and nothing is lost."""
    length = 8_000
    llm = start(
        default=[5] * length,
        check_invariants=False,
        max_model_len=length + 9,
        num_gpu_blocks=length,
    )
    request = EngineCoreRequest(
        "a", [1], SamplingParams(max_tokens=length, ignore_eos=True), arrival_time=0.0
    )
    llm.client.add_request(request)
    ticks, stuck = [0], 0
    status = Path("/proc") / str(llm.client.core_process.pid) / "stat"
    for _ in range(100):
        time.sleep(0.1)
        # The 14th field: processor time in user mode.
        ticks.append(int(status.read_text().rsplit(")", 1)[1].split()[11]))
        stuck = stuck + 1 if ticks[-1] == ticks[-2] else 0
        if stuck == 5:
            break
    assert stuck == 5, "the core went on computing"
    at_rest, num_tokens = ticks[-1], 0
    while num_tokens < length and llm.client._output.poll(2000):
        (news,) = decode_outputs(llm.client._output.recv_multipart()[1]).outputs
        num_tokens += len(news.new_token_ids)
    assert num_tokens == length
    assert int(status.read_text().rsplit(")", 1)[1].split()[11]) > at_rest, "it had stopped early"


def test_a_refusal_by_the_core_fails_that_stream_alone(start, run) -> None:
    """The front-end knows the pool's size, so what it lets through must be forged to be refused."""
    llm = start(default=ENDLESS, num_gpu_blocks=4, block_size=4, step_seconds=0.002)
    llm.input_processor.max_num_tokens = 1000

    async def main() -> tuple[int, bool]:
        good = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(max_tokens=9), "good"))
        )
        with pytest.raises(RequestError, match="need 25 blocks of 4 tokens") as caught:
            await last(llm.generate(prompt(1), SamplingParams(max_tokens=100, n=3), "big"))
        assert caught.value.parameter == "max_tokens"
        return len((await good).outputs[0].token_ids), await all_free(llm)

    assert run(main()) == (9, True)
