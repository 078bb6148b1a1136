r"""Which engine do the tests of a lab drive?

The whole one, with a model whose answers are known beforehand: real scheduler, real cache manager,
real stopping rules, and a runner that reads from a script
({py:class}`mini_vllm.engine.scripted_model_runner.ScriptedModelRunner`). Nothing here loads torch.
A learner can drive the same engine from a prompt:

```python
from labkit.engines import request, scripted_engine

engine = scripted_engine({"a": [11, 12, 13]}, budget=4)
engine.add_request(request("a", prompt=range(10), max_tokens=3))
engine.step()
```
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.executor import Executor
from mini_vllm.engine.scripted_model_runner import Script, ScriptedModelRunner
from mini_vllm.sampling_params import SamplingParams

VOCAB = 10_000
_arrivals = itertools.count()


def scripted_engine(
    scripts: Mapping[str, Script] | None = None,
    *,
    budget: int = 64,
    seats: int | None = None,
    blocks: int = 65,
    block_size: int = 4,
    max_model_len: int = 128,
    prefix_caching: bool = True,
    chunked_prefill: bool = True,
    policy: str = "fcfs",
) -> EngineCore:
    r"""An engine whose answers are the scripts; a request without one answers 1000, 1001, and on.

    `budget` is the most tokens of a step, `seats` the most running requests (8, if the budget
    allows). `blocks` counts block 0, which is never handed out.
    """
    config = engine_config(
        budget=budget,
        seats=min(8, budget) if seats is None else seats,
        blocks=blocks,
        block_size=block_size,
        max_model_len=max_model_len,
        prefix_caching=prefix_caching,
        chunked_prefill=chunked_prefill,
        policy=policy,
    )
    runner = ScriptedModelRunner(scripts, block_size=block_size, default=lambda place: 1000 + place)
    return EngineCore(config, Executor(config, runner))


def engine_config(
    *,
    budget: int,
    seats: int,
    blocks: int,
    block_size: int,
    max_model_len: int,
    prefix_caching: bool,
    chunked_prefill: bool,
    policy: Any,
) -> EngineConfig:
    r"""The configuration of {py:func}`scripted_engine`, for building its parts one by one."""
    return EngineConfig(
        model_config=ModelConfig("scripted", vocab_size=VOCAB, max_model_len=max_model_len),
        scheduler_config=SchedulerConfig(
            max_model_len=max_model_len,
            max_num_batched_tokens=budget,
            max_num_seqs=seats,
            enable_chunked_prefill=chunked_prefill,
            policy=policy,
        ),
        cache_config=CacheConfig(
            block_size=block_size, num_gpu_blocks=blocks, enable_prefix_caching=prefix_caching
        ),
    )


def request(
    request_id: str,
    prompt: Iterable[int],
    *,
    eos_token_id: int | None = None,
    priority: int = 0,
    **params: Any,
) -> EngineCoreRequest:
    r"""A request as the front-end would send it; each call's arrival is later than the last.

    `params` are those of {py:class}`mini_vllm.sampling_params.SamplingParams`; `eos_token_id` is
    the model's end token, if it is to have one.
    """
    sampling_params = SamplingParams(temperature=0.0, **params)
    sampling_params.update_from_generation_config(eos_token_id=eos_token_id)
    return EngineCoreRequest(
        request_id=request_id,
        prompt_token_ids=list(prompt),
        sampling_params=sampling_params,
        arrival_time=float(next(_arrivals)),
        priority=priority,
    )
