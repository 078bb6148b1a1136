"""Random models, random engines, random prompts: what the grid's authors did not think of.

Everything about a case follows from its seed, so that a number is enough to have it again. Seeds
that ever failed are kept in `kept_seeds.json` and run first, for ever.

No window of 1 is drawn: with a cache, transformers then keeps everything rather than nothing, and
disagrees with its own forward pass over the whole text (which `test_config_json.py` compares).
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("kept_seeds.json")
#: What the session did, filled in as it goes; part of the record.
RECORD: dict[str, Any] = {"cases": 0, "first_seed": None, "kept_seeds": 0}


@dataclass(frozen=True)
class SweepCase:
    """A model's shape, an engine's settings, prompts, and how long each answer is to be."""

    seed: int
    class_name: str
    changes: dict[str, Any]
    settings: dict[str, Any]
    prompts: list[list[int]]
    num_tokens: list[int]

    @classmethod
    def from_seed(cls, seed: int) -> SweepCase:
        rng = random.Random(seed)
        class_name, changes = _shape(rng)
        prompts = _prompts(rng, changes["vocab_size"])
        num_tokens = [rng.randrange(1, 30) for _ in prompts]
        longest = max(len(p) + n for p, n in zip(prompts, num_tokens))
        settings = _settings(rng, longest, len(prompts))
        return cls(seed, class_name, changes, settings, prompts, num_tokens)

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.class_name} {self.changes}, {self.settings}"


def seeds() -> list[int]:
    """The kept ones, then as many fresh ones as were asked for."""
    count = int(os.environ.get("PARITY_CASES", "6"))
    start = os.environ.get("PARITY_SEED", "2026")
    first = time.time_ns() % 1_000_000_000 if start == "fresh" else int(start)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else []
    RECORD.update(first_seed=first, cases=count, kept_seeds=len(kept))
    return [*kept, *range(first, first + count)]


def keep(seed: int) -> None:
    """Remember a seed that failed."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else []
    if seed not in kept:
        KEPT.write_text(json.dumps([*kept, seed]) + "\n")


def _shape(rng: random.Random) -> tuple[str, dict[str, Any]]:
    class_name = rng.choice(["LlamaConfig", "Qwen2Config", "Qwen3Config", "MistralConfig"])
    num_heads = rng.choice([1, 2, 3, 4, 6, 8])
    num_kv_heads = rng.choice([n for n in (1, 2, 3, 4, 6, 8) if num_heads % n == 0])
    num_layers = rng.choice([1, 2, 3])
    changes: dict[str, Any] = {
        "vocab_size": rng.choice([61, 128, 320, 515]),
        "hidden_size": num_heads * rng.choice([8, 12, 20]),
        "head_dim": rng.choice([6, 8, 16, 34, 40]),
        "intermediate_size": rng.randrange(17, 130),
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "tie_word_embeddings": rng.random() < 0.5,
        "rms_norm_eps": rng.choice([1e-6, 1e-5, 1e-2]),
        "rope_parameters": _rope(rng),
    }
    if class_name == "LlamaConfig":
        changes |= {"attention_bias": rng.random() < 0.3, "mlp_bias": rng.random() < 0.3}
    elif class_name == "MistralConfig":
        changes["sliding_window"] = rng.choice([None, 2, 4, 17, 100])
    else:
        changes["use_sliding_window"] = rng.random() < 0.4
        changes["sliding_window"] = rng.choice([2, 5, 23])
        changes["max_window_layers"] = rng.randrange(0, num_layers + 1)
    if class_name == "Qwen3Config":
        changes["attention_bias"] = rng.random() < 0.3
    return class_name, changes


def _rope(rng: random.Random) -> dict[str, Any]:
    theta = rng.choice([100.0, 10000.0, 1e6])
    scaled = {"rope_theta": theta, "factor": rng.choice([1.5, 2.0, 8.0])}
    trained = {"original_max_position_embeddings": rng.choice([90, 128])}
    waves = {"low_freq_factor": 1.0, "high_freq_factor": rng.choice([2.0, 4.0])}
    options = {"truncate": rng.random() < 0.5, "beta_fast": rng.choice([16.0, 32.0])}
    return rng.choice(
        [
            {"rope_type": "default", "rope_theta": theta},
            {"rope_type": "linear", **scaled},
            {"rope_type": "dynamic", **scaled},
            {"rope_type": "llama3", **scaled, **trained, **waves},
            {"rope_type": "yarn", **scaled, **trained, **options},
        ]
    )


def _prompts(rng: random.Random, vocab_size: int) -> list[list[int]]:
    stems = [[rng.randrange(2, vocab_size) for _ in range(rng.randrange(1, 50))] for _ in range(2)]
    prompts = []
    for _ in range(rng.randrange(1, 12)):
        tail = [rng.randrange(2, vocab_size) for _ in range(rng.randrange(1, 25))]
        stem = rng.choice([[], *stems])
        prompts.append(rng.choice([stem + tail, stem or tail, stem[: len(stem) // 2] + tail]))
    return prompts


def _settings(rng: random.Random, longest: int, num_prompts: int) -> dict[str, Any]:
    block_size = rng.choice([1, 2, 3, 5, 8, 16, 31, 32, 64, 128])
    batch = rng.choice([1, 2, 3, 8, 64])
    chunked = rng.random() < 0.8
    budget = max(batch, rng.choice([1, 2, 5, 16, 33, 128, 4096]))
    needed = -(-longest // block_size)
    # From a pool that holds one request and nothing more, to one that holds them all.
    blocks = needed + rng.choice([0, 1, 2, needed // 2, needed * num_prompts])
    return {
        "block_size": block_size,
        "num_gpu_blocks": 1 + blocks,
        "enable_prefix_caching": rng.random() < 0.7,
        "max_num_seqs": batch,
        "enable_chunked_prefill": chunked,
        "max_num_batched_tokens": budget if chunked else max(budget, 256),
        "max_model_len": rng.choice([None, 128]) if chunked else 128,
        "long_prefill_token_threshold": rng.choice([0, 0, 3, 20]),
        "scheduler_reserve_full_isl": rng.random() < 0.7,
        "policy": rng.choice(["fcfs", "fcfs", "priority"]),
        "attention_backend": rng.choice(["auto", "cpu_numba", "torch_reference"]),
        "kernels": rng.choice(["auto", "onednn", "numba", "torch"]),
    }
