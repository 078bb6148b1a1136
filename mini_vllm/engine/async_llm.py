r"""What does a server hold in its hands?

An object with one verb. {py:meth}`AsyncLLM.generate` takes a prompt and gives an asynchronous
stream of outputs; two hundred tasks call it at once, each reads its own stream, and none of them
knows that the others, or a scheduler, or another process exist.

Behind it one task, the *output handler*, reads the messages of the
{py:mod}`core's process <mini_vllm.engine.core_proc>`. It turns tokens into text and leaves each
output with the {py:mod}`collector <mini_vllm.engine.output_collector>` of the request, where the
stream finds it. All of this is one event loop and no lock: a piece of work that would hold up the
loop is either small, or cut into pieces, or done elsewhere.

*Small*: sending to the core. *Cut into pieces*: a step's news of a thousand requests is read
{py:data}`OUTPUT_CHUNK_SIZE` at a time, and between two pieces everybody else gets a turn
({up}`vllm/v1/engine/async_llm.py#AsyncLLM._run_output_handler@"await asyncio.sleep(0)"`).
*Elsewhere*: a long prompt is tokenized in a thread of its own, a single one, since the tokenizer is
not made for several.

## Going away

A client that hangs up ends its stream: the task is cancelled or the generator closed, and either
way the `finally` of {py:meth}`~AsyncLLM.generate` runs. It sends an abort, which never waits, and
the core gives the blocks back within the step that is under way.

Between that moment and the core's confirmation the id is in nobody's hands: the front-end has
forgotten the request, and the core may just have drawn a token for it. If a new request of the
same name were let in now, it would be given that token as its own. So the id stays *closing* until
the core has confirmed, and whoever wants to use it waits that long, which is a step at most.
Upstream appends random characters to each id instead
({up}`vllm/v1/engine/input_processor.py#InputProcessor.assign_request_id`).

## When the engine dies

The output handler gets the news in place of an output. It leaves the error with every collector,
so every open stream raises {py:class}`~mini_vllm.errors.EngineDeadError` at once instead of
waiting for a token that will not come, and every later call raises it too. Nothing is restarted
here: what died with requests on board should be looked at, and whoever runs the server has means
to start it again.

Upstream: {up}`vllm/v1/engine/async_llm.py#AsyncLLM`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from mini_vllm.config import EngineConfig
from mini_vllm.core.engine_core_output import EngineCoreOutputs
from mini_vllm.core.stats import SchedulerStats
from mini_vllm.engine.core_client import AsyncMPClient
from mini_vllm.engine.core_messages import CoreSetup, ScriptedModel
from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.engine.engine_args import EngineArgs
from mini_vllm.engine.input_processor import InputProcessor, PromptType
from mini_vllm.engine.iteration_stats import IterationStats, StatLogger
from mini_vllm.engine.llm_engine import scripted_config
from mini_vllm.engine.output_collector import RequestOutputCollector
from mini_vllm.engine.output_processor import OutputProcessor
from mini_vllm.engine.parallel_sampling import ParentRequest
from mini_vllm.engine.scripted_model_runner import Script
from mini_vllm.engine.tokenizer import load_tokenizer
from mini_vllm.errors import ConfigError, EngineDeadError, RequestError
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import SamplingParams

#: So much news is read before other tasks get a turn; upstream's `VLLM_V1_OUTPUT_PROC_CHUNK_SIZE`.
OUTPUT_CHUNK_SIZE = 128
# Text of more characters than this is tokenized in a thread; for less, a switch costs more.
LONG_TEXT = 2048


class AsyncLLM:
    r"""The engine for servers: a core in another process, and a stream for each request.

    Build one with {py:meth}`from_engine_args`; it blocks until the model is loaded. It may be built
    before there is an event loop, and then belongs to the loop that first uses it. Close it with
    {py:meth}`shutdown`, or use it as a context manager.

    `config` and `tokenizer` are as the engine has them; `errored` says whether it is dead, and
    `dead_error` of what. `stat_loggers` are told of every step.
    """

    def __init__(
        self,
        setup: CoreSetup,
        load_tokenizer: Callable[[], Tokenizer | None],
        stat_loggers: Sequence[StatLogger] = (),
    ) -> None:
        self.config: EngineConfig = setup.config
        self.stat_loggers = list(stat_loggers)
        self.client = AsyncMPClient(setup)
        try:
            # The child loads its model meanwhile.
            self.tokenizer = load_tokenizer()
            self.ready = self.client.wait_until_ready()
        except BaseException:
            self.client.shutdown()
            raise
        self.input_processor = InputProcessor(
            self.config, self.tokenizer, self.ready.max_num_tokens
        )
        self.output_processor = OutputProcessor(self.tokenizer)
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._output_handler: asyncio.Task[None] | None = None
        self._confirming: asyncio.Task[None] | None = None
        # Aborted, and not yet confirmed: these ids may not be used again before that.
        self._closing: dict[str, asyncio.Future[None]] = {}
        with suppress(RuntimeError):
            # There may be no loop yet; the first call that needs the handler starts it.
            asyncio.get_running_loop()
            self._run_output_handler()

    @classmethod
    def from_engine_args(
        cls,
        engine_args: EngineArgs,
        *,
        stat_loggers: Sequence[StatLogger] = (),
        check_invariants: bool = False,
    ) -> AsyncLLM:
        r"""Start the engine of these arguments, and wait until its model is loaded.

        `check_invariants` has the core check itself after every step: for tests.
        Raises {py:class}`~mini_vllm.errors.ConfigError` and
        {py:class}`~mini_vllm.errors.CheckpointError` for what can be seen from here, and
        {py:class}`~mini_vllm.errors.EngineDeadError` when the core's process could not start.
        """
        directory = Path(engine_args.model).expanduser()
        if not directory.is_dir():
            # The loader brings torch with it, which this process has no other use for.
            from mini_vllm.loader import resolve_checkpoint

            directory = resolve_checkpoint(engine_args.model)
        config = engine_args.create_engine_config(directory)
        model_config = config.model_config

        def tokenizer() -> Tokenizer | None:
            if model_config.skip_tokenizer_init:
                return None
            return load_tokenizer(model_config.tokenizer or model_config.model)

        setup = CoreSetup(
            config=config,
            directory="",
            num_threads=_num_threads(),
            check_invariants=check_invariants,
            # What the engine decides at its start is told by whoever tells what this side does.
            log_level=logging.getLogger("mini_vllm").getEffectiveLevel(),
        )
        return cls(setup, tokenizer, stat_loggers)

    @classmethod
    def from_scripted(
        cls,
        scripts: Mapping[str, Script] | None = None,
        *,
        default: Script | None = None,
        tokenizer: Tokenizer | None = None,
        step_seconds: float = 0.0,
        check_invariants: bool = False,
        stat_loggers: Sequence[StatLogger] = (),
        **config: Any,
    ) -> AsyncLLM:
        r"""Start an engine whose model answers from scripts, in a process like any other.

        The keywords are those of
        {py:meth}`LLMEngine.from_scripted <mini_vllm.engine.llm_engine.LLMEngine.from_scripted>`.
        Scripts must be lists: a function cannot cross to another process. Each step takes
        `step_seconds`.
        """
        scripted = ScriptedModel(
            scripts={name: _as_list(script) for name, script in (scripts or {}).items()},
            default=None if default is None else _as_list(default),
            step_seconds=step_seconds,
        )
        setup = CoreSetup(
            config=scripted_config(**config),
            directory="",
            scripted=scripted,
            check_invariants=check_invariants,
        )
        return cls(setup, lambda: tokenizer, stat_loggers)

    # ------------------------------------------------------------------ requests

    async def generate(
        self,
        prompt: PromptType,
        sampling_params: SamplingParams,
        request_id: str,
        *,
        priority: int = 0,
        arrival_time: float | None = None,
    ) -> AsyncGenerator[RequestOutput, None]:
        r"""Answer a prompt; yields outputs until one is `finished`.

        Closing the generator early, or cancelling the task that reads it, aborts the request. With
        a reader that is slower than the engine, outputs are merged, never lost.

        Raises {py:class}`~mini_vllm.errors.RequestError` before anything is queued, and
        {py:class}`~mini_vllm.errors.EngineDeadError` at any time.
        """
        collector = await self.add_request(
            request_id, prompt, sampling_params, priority=priority, arrival_time=arrival_time
        )
        finished = False
        try:
            while not finished:
                output = collector.get_nowait() or await collector.get()
                finished = output.finished
                yield output
        finally:
            if not finished:
                self._abort((request_id,))

    async def add_request(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        *,
        priority: int = 0,
        arrival_time: float | None = None,
    ) -> RequestOutputCollector:
        r"""Check a request and send it; returns where its outputs will be left.

        The first half of {py:meth}`generate`, for a caller who wants to know that a request is
        valid before the first token. It must then read to the end or {py:meth}`abort`.
        """
        self._raise_if_dead()
        self._run_output_handler()
        arrival_time = time.time() if arrival_time is None else arrival_time
        arguments = (request_id, prompt, params, arrival_time, priority)
        process = self.input_processor.process_inputs
        if _is_long(prompt):
            loop = asyncio.get_running_loop()
            request, text = await loop.run_in_executor(self._tokenizing, process, *arguments)
        else:
            request, text = process(*arguments)

        n = params.n
        ids = ParentRequest.child_ids(request_id, n) if n > 1 else [request_id]
        while closing := [self._closing[one] for one in ids if one in self._closing]:
            await asyncio.wait(closing)
        self._raise_if_dead()
        # No await from here on: two requests of one id must not pass the check together.
        self.output_processor.check_ids(request_id, n)
        collector = RequestOutputCollector(request_id, params.output_kind)
        parent, requests = None, [request]
        if n > 1:
            parent = ParentRequest(request_id, request.sampling_params)
            requests = parent.fan_out(request)
        for index, one in enumerate(requests):
            self.client.add_request(one)
            self.output_processor.add_request(one, text, parent, index, collector)
        return collector

    async def abort(self, request_ids: str | Iterable[str]) -> None:
        r"""End requests; their streams get a last output with `abort`.

        Unknown and finished ids are passed over.
        """
        self._abort((request_ids,) if isinstance(request_ids, str) else list(request_ids))

    def _abort(self, request_ids: Sequence[str]) -> None:
        """Forget requests, and have the core forget them; waits for nothing."""
        core_ids = self.output_processor.core_ids(request_ids)
        stats = IterationStats() if self.stat_loggers else None
        self.output_processor.abort_requests(request_ids, stats)
        self._abort_in_core(core_ids)
        if stats is not None and stats.finished_requests:
            self._record(None, stats)

    def _abort_in_core(self, core_ids: list[str]) -> None:
        if self.errored or not core_ids:
            return
        self.client.abort_requests(core_ids)
        for request_id in core_ids:
            self._closing[request_id] = asyncio.get_running_loop().create_future()

    def _confirm(self, request_id: str) -> None:
        future = self._closing.pop(request_id, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def _confirm_earlier(self, earlier: Mapping[str, asyncio.Future[None]]) -> None:
        r"""Confirm what an earlier event loop was waiting for when it ended.

        It may have taken the confirmation out of the socket and then been cancelled. But the core
        answers in order: once it has answered this, it has done with all that was sent before.

        Not with what was sent since. When this task gets its turn, an id may have been confirmed,
        used again and aborted again, so each is confirmed only where it is still the same wait.
        """
        with suppress(EngineDeadError):
            await self.client.call_utility_async("get_stats")
        for request_id, future in earlier.items():
            if self._closing.get(request_id) is future:
                self._confirm(request_id)

    # ------------------------------------------------------------------ the output handler

    def _run_output_handler(self) -> None:
        """Start the handler, if it does not run on this loop already."""
        loop = asyncio.get_running_loop()
        handler = self._output_handler
        if handler is None or handler.get_loop() is not loop:
            self._output_handler = loop.create_task(self._handle_outputs())
            if self._closing:
                # Whoever waits for them from now on waits on this loop.
                self._closing = {request_id: loop.create_future() for request_id in self._closing}
                self._confirming = loop.create_task(self._confirm_earlier(dict(self._closing)))

    async def _handle_outputs(self) -> None:
        try:
            while True:
                await self._process(await self.client.get_output_async())
        except EngineDeadError as error:
            self._propagate(error)
        except Exception as error:
            # Ours, not the core's; but without this task nobody would ever hear of anything.
            self.client.dead_error = EngineDeadError(f"the output handler failed with {error!r}")
            self.client.dead_error.__cause__ = error
            self._propagate(self.client.dead_error)
            self.client.shutdown()

    def _propagate(self, error: EngineDeadError) -> None:
        self.output_processor.propagate_error(error)
        for request_id in list(self._closing):
            self._confirm(request_id)

    async def _process(self, message: EngineCoreOutputs) -> None:
        """Take in one message of the core."""
        outputs = message.outputs
        stats = IterationStats() if self.stat_loggers and outputs else None
        for start in range(0, len(outputs), OUTPUT_CHUNK_SIZE):
            if start:
                await asyncio.sleep(0)
            chunk = outputs[start : start + OUTPUT_CHUNK_SIZE]
            processed = self.output_processor.process_outputs(chunk, message.timestamp, stats)
            self._abort_in_core(processed.reqs_to_abort)
            if self._closing:
                for news in chunk:
                    if news.finished:
                        self._confirm(news.request_id)
        for request_id in message.finished_requests:
            self._confirm(request_id)
        for refusal in message.refusals:
            self.output_processor.fail_request(
                refusal.request_id, RequestError(refusal.message, parameter=refusal.parameter)
            )
            self._confirm(refusal.request_id)
        self._record(message.scheduler_stats, stats)

    def _record(self, scheduler: SchedulerStats | None, iteration: IterationStats | None) -> None:
        if scheduler is None and iteration is None:
            return
        for stat_logger in self.stat_loggers:
            stat_logger.record(scheduler, iteration)

    # ------------------------------------------------------------------ the engine as a whole

    @property
    def errored(self) -> bool:
        """Whether the engine is dead."""
        return self.client.dead_error is not None

    @property
    def dead_error(self) -> EngineDeadError | None:
        """What the engine died of."""
        return self.client.dead_error

    def _raise_if_dead(self) -> None:
        if self.client.dead_error is not None:
            raise self.client.dead_error

    async def check_health(self) -> None:
        """Raise {py:class}`~mini_vllm.errors.EngineDeadError` if the engine is dead."""
        self._raise_if_dead()
        # Somebody must be reading, or a death is noticed late.
        self._run_output_handler()
        exit_code = self.client.core_process.exit_code
        if exit_code is not None:
            raise EngineDeadError(f"the engine's process ended, exit code {exit_code}")

    async def get_stats(self) -> SchedulerStats:
        """The scheduler as it is now; takes nothing from the counts that loggers see."""
        self._raise_if_dead()
        self._run_output_handler()
        return msgspec.convert(await self.client.call_utility_async("get_stats"), SchedulerStats)

    async def reset_prefix_cache(self) -> bool:
        """Forget every cached prefix; refused with `False` while a request holds a block."""
        self._raise_if_dead()
        self._run_output_handler()
        return await self.client.call_utility_async("reset_prefix_cache")

    async def wait_for_requests_to_drain(self, timeout: float) -> None:
        r"""Wait until no request is unfinished; refuses none that comes meanwhile.

        Raises {py:class}`TimeoutError` after `timeout` seconds, and
        {py:class}`~mini_vllm.errors.EngineDeadError` when the engine dies first.
        """
        end = time.monotonic() + timeout
        while self.output_processor.has_unfinished_requests():
            self._raise_if_dead()
            if time.monotonic() > end:
                left = self.output_processor.get_num_unfinished_requests()
                raise TimeoutError(f"{left} requests are unfinished after {timeout} seconds")
            await asyncio.sleep(0.02)

    def shutdown(self) -> None:
        r"""End the core's process; open streams raise. Nothing happens the second time.

        From the thread of the event loop, or when there is none any more.
        """
        handler = self._output_handler
        if handler is not None and not handler.get_loop().is_closed():
            handler.cancel()
        self.client.shutdown()
        self._tokenizing.shutdown(wait=False)
        if self.client.dead_error is not None:
            self._propagate(self.client.dead_error)

    def __enter__(self) -> AsyncLLM:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


def _is_long(prompt: PromptType) -> bool:
    text = prompt.get("prompt") if isinstance(prompt, Mapping) else prompt
    return isinstance(text, str) and len(text) > LONG_TEXT


def _as_list(script: Script) -> list[Any]:
    if callable(script):
        raise ConfigError("a script that is a function cannot cross to the engine's process")
    return list(script)


def _num_threads() -> int | None:
    """How many threads torch may use in this process, if it has been loaded."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()
