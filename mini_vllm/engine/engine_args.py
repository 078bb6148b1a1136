r"""Which keyword means what, and what about those that mean nothing here?

`LLM(model=..., max_num_seqs=8)` takes vLLM's names, and this module turns them into the
{py:mod}`config <mini_vllm.config>` records. It exists for the keywords that it does *not* know. An
engine that takes `tensor_parallel_size=4` and runs on one device has not failed: it has lied. So
every other keyword of the real `LLM` is in the table below with the values under which both
engines do the same, and anything else is refused by name.

Upstream: {up}`vllm/engine/arg_utils.py#EngineArgs`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.config.compilation import CompilationConfig
from mini_vllm.errors import ConfigError

#: Keywords of vLLM that this engine lacks, with the values that ask for nothing it lacks.
NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "async_scheduling": (None, False),
    "cpu_offload_gb": (0,),
    "data_parallel_size": (1,),
    "disable_log_stats": (True,),
    "enable_expert_parallel": (False,),
    "enable_lora": (False,),
    "gpu_memory_utilization": (None,),
    "hf_overrides": (None,),
    "kv_cache_dtype": ("auto",),
    "kv_transfer_config": (None,),
    "load_format": ("auto", "safetensors"),
    "pipeline_parallel_size": (1,),
    "quantization": (None,),
    "revision": (None,),
    "runner": ("auto", "generate"),
    "speculative_config": (None,),
    "tensor_parallel_size": (1,),
    "tokenizer_mode": ("auto",),
    "trust_remote_code": (False,),
}


@dataclass(kw_only=True)
class EngineArgs:
    r"""The keywords of {py:class}`~mini_vllm.entrypoints.llm.LLM`, and their defaults.

    `model` is a checkpoint directory or a hub id. `max_model_len` is `None` for all that the
    checkpoint allows. `num_gpu_blocks_override` and `kv_cache_memory_bytes` size the cache; with
    neither, the device decides. `max_num_batched_tokens` is the step's budget.

    `compilation_config` is a mapping with the fields of
    {py:class}`~mini_vllm.config.compilation.CompilationConfig`, or such a record. `enforce_eager`
    says that nothing may be compiled or captured, which is the default anyway; together with a
    `compilation_config` that asks for either, it is refused. Upstream lets it win, with a warning
    ({up}`vllm/config/vllm.py#VllmConfig.__post_init__@"-cc.mode=none -cc.cudagraph_mode=none"`).
    """

    model: str
    tokenizer: str | None = None
    skip_tokenizer_init: bool = False
    dtype: str = "auto"
    max_model_len: int | None = None
    max_logprobs: int = 20
    seed: int = 0
    block_size: int = 16
    num_gpu_blocks_override: int | None = None
    kv_cache_memory_bytes: int | None = None
    enable_prefix_caching: bool = True
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 2048
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    scheduler_reserve_full_isl: bool = True
    scheduling_policy: str = "fcfs"
    device: str = "auto"
    attention_backend: str = "auto"
    compilation_config: Mapping[str, Any] | None = None
    enforce_eager: bool | None = None

    @classmethod
    def from_keywords(cls, model: str, **keywords: Any) -> EngineArgs:
        r"""Take vLLM's keywords.

        Raises {py:class}`~mini_vllm.errors.ConfigError` for any that would be ignored.
        """
        known = {field.name for field in fields(cls)}
        ours = {name: value for name, value in keywords.items() if name in known}
        for name, value in keywords.items():
            if name not in known:
                _refuse_unless_neutral(name, value, known)
        return cls(model=model, **ours)

    def create_engine_config(self, checkpoint: str | Path) -> EngineConfig:
        """Build the checked records, for the checkpoint in that directory."""
        model_config = ModelConfig.from_checkpoint(
            checkpoint,
            dtype=self.dtype,
            max_model_len=self.max_model_len,
            seed=self.seed,
            max_logprobs=self.max_logprobs,
            tokenizer=self.tokenizer,
            skip_tokenizer_init=self.skip_tokenizer_init,
        )
        compilation_config = CompilationConfig.from_value(self.compilation_config)
        if self.enforce_eager and not compilation_config.is_eager:
            raise ConfigError(
                f"enforce_eager=True contradicts compilation_config with "
                f"mode={compilation_config.mode.name} and "
                f"cudagraph_mode={compilation_config.cudagraph_mode}"
            )
        return EngineConfig(
            model_config=model_config,
            compilation_config=compilation_config,
            cache_config=CacheConfig(
                block_size=self.block_size,
                num_gpu_blocks=self.num_gpu_blocks_override,
                enable_prefix_caching=self.enable_prefix_caching,
                kv_cache_memory_bytes=self.kv_cache_memory_bytes,
            ),
            scheduler_config=SchedulerConfig(
                max_model_len=model_config.max_model_len,
                max_num_batched_tokens=self.max_num_batched_tokens,
                max_num_seqs=self.max_num_seqs,
                enable_chunked_prefill=self.enable_chunked_prefill,
                long_prefill_token_threshold=self.long_prefill_token_threshold,
                scheduler_reserve_full_isl=self.scheduler_reserve_full_isl,
                policy=self.scheduling_policy,  # type: ignore[arg-type]
            ),
            device=self.device,
            attention_backend=self.attention_backend,
        )


def _refuse_unless_neutral(name: str, value: Any, known: set[str]) -> None:
    if name not in NEUTRAL_VALUES:
        near = difflib.get_close_matches(name, known | set(NEUTRAL_VALUES), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"there is no parameter {name!r}{hint}")
    if value not in NEUTRAL_VALUES[name]:
        allowed = " or ".join(repr(v) for v in NEUTRAL_VALUES[name])
        raise ConfigError(
            f"{name}={value!r} is not supported: this engine runs as {name}={allowed}"
        )
