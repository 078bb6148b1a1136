r"""A Llama in which every layer sees only the last few thousand tokens.

With a window of $w$, a token attends to itself and the $w - 1$ before it; two layers up, it
has heard indirectly of $2w$. Later Mistrals set `sliding_window` to null, and are Llamas.

The pages of tokens that slid out of every window could be freed while the request runs. Upstream
does so, with a manager of its own for such layers
({up}`vllm/v1/core/single_type_kv_cache_manager.py#SlidingWindowManager`); here they stay until the
end, which wastes memory and changes no result: attention never reads them. Upstream:
{up}`vllm/model_executor/models/mistral.py#MistralForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mini_vllm.models.decoder_config import DecoderConfig, shape_from_hf, windows_by_layer


def mistral(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """The config of a `MistralForCausalLM`."""
    shape = shape_from_hf(hf_config) | windows_by_layer(hf_config, first_windowed_layer=0)
    return DecoderConfig(architecture="MistralForCausalLM", **shape)
