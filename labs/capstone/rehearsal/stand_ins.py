r"""Upstream's scheduler tests name models of a hub. What do they need of them?

A configuration and some tokenizer, found under the model's name relative to the working directory.
No tensor is ever made, so nothing is downloaded. The configurations below hold the sizes that the
tests' arithmetic depends on; the tokenizer knows six words and an image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_OPT = {
    "architectures": ["OPTForCausalLM"],
    "model_type": "opt",
    "hidden_size": 768,
    "ffn_dim": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 2048,
    "vocab_size": 50272,
    "word_embed_proj_dim": 768,
    "do_layer_norm_before": True,
    "torch_dtype": "float16",
    "bos_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


def _qwen(model_type: str, architecture: str, **sizes: int | bool) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": 151936,
        "torch_dtype": "float16",
        **sizes,
    }


MODELS: dict[str, dict[str, Any]] = {
    "facebook/opt-125m": _OPT,
    "Qwen/Qwen1.5-7B": _qwen(
        "qwen2",
        "Qwen2ForCausalLM",
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=32768,
    ),
    "Qwen/Qwen3-0.6B": _qwen(
        "qwen3",
        "Qwen3ForCausalLM",
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
    ),
}

#: A model that takes images: its text half, its vision half, and 24 x 24 patches between them.
MODELS["llava-hf/llava-1.5-7b-hf"] = {
    "architectures": ["LlavaForConditionalGeneration"],
    "model_type": "llava",
    "image_token_index": 6,
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "projector_hidden_act": "gelu",
    "torch_dtype": "float16",
    "text_config": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "vocab_size": 32064,
    },
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "projection_dim": 768,
        "image_size": 336,
        "patch_size": 14,
    },
}
#: What turns an image into patches, in the kind that needs no torchvision.
_PROCESSORS: dict[str, dict[str, Any]] = {
    "preprocessor_config.json": {
        "image_processor_type": "CLIPImageProcessorPil",
        "size": {"shortest_edge": 336},
        "crop_size": {"height": 336, "width": 336},
    },
    "processor_config.json": {
        "processor_class": "LlavaProcessor",
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
    },
}

_WORDS = ("<pad>", "<s>", "</s>", "a", "b", "c", "<image>")
_TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [
        {
            "id": _WORDS.index("<image>"),
            "content": "<image>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "vocab": {word: number for number, word in enumerate(_WORDS)},
        "unk_token": "<pad>",
    },
}
_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<pad>",
}


def write_stand_ins(hub: Path) -> None:
    r"""Write every stand-in below `hub`, over what lies there."""
    for name, config in MODELS.items():
        folder = hub / name
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "config.json": config,
            "tokenizer.json": _TOKENIZER,
            "tokenizer_config.json": _TOKENIZER_CONFIG,
        }
        if "vision_config" in config:
            files |= _PROCESSORS
        for file, content in files.items():
            (folder / file).write_text(json.dumps(content, indent=1), encoding="utf-8")
