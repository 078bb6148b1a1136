r"""The architecture from which the others are counted as differences.

Pre-norm, rotary positions, grouped queries, a gated MLP, no biases. The two switches are for
descendants that kept a bias: `attention_bias` puts one on all four projections of attention,
`mlp_bias` on the three of the MLP. Upstream:
{up}`vllm/model_executor/models/llama.py#LlamaForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_vllm.errors import CheckpointError
from mini_vllm.models.decoder_config import DecoderConfig, flag, refuse_windows, shape_from_hf


def llama(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """The config of a `LlamaForCausalLM`."""
    refuse_windows(hf_config, "a Llama has no windows")
    if hf_config.get("sliding_window") is not None and hf_config.get("use_sliding_window", True):
        raise CheckpointError(
            f"sliding_window={hf_config['sliding_window']!r}, but a Llama has no windows"
        )
    attention_bias = flag(hf_config, "attention_bias")
    return DecoderConfig(
        architecture="LlamaForCausalLM",
        **shape_from_hf(hf_config),
        qkv_bias=attention_bias,
        attention_output_bias=attention_bias,
        mlp_bias=flag(hf_config, "mlp_bias"),
    )
