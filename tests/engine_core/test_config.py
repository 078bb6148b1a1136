"""What an operator may ask for: every refusal names the value and the limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.engine.engine_args import NEUTRAL_VALUES, EngineArgs
from mini_vllm.errors import CheckpointError, ConfigError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CacheConfig(block_size=0), "block_size must be at least 1, got 0"),
        (lambda: CacheConfig(block_size=True), "block_size must be an integer, got True"),
        (lambda: CacheConfig(num_gpu_blocks=1), "num_gpu_blocks must be at least 2, got 1"),
        (
            lambda: CacheConfig(num_gpu_blocks=9, kv_cache_memory_bytes=1024),
            "num_gpu_blocks=9 and kv_cache_memory_bytes=1024 both size the cache",
        ),
        (lambda: SchedulerConfig(max_model_len=1), "max_model_len must be at least 2, got 1"),
        (
            lambda: SchedulerConfig(max_model_len=8, max_num_batched_tokens=2, max_num_seqs=3),
            "max_num_batched_tokens=2 must be at least max_num_seqs=3",
        ),
        (
            lambda: SchedulerConfig(
                max_model_len=100, max_num_batched_tokens=64, enable_chunked_prefill=False
            ),
            "max_num_batched_tokens=64 must be at least max_model_len=100",
        ),
        (
            lambda: SchedulerConfig(max_model_len=8, policy="lifo"),
            "policy must be one of fcfs, priority, got 'lifo'",
        ),
        (
            lambda: SchedulerConfig(max_model_len=8, long_prefill_token_threshold=-1),
            "long_prefill_token_threshold must be at least 0, got -1",
        ),
        (
            lambda: ModelConfig("m", vocab_size=8, max_model_len=8, dtype="int3"),
            "dtype must be one of auto, float32, bfloat16, float16, got 'int3'",
        ),
        (
            lambda: EngineConfig(
                model_config=ModelConfig("m", vocab_size=8, max_model_len=8),
                scheduler_config=SchedulerConfig(max_model_len=9),
            ),
            "model_config.max_model_len=8 and scheduler_config.max_model_len=9 must agree",
        ),
    ],
)
def test_a_bad_value_is_named(build, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert message in str(caught.value)


def checkpoint(folder: Path, config: dict, generation: dict | None = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def test_a_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    config = {
        "vocab_size": 50,
        "max_position_embeddings": 64,
        "eos_token_id": 3,
        "dtype": "float16",
    }
    model = ModelConfig.from_checkpoint(checkpoint(tmp_path, config, {"eos_token_id": [4, 5]}))
    assert (model.vocab_size, model.max_model_len) == (50, 64)
    assert model.resolved_dtype() == "float16"
    assert model.generation_eos_token_ids == (4, 5)
    assert model.eos_token_id is None
    assert model.hf_config == config


def test_without_a_generation_config_the_config_says_what_ends(tmp_path: Path) -> None:
    config = {"vocab_size": 50, "max_position_embeddings": 64, "eos_token_id": 3}
    model = ModelConfig.from_checkpoint(checkpoint(tmp_path, config), max_model_len=32)
    assert model.generation_eos_token_ids == (3,)
    assert model.max_model_len == 32
    assert model.resolved_dtype() == "float32"


def test_positions_that_the_checkpoint_was_not_made_for(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, {"vocab_size": 50, "max_position_embeddings": 64})
    with pytest.raises(ConfigError, match="max_model_len=65 exceeds max_position_embeddings=64"):
        ModelConfig.from_checkpoint(folder, max_model_len=65)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json does not exist"):
        ModelConfig.from_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        ModelConfig.from_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no vocab_size"):
        ModelConfig.from_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 9}')
    with pytest.raises(ConfigError, match="give max_model_len"):
        ModelConfig.from_checkpoint(tmp_path)


def test_keywords_become_records(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, {"vocab_size": 50, "max_position_embeddings": 64})
    args = EngineArgs.from_keywords(
        str(folder),
        max_num_seqs=3,
        max_num_batched_tokens=16,
        num_gpu_blocks_override=7,
        block_size=8,
        scheduling_policy="priority",
        enable_prefix_caching=False,
        enforce_eager=True,
        tensor_parallel_size=1,
    )
    config = args.create_engine_config(folder)
    assert config.scheduler_config == SchedulerConfig(
        max_model_len=64, max_num_seqs=3, max_num_batched_tokens=16, policy="priority"
    )
    assert config.cache_config == CacheConfig(
        block_size=8, num_gpu_blocks=7, enable_prefix_caching=False
    )


@pytest.mark.parametrize("name", sorted(NEUTRAL_VALUES))
def test_a_keyword_that_would_be_ignored_is_refused(name: str) -> None:
    for value in NEUTRAL_VALUES[name]:
        EngineArgs.from_keywords("m", **{name: value})
    with pytest.raises(ConfigError, match=f"{name}='something' is not supported"):
        EngineArgs.from_keywords("m", **{name: "something"})


def test_a_misspelt_keyword_is_told_what_it_may_have_meant() -> None:
    with pytest.raises(ConfigError, match=r"no parameter 'max_num_seq'; did you mean max_num_seqs"):
        EngineArgs.from_keywords("m", max_num_seq=3)
