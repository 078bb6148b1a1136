r"""What must be known of a checkpoint to build the model that fits it?

A dozen numbers and a few switches. {py:class}`DecoderConfig` holds them under this engine's names,
with every default resolved: whoever builds a layer never asks whether a key was present. The
guesses that a `config.json` invites (is the head size `hidden_size / num_heads`? are there as many
key heads as query heads?) are made here, once.

What the model cannot do is refused here too. A config may ask for another activation, for
quantized weights, or for an architecture that nobody has taught this engine; a model that ignored
the request would load without a murmur and answer with noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mini_vllm.errors import CheckpointError
from mini_vllm.layers.rotary import RopeParameters


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    r"""The shape of a dense decoder, complete.

    `head_size` need not be `hidden_size / num_heads`. `sliding_windows` has one entry per layer:
    how many positions it sees, itself included, or None for all. `attention_output_bias` and
    `mlp_bias` belong to some old Llamas. Upstream keeps the parsed file and asks it again at each
    use ({up}`vllm/config/model.py#ModelConfig.get_head_size`,
    {up}`vllm/config/model.py#ModelConfig.get_num_kv_heads`).
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    rms_norm_eps: float
    rope: RopeParameters
    sliding_windows: tuple[int | None, ...]
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    def kv_cache_bytes_per_token(self, bytes_per_element: int) -> int:
        r"""What one token costs to remember: keys and values, of all key heads, in all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * bytes_per_element


#: Switches of other architectures, each with the value at which it does nothing. A checkpoint that
#: is named like a Llama and sets one asks for arithmetic that is not here; some engines honour it
#: and some do not, so that it has no one right answer.
FOREIGN: dict[str, Any] = {
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "attention_multiplier": None,
    "query_pre_attn_scalar": None,
    "clip_qkv": None,
    "alibi": None,
    "attention_chunk_size": None,
    "no_rope_layers": None,
    "dual_chunk_attention_config": None,
    "llama_4_scaling": None,
    "num_experts": 0,
    "num_local_experts": 0,
}


def shape_from_hf(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    r"""The fields that every architecture spells alike, as arguments of {py:class}`DecoderConfig`.

    Raises {py:class}`~mini_vllm.errors.CheckpointError` for a missing key, an activation other
    than SiLU, quantized weights, heads that do not divide, and a switch of {py:data}`FOREIGN`.
    """
    quantization = hf_config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown")
        raise CheckpointError(f"quantized weights are not supported (quant_method {method!r})")
    activation = hf_config.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise CheckpointError(f"hidden_act must be 'silu', got {activation!r}")
    for key, neutral in FOREIGN.items():
        if hf_config.get(key) not in (None, False, neutral):
            raise CheckpointError(
                f"config.json asks for {key}={hf_config[key]!r}, which this engine does not compute"
            )

    hidden_size = _required(hf_config, "hidden_size")
    num_heads = _required(hf_config, "num_attention_heads")
    num_kv_heads = hf_config.get("num_key_value_heads") or num_heads
    head_size = hf_config.get("head_dim") or hidden_size // num_heads
    if num_heads % num_kv_heads:
        raise CheckpointError(
            f"num_attention_heads={num_heads} is not a multiple of "
            f"num_key_value_heads={num_kv_heads}"
        )
    if head_size % 2:
        raise CheckpointError(f"head_dim={head_size} is odd; a rotary embedding turns pairs")
    num_layers = _required(hf_config, "num_hidden_layers")
    return {
        "vocab_size": _required(hf_config, "vocab_size"),
        "hidden_size": hidden_size,
        "intermediate_size": _required(hf_config, "intermediate_size"),
        "num_layers": num_layers,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_size": head_size,
        "rms_norm_eps": _positive(hf_config, "rms_norm_eps", 1e-6),
        "rope": RopeParameters.from_hf(hf_config),
        "sliding_windows": (None,) * num_layers,
        "tie_word_embeddings": flag(hf_config, "tie_word_embeddings"),
    }


def windows_by_layer(
    hf_config: Mapping[str, Any], first_windowed_layer: int, default: int
) -> dict[str, Any]:
    r"""`sliding_windows` for a model whose layers may differ, as an argument of
    {py:class}`DecoderConfig`.

    `layer_types` decides where it is given (`"sliding_attention"` or `"full_attention"` per
    layer); without it, the layers from `first_windowed_layer` on have the window. `default` is the
    window of a family whose config does not mention one. A `sliding_window` of null is none, and
    then no layer may be called sliding.
    """
    window, num_layers = hf_config.get("sliding_window", default), hf_config["num_hidden_layers"]
    if window is not None and (isinstance(window, bool) or not isinstance(window, int)):
        raise CheckpointError(f"sliding_window must be an integer or null, got {window!r}")
    if window is not None and window < 1:
        raise CheckpointError(f"sliding_window must be at least 1, got {window}")
    kinds = layer_kinds(hf_config) or [
        "sliding_attention"
        if window is not None and layer >= first_windowed_layer
        else "full_attention"
        for layer in range(num_layers)
    ]
    if window is None and "sliding_attention" in kinds:
        raise CheckpointError("layer_types has sliding_attention, and sliding_window is null")
    windows = tuple(window if kind == "sliding_attention" else None for kind in kinds)
    return {"sliding_windows": windows}


def layer_kinds(hf_config: Mapping[str, Any]) -> list[str] | None:
    """`layer_types`, checked: one known kind for each layer; `None` where the config has none."""
    kinds = hf_config.get("layer_types")
    if kinds is None:
        return None
    num_layers = hf_config["num_hidden_layers"]
    unknown = set(kinds) - {"sliding_attention", "full_attention"}
    if unknown or len(kinds) != num_layers:
        raise CheckpointError(
            f"layer_types must name {num_layers} layers of full or sliding attention, got {kinds}"
        )
    return list(kinds)


def refuse_windows(hf_config: Mapping[str, Any], why: str) -> None:
    r"""Raise if a config asks for windows on a model that has none.

    One reader of such a file applies the window and another passes over it, so the file does not
    say which model it is. `why` ends the message.
    """
    if "sliding_attention" in (layer_kinds(hf_config) or ()):
        raise CheckpointError(f"layer_types has sliding_attention, but {why}")


def flag(hf_config: Mapping[str, Any], key: str) -> bool:
    """A switch, off where it is absent or null; anything but true and false is refused."""
    value = hf_config.get(key)
    if value not in (None, False, True):
        raise CheckpointError(f"config.json must give {key} as true or false, got {value!r}")
    return bool(value)


def _positive(hf_config: Mapping[str, Any], key: str, default: float) -> float:
    value = hf_config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise CheckpointError(f"config.json must give {key} as a number above 0, got {value!r}")
    return float(value)


def _required(hf_config: Mapping[str, Any], key: str) -> int:
    value = hf_config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"config.json must give {key} as a positive integer, got {value!r}")
    return value
