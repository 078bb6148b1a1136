r"""A Llama with a bias on queries, keys and values, and none on the way out.

The config does not say so; the code of the family does. A window exists in the config of every
Qwen2 and is in force in none that was published: `use_sliding_window` is false, and then
`sliding_window` means nothing. Upstream:
{up}`vllm/model_executor/models/qwen2.py#Qwen2ForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_vllm.models.decoder_config import (
    DecoderConfig,
    flag,
    refuse_windows,
    shape_from_hf,
    windows_by_layer,
)


def qwen_shape(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """What Qwen2 and Qwen3 spell alike: the common shape, and windows if they are switched on."""
    shape = shape_from_hf(hf_config)
    if not flag(hf_config, "use_sliding_window"):
        refuse_windows(hf_config, "use_sliding_window is false")
        return shape
    first = hf_config.get("max_window_layers", 28)
    return shape | windows_by_layer(hf_config, first_windowed_layer=first, default=4096)


def qwen2(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """The config of a `Qwen2ForCausalLM`."""
    return DecoderConfig(architecture="Qwen2ForCausalLM", **qwen_shape(hf_config), qkv_bias=True)
