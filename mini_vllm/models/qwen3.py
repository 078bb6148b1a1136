r"""Qwen2 without the bias, and with a norm on every head of the queries and keys.

Scores are dot products, and nothing else bounds them: if queries and keys grow in training, softmax
saturates. Norming each head to unit size first keeps a score within a fixed range, whatever the
projections do. Upstream: {up}`vllm/model_executor/models/qwen3.py#Qwen3ForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_vllm.models.decoder_config import DecoderConfig, flag
from mini_vllm.models.qwen2 import qwen_shape


def qwen3(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """The config of a `Qwen3ForCausalLM`."""
    attention_bias = flag(hf_config, "attention_bias")
    return DecoderConfig(
        architecture="Qwen3ForCausalLM",
        **qwen_shape({"head_dim": 128, **hf_config}),
        qk_norm=True,
        qkv_bias=attention_bias,
        attention_output_bias=attention_bias,
    )
