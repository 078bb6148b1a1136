r"""How do the three parts become one engine?

A request goes in as text and comes out as text, and on the way it changes form four times:

1. The caller has a prompt and {py:class}`~mini_vllm.sampling_params.SamplingParams`.
2. The {py:mod}`~mini_vllm.engine.input_processor` checks them, turns text into tokens, and makes an
   {py:class}`~mini_vllm.core.engine_core_request.EngineCoreRequest`: from here on it is valid.
3. The {py:class}`~mini_vllm.engine.core.EngineCore` makes a
   {py:class}`~mini_vllm.core.request.Request` of it: two counters, and a queue to wait in.
4. In each step in which it draws a token, the scheduler writes an
   {py:class}`~mini_vllm.core.engine_core_output.EngineCoreOutput`: the news of that step.
5. The {py:mod}`~mini_vllm.engine.output_processor` adds the news to what it keeps and makes a
   {py:class}`~mini_vllm.outputs.RequestOutput`: text again.

{py:class}`LLMEngine` owns the three and keeps them in step. Its own {py:meth}`~LLMEngine.step` is
one turn of the core, one pass over the news, and one message back: *abort those whose text has
ended*.

In vLLM the border is a process border, by default even for a script
({up}`vllm/v1/engine/core_client.py#EngineCoreClient.make_client`,
{up}`env:VLLM_ENABLE_V1_MULTIPROCESSING`), so that tokenizing for one request does not hold up the
step of the others. The names of the parts are the same on both sides of it:
{up}`vllm/v1/engine/llm_engine.py#LLMEngine`. Here a script has all of it in one process, where a
probe can be held against every part, and a server has the border:
{py:class}`~mini_vllm.engine.async_llm.AsyncLLM`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.engine.engine_args import EngineArgs
from mini_vllm.engine.executor import Executor
from mini_vllm.engine.inproc_client import InprocClient
from mini_vllm.engine.input_processor import InputProcessor, PromptType
from mini_vllm.engine.iteration_stats import IterationStats, StatLogger
from mini_vllm.engine.output_processor import OutputProcessor
from mini_vllm.engine.parallel_sampling import ParentRequest
from mini_vllm.engine.scripted_model_runner import Script, ScriptedModelRunner
from mini_vllm.engine.tokenizer import load_tokenizer
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import SamplingParams


class LLMEngine:
    r"""The whole engine, driven one step at a time by whoever holds it.

    Add requests at any time between steps; call {py:meth}`step` while
    {py:meth}`has_unfinished_requests`. Nothing happens on its own: there is no thread.

    `executor` defaults to one with the real model. `tokenizer` defaults to the checkpoint's,
    unless the config says to skip it. `stat_loggers` are told of every step.
    Upstream: {up}`vllm/v1/engine/llm_engine.py#LLMEngine`.
    """

    def __init__(
        self,
        config: EngineConfig,
        executor: Executor | None = None,
        tokenizer: Tokenizer | None = None,
        stat_loggers: Sequence[StatLogger] = (),
    ) -> None:
        model_config = config.model_config
        if tokenizer is None and not model_config.skip_tokenizer_init:
            tokenizer = load_tokenizer(model_config.tokenizer or model_config.model)
        self.config = config
        self.tokenizer = tokenizer
        self.engine_core = EngineCore(config, executor or Executor(config))
        self.input_processor = InputProcessor(
            config, tokenizer, self.engine_core.scheduler.max_num_tokens
        )
        self.output_processor = OutputProcessor(tokenizer)
        self.client = InprocClient(self.engine_core)
        self.stat_loggers = list(stat_loggers)

    @classmethod
    def from_keywords(cls, model: str, **keywords: Any) -> LLMEngine:
        r"""Build an engine from vLLM's keywords.

        They are the fields of {py:class}`~mini_vllm.engine.engine_args.EngineArgs`.
        """
        engine_args = EngineArgs.from_keywords(model, **keywords)
        # Only now: the loader brings torch with it.
        from mini_vllm.loader import resolve_checkpoint

        return cls(engine_args.create_engine_config(resolve_checkpoint(model)))

    @classmethod
    def from_scripted(
        cls,
        scripts: Mapping[str, Script] | None = None,
        *,
        default: Script | None = None,
        tokenizer: Tokenizer | None = None,
        **config: Any,
    ) -> LLMEngine:
        r"""Build an engine whose model answers from scripts: no checkpoint, no torch.

        `scripts` and `default` are those of the
        {py:class}`~mini_vllm.engine.scripted_model_runner.ScriptedModelRunner`; further keywords
        are those of {py:func}`scripted_config`. Prompts are token ids unless a tokenizer is given.
        """
        engine_config = scripted_config(**config)
        block_size = engine_config.cache_config.block_size
        runner = ScriptedModelRunner(scripts, default=default, block_size=block_size)
        return cls(engine_config, Executor(engine_config, runner), tokenizer)

    def add_request(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        arrival_time: float | None = None,
        priority: int = 0,
    ) -> str:
        r"""Take in a request; returns its id.

        Raises {py:class}`~mini_vllm.errors.RequestError` when it cannot be served, and then
        nothing has changed: the engine goes on with the others as if nobody had asked.
        """
        request, text = self.input_processor.process_inputs(
            request_id, prompt, params, arrival_time, priority
        )
        n = request.sampling_params.n
        self.output_processor.check_ids(request_id, n)
        parent, requests = None, [request]
        if n > 1:
            parent = ParentRequest(request_id, request.sampling_params)
            requests = parent.fan_out(request)
        for index, one in enumerate(requests):
            # The core first: it may still refuse, and then no one is left waiting for an answer.
            # (Never the second of several children: what fits once fits again, later.)
            self.client.add_request(one)
            self.output_processor.add_request(one, text, parent, index)
        return request_id

    def abort_request(self, request_ids: str | Iterable[str]) -> list[RequestOutput]:
        r"""End requests that nobody wants any more; returns the last output of each.

        Not while a step runs (see
        {py:attr}`EngineCore.aborts_queue <mini_vllm.engine.core.EngineCore>` for that). Unknown
        and finished ids are passed over. The real engine answers only where a queue waits for it
        ({up}`vllm/v1/engine/output_processor.py#OutputProcessor.abort_requests`); here everyone
        gets a last word.
        """
        ids = [request_ids] if isinstance(request_ids, str) else list(request_ids)
        self.client.abort_requests(self.output_processor.core_ids(ids))
        return self.output_processor.abort_requests(ids)

    def step(self) -> list[RequestOutput]:
        r"""Take one step of the core; return what there is to tell.

        Empty while prompts are still being read, and at the last, empty step that tells the runner
        who has ended.
        """
        news = self.client.get_output()
        stats = IterationStats() if self.stat_loggers and news.outputs else None
        processed = self.output_processor.process_outputs(news.outputs, news.timestamp, stats)
        if processed.reqs_to_abort:
            self.client.abort_requests(processed.reqs_to_abort)
        for stat_logger in self.stat_loggers:
            stat_logger.record(news.scheduler_stats, stats)
        return processed.request_outputs

    def has_unfinished_requests(self) -> bool:
        """Whether any caller still waits for its end."""
        return self.output_processor.has_unfinished_requests()

    def get_num_unfinished_requests(self) -> int:
        """How many callers still wait for their end."""
        return self.output_processor.get_num_unfinished_requests()

    def reset_prefix_cache(self) -> bool:
        """Forget every cached prefix; refused with `False` while a request holds a block."""
        return self.engine_core.reset_prefix_cache()


def scripted_config(
    *,
    num_gpu_blocks: int = 512,
    block_size: int = 16,
    max_model_len: int = 1024,
    vocab_size: int = 32_000,
    eos_token_id: int | None = None,
    enable_prefix_caching: bool = True,
    **scheduler: Any,
) -> EngineConfig:
    r"""The config of an engine whose model is a script: small, and with no checkpoint.

    Further keywords go to the {py:class}`~mini_vllm.config.SchedulerConfig`.
    """
    return EngineConfig(
        model_config=ModelConfig(
            "scripted",
            vocab_size=vocab_size,
            max_model_len=max_model_len,
            skip_tokenizer_init=True,
            eos_token_id=eos_token_id,
        ),
        cache_config=CacheConfig(
            block_size=block_size,
            num_gpu_blocks=num_gpu_blocks,
            enable_prefix_caching=enable_prefix_caching,
        ),
        scheduler_config=SchedulerConfig(max_model_len=max_model_len, **scheduler),
    )
