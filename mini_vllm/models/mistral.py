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

from mini_vllm.errors import CheckpointError
from mini_vllm.models.decoder_config import DecoderConfig, shape_from_hf, windows_by_layer

#: The window of a config that does not mention one, in tokens.
WINDOW = 4096


def mistral(hf_config: Mapping[str, Any]) -> DecoderConfig:
    """The config of a `MistralForCausalLM`."""
    shape = shape_from_hf({"num_key_value_heads": 8, **hf_config})
    windows = windows_by_layer(hf_config, first_windowed_layer=0, default=WINDOW)
    wanted = hf_config.get("sliding_window", WINDOW)
    if any(window != wanted for window in windows["sliding_windows"]):
        raise CheckpointError(
            f"layer_types has layers of full attention and sliding_window is {wanted}; the layers "
            "of a Mistral are all alike"
        )
    return DecoderConfig(architecture="MistralForCausalLM", **(shape | windows))
