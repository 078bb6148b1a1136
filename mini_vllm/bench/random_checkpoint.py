r"""What can be measured before a model is trained?

Everything but the quality of its answers. Time does not depend on what the weights are, so a
checkpoint of random ones in the right shape is as slow as a real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: The shape of the book's model: a Llama of about four million parameters.
BOOK_SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "dtype": "float32",
}


#: A Qwen3 of 0.6 billion parameters, by its published configuration.
QWEN3_0_6B_SHAPE: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "tie_word_embeddings": True,
    "attention_bias": False,
    "use_sliding_window": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "dtype": "bfloat16",
}

#: A Qwen3 of 8 billion parameters, by its published configuration.
QWEN3_8B_SHAPE: dict[str, Any] = {
    **QWEN3_0_6B_SHAPE,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}


def write_random_checkpoint(
    directory: Path,
    shape: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    spread: float = 0.06,
    device: str = "cpu",
) -> Path:
    r"""Write `config.json` and `model.safetensors` with normal weights; returns `directory`.

    `spread` is the standard deviation; norms are 1. At 0.06 a model of this size says many
    different tokens. Weights are stored in the type that the shape names, float32 if none.
    They are drawn on `device`: the same on one kind of device, and others on another.
    """
    import torch
    from safetensors.torch import save_file

    from mini_vllm.layers.weight_slot import named_slots
    from mini_vllm.models.decoder import DecoderForCausalLM
    from mini_vllm.models.registry import decoder_config

    shape = shape or BOOK_SHAPE
    model = DecoderForCausalLM(decoder_config(shape), max_position=1)
    rng = torch.Generator(device).manual_seed(seed)
    dtype = getattr(torch, shape.get("dtype", "float32"))
    tensors = {
        name: torch.ones(slot.shape, dtype=dtype)
        if len(slot.shape) == 1 and name.endswith("norm.weight")
        else (torch.randn(slot.shape, generator=rng, device=device) * spread).to(dtype).cpu()
        for name, slot in named_slots(model).items()
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(shape, indent=2), encoding="utf-8")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory
