"""Tiny random checkpoints: made here, by transformers, so that nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

SMALL = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Wide enough that a random model does not say one token for ever.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


_YARN = {"factor": 4.0, "original_max_position_embeddings": 64}
_LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

#: name -> (config class, changes to the small shape)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "llama-tied-wide-heads": ("LlamaConfig", {"tie_word_embeddings": True, "head_dim": 48}),
    "llama-one-kv-head": ("LlamaConfig", {"num_key_value_heads": 1, "num_hidden_layers": 3}),
    "llama-biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama-rope-linear": ("LlamaConfig", rope("linear", factor=4.0)),
    "llama-rope-dynamic": ("LlamaConfig", rope("dynamic", factor=2.0)),
    "llama-rope-llama3": ("LlamaConfig", rope("llama3", **_LLAMA3)),
    "llama-rope-yarn": ("LlamaConfig", rope("yarn", **_YARN)),
    "llama-rope-yarn-options": (
        "LlamaConfig",
        rope("yarn", **_YARN, mscale=0.7, mscale_all_dim=1.3, truncate=False, beta_fast=8.0),
    ),
    "qwen2": ("Qwen2Config", {}),
    "qwen2-windows": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "qwen2-rope-yarn": ("Qwen2Config", rope("yarn", **_YARN, attention_factor=0.8)),
    "qwen3": ("Qwen3Config", {"head_dim": 32, "tie_word_embeddings": True}),
    "qwen3-biases": ("Qwen3Config", {"head_dim": 16, "attention_bias": True}),
    "mistral": ("MistralConfig", {"sliding_window": 11}),
    "mistral-no-window": ("MistralConfig", {"sliding_window": None, "head_dim": 16}),
}


def write_checkpoint(
    directory: Path,
    class_name: str,
    changes: dict[str, Any],
    *,
    seed: int = 0,
    shard_size: str | None = None,
) -> None:
    """Random weights of a shape, as transformers saves them."""
    config = getattr(transformers, class_name)(**{**SMALL, **changes})
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norm weights and biases start as constants; a test needs them to differ.
            if parameter.dim() == 1:
                center = 0.0 if name.endswith("bias") else 1.0
                parameter.copy_(center + 0.3 * torch.randn_like(parameter))
    limit = {"max_shard_size": shard_size} if shard_size else {}
    model.eval().save_pretrained(directory, **limit)
