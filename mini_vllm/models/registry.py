r"""Which models can this engine run?

The ones in the table below. A checkpoint names its architecture in `config.json`; the name is
looked up, and a name that is not there is an error that lists those that are. Nothing is guessed
from similar names, and no code from the checkpoint is ever run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mini_vllm.errors import CheckpointError
from mini_vllm.models.decoder_config import DecoderConfig
from mini_vllm.models.llama import llama
from mini_vllm.models.mistral import mistral
from mini_vllm.models.qwen2 import qwen2
from mini_vllm.models.qwen3 import qwen3

#: From a name in `config.json` to the function that reads the rest of the file.
ADAPTERS: dict[str, Callable[[Mapping[str, Any]], DecoderConfig]] = {
    "LlamaForCausalLM": llama,
    "MistralForCausalLM": mistral,
    "Qwen2ForCausalLM": qwen2,
    "Qwen3ForCausalLM": qwen3,
}


def decoder_config(hf_config: Mapping[str, Any]) -> DecoderConfig:
    r"""The shape of the model that a parsed `config.json` describes.

    Raises {py:class}`~mini_vllm.errors.CheckpointError` when its `architectures` holds none that
    is supported.
    """
    names = hf_config.get("architectures") or []
    for name in names:
        if name in ADAPTERS:
            return ADAPTERS[name](hf_config)
    found = ", ".join(names) if names else "none"
    raise CheckpointError(
        f"unsupported architecture ({found}); supported are {', '.join(sorted(ADAPTERS))}"
    )
