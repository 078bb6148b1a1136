r"""Who runs the model?

Somebody on the other side of a call. The core says *what* to compute, and a model runner computes
it: on this machine's CPU, on a GPU, on eight GPUs with a process for each. The executor is the
place where that choice is made, so the core never learns of it. In vLLM it is a family
({up}`vllm/v1/executor/abstract.py#Executor.get_class`); here there is one process and one device,
and the class is four lines of forwarding around one decision.

The decision is *when to load torch*. Everything above this line can be imported, tested and taught
without it, because the import of the real model runner stands inside the constructor below, and is
skipped when a runner is given. The
{py:class}`~mini_vllm.engine.scripted_model_runner.ScriptedModelRunner` is such a one: it answers
from a list.

Execute and sample are two calls, as they are upstream
({up}`vllm/v1/engine/core.py#EngineCore.step@"self.model_executor.sample_tokens(grammar_output)"`).
Between them lies the time in which the device computes and the host is free; a real engine fills
in the grammar's mask in it.
"""

from __future__ import annotations

from typing import Protocol

from mini_vllm.config import EngineConfig
from mini_vllm.core.model_runner_output import ForwardOutput, ModelRunnerOutput
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.errors import ConfigError


class ModelRunnerLike(Protocol):
    r"""What a model runner must be able to do; two classes can.

    It learns of requests from the {py:class}`~mini_vllm.core.scheduler_output.SchedulerOutput`
    alone, and keeps their tokens and block tables itself. {py:meth}`execute_model` runs the
    forward pass and holds on to the logits; {py:meth}`sample_tokens` draws from the rows that may
    be drawn from. {py:meth}`forward` is the first half, by hand.
    """

    def determine_num_gpu_blocks(self) -> int:
        """How many blocks of the cache the device has room for."""

    def initialize_kv_cache(self, num_gpu_blocks: int) -> None:
        """Make the cache, of that many blocks."""

    def execute_model(self, scheduler_output: SchedulerOutput) -> None:
        """Run the forward pass of one step, and keep its logits."""

    def sample_tokens(self) -> ModelRunnerOutput:
        """Draw one token for each request whose last token was computed."""

    def forward(self, scheduler_output: SchedulerOutput) -> ForwardOutput:
        """Run the forward pass of one step, and hand its logits out."""


class Executor:
    r"""One model runner, in this process.

    Without `model_runner` the real one is built, and torch is loaded, here and now.
    Upstream: {up}`vllm/v1/executor/uniproc_executor.py#UniProcExecutor`.
    """

    def __init__(self, config: EngineConfig, model_runner: ModelRunnerLike | None = None) -> None:
        if model_runner is None:
            from mini_vllm.worker.model_runner import ModelRunner

            model_runner = ModelRunner(config)
        self.config = config
        self.model_runner = model_runner

    def determine_num_gpu_blocks(self) -> int:
        """How many blocks the cache gets: what the config says, or what the device can hold."""
        num_gpu_blocks = self.config.cache_config.num_gpu_blocks
        if num_gpu_blocks is None:
            num_gpu_blocks = self.model_runner.determine_num_gpu_blocks()
        if num_gpu_blocks < 2:
            raise ConfigError(
                f"the device has room for {num_gpu_blocks} blocks of "
                f"{self.config.cache_config.block_size} tokens; the smallest pool is 2"
            )
        return num_gpu_blocks

    def initialize_kv_cache(self, num_gpu_blocks: int) -> None:
        """Have the cache made."""
        self.model_runner.initialize_kv_cache(num_gpu_blocks)

    def execute_model(self, scheduler_output: SchedulerOutput) -> None:
        """Run the forward pass; the logits stay with the runner."""
        self.model_runner.execute_model(scheduler_output)

    def sample_tokens(self) -> ModelRunnerOutput:
        """Draw from the logits of the last forward pass."""
        return self.model_runner.sample_tokens()
