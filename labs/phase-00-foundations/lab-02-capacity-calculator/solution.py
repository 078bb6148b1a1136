r"""From a model's `config.json` and a device's memory to the number of requests that fit.

The configs in {py:data}`CONFIGS` are those of public models, cut down to the keys that decide about
the cache. Everything else follows. Run this file to see them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}

#: What `config.json` of these repositories says, under the file's own names. A key that the file
#: does not have, or has as null, is not here, or is None.
CONFIGS: dict[str, dict[str, Any]] = {
    "meta-llama/Meta-Llama-3-8B": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "meta-llama/Meta-Llama-3-70B": {
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
    "mistralai/Mistral-7B-v0.1": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "Qwen/Qwen3-0.6B": {
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "meta-llama/Llama-2-7b-hf": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "deepseek-ai/DeepSeek-V2": {
        "hidden_size": 5120,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
    },
    "deepseek-ai/DeepSeek-V3": {
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
    },
}


class Shape(NamedTuple):
    r"""What decides about the cache.

    `vectors` is how many vectors a head keeps of a token: a key and a value are 2; a *latent*, from
    which both can be computed, is 1. `head_size` is the length of one such vector, `kv_heads` how
    many heads keep their own.
    """

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vectors: int = 2


def shape_of(config: Mapping[str, Any]) -> Shape:
    r"""Read the shape out of a parsed `config.json`.

    | key | absent or null means |
    |---|---|
    | `num_key_value_heads` | every query head keeps its own |
    | `head_dim` | the hidden size is split evenly among the query heads |
    | `kv_lora_rank` | keys and values are kept |

    With a `kv_lora_rank` one latent of that length is kept for all heads together, and behind it a
    key of length `qk_rope_head_dim` that carries the position: one vector in all. The file's
    `num_key_value_heads` has no say then.
    """
    # lab: begin task 1 "read a config"
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    if config.get("kv_lora_rank") is not None:
        latent = config["kv_lora_rank"] + config["qk_rope_head_dim"]
        return Shape(layers, heads, kv_heads=1, head_size=latent, vectors=1)
    return Shape(
        layers,
        heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
    )
    # lab: end


def kv_heads_per_device(shape: Shape, devices: int) -> int:
    r"""Heads that keep their own, on each of the devices that split a layer among them.

    Each device has an equal share of the query heads, and keeps what *its* query heads read. There
    are as many devices as divide the query heads, else a `ValueError`. Where there are fewer heads
    to keep than devices, several devices keep the same one, and the devices must be a multiple of
    the heads; where there are more, the heads must be a multiple of the devices. All else is a
    `ValueError` that names both numbers.
    """
    # lab: begin task 2 "share the heads out"
    more, fewer = max(shape.kv_heads, devices), min(shape.kv_heads, devices)
    if shape.heads % devices or more % fewer:
        raise ValueError(f"{shape.heads} and {shape.kv_heads} heads over {devices} devices")
    return max(1, shape.kv_heads // devices)
    # lab: end


def bytes_per_token(
    layers: int, kv_heads: int, head_size: int, vectors: int, element_bytes: int
) -> int:
    r"""What a device keeps of one token, in all layers; `kv_heads` are those of the device."""
    # lab: begin task 3 "price a token"
    return vectors * layers * kv_heads * head_size * element_bytes
    # lab: end


def num_blocks(cache_bytes: int, token_bytes: int, block_size: int) -> int:
    r"""Whole blocks of `block_size` tokens that fit into the memory.

    A pool never hands out one of its blocks, so with fewer than two nothing can be served: that is
    a `ValueError` that names the memory.
    """
    # lab: begin task 4 "count the blocks"
    blocks = cache_bytes // (token_bytes * block_size)
    if blocks < 2:
        raise ValueError(f"{cache_bytes} bytes hold {blocks} blocks, 2 are needed")
    return blocks
    # lab: end


def requests_at_once(blocks: int, num_tokens: int, block_size: int) -> int:
    r"""Requests of `num_tokens` kept tokens each that a pool of `blocks` blocks holds together.

    A block belongs to one request (nothing is shared here), and one block of the pool is never
    handed out.
    """
    # lab: begin task 5 "count the requests"
    each = -(-num_tokens // block_size)
    return (blocks - 1) // each
    # lab: end


def cache_bytes(
    device_bytes: int, utilization: float, weight_bytes: int, working_bytes: int, devices: int
) -> int:
    r"""Memory that is left for the cache on each of the devices that share a model.

    The engine may use the share `utilization` of the device, rounded down to a byte. From that goes
    the device's part of the weights, rounded up, and what a step needs to work in, on each device.
    Nothing left is a `ValueError` that names what is lacking.
    """
    # lab: begin task 6 "say what is left for the cache"
    left = int(device_bytes * utilization) - -(-weight_bytes // devices) - working_bytes
    if left <= 0:
        raise ValueError(f"{weight_bytes} bytes of weights over {devices} devices: {left} left")
    return left
    # lab: end


def price(shape: Shape, dtype: str, devices: int = 1) -> int:
    r"""Bytes of one token on each device; all parts together. Given."""
    kept = kv_heads_per_device(shape, devices)
    return bytes_per_token(shape.layers, kept, shape.head_size, shape.vectors, ELEMENT_BYTES[dtype])


def main() -> None:
    r"""Print what a token costs in each model, and how many requests an 80 GB device holds."""
    print(f"{'bytes a token, bfloat16':30}{'1 device':>10}{'8 devices':>11}{'16 devices':>12}")
    for name, config in CONFIGS.items():
        found = []
        for devices in (1, 8, 16):
            found.append(price(shape_of(config), "bfloat16", devices))
        print(f"{name:30}{found[0]:10,}{found[1]:11,}{found[2]:12,}")
    # 8.03e9 weights in two bytes, and room to work in
    memory = cache_bytes(80 * 10**9, 0.92, 16_060_522_496, 2 * 10**9, 1)
    print(f"\nLlama-3-8B on 80 GB: {memory / 1e9:.1f} GB for the cache")
    for dtype in ("bfloat16", "fp8"):
        token = price(shape_of(CONFIGS["meta-llama/Meta-Llama-3-8B"]), dtype)
        blocks = num_blocks(memory, token, 16)
        print(f"  {dtype:9}{blocks:8,} blocks", end="")
        for length in (1_000, 8_192):
            print(f"{requests_at_once(blocks, length, 16):7,} of {length:,} tokens", end="")
        print()


if __name__ == "__main__":
    main()
