r"""Which numbers shape the engine, and who may set them?

Four small records, read by everybody and written by nobody: they are frozen. Each checks itself
when it is built, because a limit that is wrong at start-up is a stack trace in front of the
operator, and the same limit found wrong in step 40,000 is an outage.

{py:class}`CacheConfig` sizes the memory, {py:class}`SchedulerConfig` the step,
{py:class}`ModelConfig` says what the checkpoint is, and {py:class}`EngineConfig` holds the three
together, with a fourth that has a file of its own:
{py:class}`~mini_vllm.config.compilation.CompilationConfig`. The names are vLLM's, so that a flag
learned here can be typed there; what is missing here is missing on purpose, and
{py:class}`~mini_vllm.entrypoints.llm.LLM` refuses it by name rather than swallow it.

Some defaults differ from the real ones, since these are for a laptop. There the budget depends on
the device: {up}`vllm/engine/arg_utils.py#EngineArgs.get_batch_defaults` picks a bigger one for a
bigger GPU, so the defaults in {up}`vllm/config/scheduler.py#SchedulerConfig` are what you get in a
unit test, and not on a command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mini_vllm.config.compilation import CompilationConfig
from mini_vllm.errors import CheckpointError, ConfigError

DTYPES = ("auto", "float32", "bfloat16", "float16")
POLICIES = ("fcfs", "priority")


def _at_least(name: str, value: object, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, got {value}")


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    r"""How the memory for keys and values is cut.

    `block_size` is in tokens. `num_gpu_blocks` counts block 0 too, which is never handed out (see
    {py:class}`~mini_vllm.core.block_pool.BlockPool`), so a pool of two is the smallest that can
    serve anything; `None` leaves the number to the device. `kv_cache_memory_bytes` asks for a size
    in bytes instead, and only one of the two may be given. `enable_prefix_caching` is the switch
    of the prefix cache: off, no block is ever hashed.

    Upstream: {up}`vllm/config/cache.py#CacheConfig`, where {up}`flag:--gpu-memory-utilization` is
    the usual way to a number of blocks.
    """

    block_size: int = 16
    num_gpu_blocks: int | None = None
    enable_prefix_caching: bool = True
    kv_cache_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        _at_least("block_size", self.block_size, 1)
        if self.num_gpu_blocks is not None:
            _at_least("num_gpu_blocks", self.num_gpu_blocks, 2)
        if self.kv_cache_memory_bytes is not None:
            _at_least("kv_cache_memory_bytes", self.kv_cache_memory_bytes, 1)
            if self.num_gpu_blocks is not None:
                raise ConfigError(
                    f"num_gpu_blocks={self.num_gpu_blocks} and kv_cache_memory_bytes="
                    f"{self.kv_cache_memory_bytes} both size the cache; give one"
                )


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    r"""What one step may hold.

    `max_num_batched_tokens` is *the* budget: prompt chunks and decodes draw on it alike.
    `max_num_seqs` is how many requests may be running, and `max_model_len` how many tokens a
    request may reach, prompt and answer together. `enable_chunked_prefill` decides whether a
    prompt may be cut to what is left of the budget; without it, a prompt longer than the budget
    could never run, so the budget must then be at least `max_model_len`.
    `long_prefill_token_threshold` caps the chunk of any one request (0: no cap).
    `scheduler_reserve_full_isl` admits a request only when blocks for *all* its tokens are free,
    not just for its first chunk: it prevents admitting ten long prompts that then preempt each
    other. `policy` is `"fcfs"` or `"priority"` (a lower number goes first).

    Upstream: {up}`vllm/config/scheduler.py#SchedulerConfig`, with the two cross-checks of
    {up}`vllm/config/scheduler.py#SchedulerConfig.verify_max_model_len`.
    """

    max_model_len: int
    max_num_batched_tokens: int = 2048
    max_num_seqs: int = 64
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    scheduler_reserve_full_isl: bool = True
    policy: Literal["fcfs", "priority"] = "fcfs"

    def __post_init__(self) -> None:
        _at_least("max_model_len", self.max_model_len, 2)
        _at_least("max_num_batched_tokens", self.max_num_batched_tokens, 1)
        _at_least("max_num_seqs", self.max_num_seqs, 1)
        _at_least("long_prefill_token_threshold", self.long_prefill_token_threshold, 0)
        if self.policy not in POLICIES:
            raise ConfigError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.max_num_batched_tokens < self.max_num_seqs:
            # Every running request wants at least one token a step.
            raise ConfigError(
                f"max_num_batched_tokens={self.max_num_batched_tokens} must be at least "
                f"max_num_seqs={self.max_num_seqs}"
            )
        if not self.enable_chunked_prefill and self.max_num_batched_tokens < self.max_model_len:
            raise ConfigError(
                f"without chunked prefill max_num_batched_tokens={self.max_num_batched_tokens} "
                f"must be at least max_model_len={self.max_model_len}, or a long prompt never runs"
            )


@dataclass(frozen=True)
class ModelConfig:
    r"""What the checkpoint is, in words that need no torch.

    `model` is a checkpoint directory (a hub id is resolved to one before this is built), and
    `hf_config` its `config.json`, parsed and unchanged. `max_model_len` may shorten what the
    checkpoint allows ({py:func}`longest_text`), never lengthen it. `dtype` is a name; `"auto"`
    means the checkpoint's own, see {py:meth}`resolved_dtype`. `tokenizer` is the directory of the
    tokenizer, `None` for the model's own; with `skip_tokenizer_init` there is none, and the engine
    speaks token ids only.

    `generation_eos_token_ids` are the tokens that end an answer by `generation_config.json`, or by
    `config.json` where there is none. The tokenizer's own is usually among them, and is the only
    one that is not reported as a `stop_reason`; `eos_token_id` stands in for it where no tokenizer
    is. `max_logprobs` is the most alternatives that a request may ask for, `-1` for no limit.
    Upstream: {up}`vllm/config/model.py#ModelConfig`.
    """

    model: str
    _: KW_ONLY
    vocab_size: int
    max_model_len: int
    dtype: str = "auto"
    seed: int = 0
    tokenizer: str | None = None
    skip_tokenizer_init: bool = False
    max_logprobs: int = 20
    eos_token_id: int | None = None
    generation_eos_token_ids: tuple[int, ...] = ()
    hf_config: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        _at_least("vocab_size", self.vocab_size, 1)
        _at_least("max_model_len", self.max_model_len, 2)
        _at_least("seed", self.seed, 0)
        _at_least("max_logprobs", self.max_logprobs, -1)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    def resolved_dtype(self) -> str:
        """Name the dtype to compute in: the given one, or for `"auto"` the checkpoint's."""
        if self.dtype != "auto":
            return self.dtype
        stored = self.hf_config.get("dtype") or self.hf_config.get("torch_dtype") or "float32"
        if stored not in DTYPES:
            raise ConfigError(
                f"the checkpoint's dtype is {stored!r}; give one of {', '.join(DTYPES[1:])}"
            )
        return stored

    @classmethod
    def from_checkpoint(
        cls,
        model: str | Path,
        *,
        dtype: str = "auto",
        max_model_len: int | None = None,
        seed: int = 0,
        max_logprobs: int = 20,
        tokenizer: str | None = None,
        skip_tokenizer_init: bool = False,
    ) -> ModelConfig:
        r"""Read `config.json` and, where there is one, `generation_config.json` of a directory.

        `max_model_len` may be anything up to {py:func}`longest_text`. Left out, it is that, except
        for a `dynamic` rotary clock: there a longer limit is another clock for short texts too,
        so it has to be asked for, and the default is the trained context.

        Raises {py:class}`~mini_vllm.errors.CheckpointError` when the config is missing or lacks
        `vocab_size`, and {py:class}`~mini_vllm.errors.ConfigError` when `max_model_len` exceeds
        what the checkpoint was made for: positions beyond it give answers that look fluent and are
        noise.
        """
        hf_config = _read_json(Path(model) / "config.json")
        if "vocab_size" not in hf_config:
            raise CheckpointError(f"{Path(model) / 'config.json'} has no vocab_size")
        limit = longest_text(hf_config)
        chosen = limit if max_model_len is None else max_model_len
        if chosen is None:
            raise ConfigError(f"{model} states no max_position_embeddings; give max_model_len")
        if limit is not None and max_model_len is not None and max_model_len > limit:
            positions = hf_config["max_position_embeddings"]
            scaled = "" if limit == positions else f", stretched to {limit} by its rotary scaling,"
            raise ConfigError(
                f"max_model_len={max_model_len} exceeds max_position_embeddings={positions}"
                f"{scaled} of {model}"
            )
        if max_model_len is None and _rope_of(hf_config)[0] == "dynamic":
            chosen = hf_config["max_position_embeddings"]
        generation = hf_config
        if (Path(model) / "generation_config.json").exists():
            generation = _read_json(Path(model) / "generation_config.json")
        return cls(
            str(model),
            vocab_size=hf_config["vocab_size"],
            max_model_len=chosen,
            dtype=dtype,
            seed=seed,
            tokenizer=tokenizer,
            skip_tokenizer_init=skip_tokenizer_init,
            max_logprobs=max_logprobs,
            generation_eos_token_ids=_token_ids(generation.get("eos_token_id")),
            hf_config=hf_config,
        )


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    r"""All that an engine is built from, in one record that any part may read.

    `device` and `attention_backend` are names, or `"auto"` to let the platform choose; the torch
    floors know which names exist. The two `max_model_len` must agree: one is what the model was
    made for, the other is where the scheduler stops.
    Upstream: {up}`vllm/config/vllm.py#VllmConfig`.
    """

    model_config: ModelConfig
    scheduler_config: SchedulerConfig
    cache_config: CacheConfig = field(default_factory=CacheConfig)
    compilation_config: CompilationConfig = field(default_factory=CompilationConfig)
    device: str = "auto"
    attention_backend: str = "auto"

    def __post_init__(self) -> None:
        model_len, limit = self.model_config.max_model_len, self.scheduler_config.max_model_len
        if model_len != limit:
            raise ConfigError(
                f"model_config.max_model_len={model_len} and "
                f"scheduler_config.max_model_len={limit} must agree"
            )


def longest_text(hf_config: Mapping[str, Any]) -> int | None:
    r"""How many tokens a text of a checkpoint may have, from its parsed `config.json`.

    `max_position_embeddings`, times the factor by which a rotary clock is slowed. Under `yarn` the
    *trained* context is multiplied, since some configs state the stretched one and some do not;
    under `llama3` nothing is, since all of them do. `None` where the config does not say. Upstream:
    {up}`vllm/config/model.py#_get_and_verify_max_len`.
    """
    positions = hf_config.get("max_position_embeddings")
    if positions is None:
        return None
    rope_type, rope = _rope_of(hf_config)
    factor = rope.get("factor")
    # A factor that is none is refused with the rest of the clock, when the model is built.
    usable = isinstance(factor, int | float) and factor > 0
    if rope_type not in ("linear", "dynamic", "yarn") or not usable:
        return positions
    if rope_type == "yarn":
        outside = hf_config.get("original_max_position_embeddings")
        positions = outside or rope.get("original_max_position_embeddings") or positions
    return int(positions * factor)


def _rope_of(hf_config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    rope = hf_config.get("rope_parameters") or hf_config.get("rope_scaling") or {}
    return rope.get("rope_type") or rope.get("type") or "default", rope


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None


def _token_ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
