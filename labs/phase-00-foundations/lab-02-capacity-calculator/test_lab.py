r"""Lab 02: configs of public models, counted by hand, and the engine asked for its opinion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.engines import request, scripted_engine

LLAMA_8B = "meta-llama/Meta-Llama-3-8B"
# layers, query heads, heads that keep, length, vectors
SHAPES = {
    LLAMA_8B: (32, 32, 8, 128, 2),
    "meta-llama/Meta-Llama-3-70B": (80, 64, 8, 128, 2),
    "mistralai/Mistral-7B-v0.1": (32, 32, 8, 128, 2),
    "Qwen/Qwen3-0.6B": (28, 16, 8, 128, 2),
    "meta-llama/Llama-2-7b-hf": (32, 32, 32, 128, 2),
    "deepseek-ai/DeepSeek-V2": (60, 128, 1, 576, 1),
    "deepseek-ai/DeepSeek-V3": (61, 128, 1, 576, 1),
}
BF16_BYTES = {
    LLAMA_8B: 131_072,
    "meta-llama/Meta-Llama-3-70B": 327_680,
    "mistralai/Mistral-7B-v0.1": 131_072,
    "Qwen/Qwen3-0.6B": 114_688,
    "meta-llama/Llama-2-7b-hf": 524_288,
    "deepseek-ai/DeepSeek-V2": 69_120,
    "deepseek-ai/DeepSeek-V3": 70_272,
}


# ---------------------------------------------------------------- task 1: configs


@pytest.mark.task(1)
@pytest.mark.parametrize("name", SHAPES)
def test_the_config_says_it_all(impl, name):
    assert impl.shape_of(impl.CONFIGS[name]) == SHAPES[name]


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"num_key_value_heads": 2}, (2, 6, 2, 4, 2)),
        ({"num_key_value_heads": 1, "head_dim": 5}, (2, 6, 1, 5, 2)),
        ({"head_dim": 32}, (2, 6, 6, 32, 2)),
        ({"num_key_value_heads": None, "head_dim": None, "kv_lora_rank": None}, (2, 6, 6, 4, 2)),
        ({"kv_lora_rank": 10, "qk_rope_head_dim": 3, "head_dim": 3}, (2, 6, 1, 13, 1)),
    ],
)
def test_what_is_absent_has_a_meaning(impl, changed, expected):
    config = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, **changed}
    before = dict(config)
    assert impl.shape_of(config) == expected
    assert config == before


# ---------------------------------------------------------------- task 2: devices


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "devices", "kept"),
    [
        (64, 8, 1, 8),
        (64, 8, 2, 4),
        (64, 8, 8, 1),
        (64, 8, 16, 1),
        (64, 8, 64, 1),
        (71, 1, 71, 1),
        (12, 12, 3, 4),
        (12, 4, 12, 1),
    ],
)
def test_every_device_keeps_what_its_queries_read(impl, heads, kv_heads, devices, kept):
    shape = impl.Shape(2, heads, kv_heads, 128)
    assert impl.kv_heads_per_device(shape, devices) == kept


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "devices"), [(64, 8, 3), (64, 8, 128), (12, 4, 6), (12, 6, 4), (71, 1, 2)]
)
def test_what_cannot_be_shared_out_is_refused(impl, heads, kv_heads, devices):
    with pytest.raises(ValueError, match=rf"{kv_heads}\D.*{devices}|{devices}\D.*{kv_heads}"):
        impl.kv_heads_per_device(impl.Shape(2, heads, kv_heads, 128), devices)


# ---------------------------------------------------------------- task 3: a token


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((32, 8, 128, 2, 2), 131_072),
        ((80, 1, 128, 2, 2), 40_960),
        ((61, 1, 576, 1, 2), 70_272),
        ((3, 5, 7, 2, 1), 210),
        ((3, 5, 7, 1, 4), 420),
    ],
)
def test_the_price_of_a_token(impl, numbers, expected):
    assert impl.bytes_per_token(*numbers) == expected


# ---------------------------------------------------------------- task 4: blocks


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("memory", "token", "size", "blocks"),
    [
        (10**9, 131_072, 16, 476),
        (480, 10, 16, 3),
        (479, 10, 16, 2),
        (481, 10, 16, 3),
        (320, 10, 16, 2),
    ],
)
def test_only_whole_blocks_count(impl, memory, token, size, blocks):
    assert impl.num_blocks(memory, token, size) == blocks


@pytest.mark.task(4)
@pytest.mark.parametrize("memory", [319, 160, 3])
def test_a_single_block_serves_nobody(impl, memory):
    with pytest.raises(ValueError, match=str(memory)):
        impl.num_blocks(memory, 10, 16)


# ---------------------------------------------------------------- task 5: requests


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("blocks", "num_tokens", "size", "requests"),
    [(100, 100, 16, 14), (9, 16, 16, 8), (9, 17, 16, 4), (9, 128, 16, 1), (9, 129, 16, 0)],
)
def test_a_request_takes_whole_blocks(impl, blocks, num_tokens, size, requests):
    assert impl.requests_at_once(blocks, num_tokens, size) == requests


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("blocks", "num_tokens", "size"), [(100, 100, 16), (8, 16, 4), (9, 17, 4), (20, 10, 1)]
)
def test_the_engine_admits_as_many(impl, truth, blocks, num_tokens, size):
    engine = scripted_engine(
        blocks=blocks,
        block_size=size,
        budget=4096,
        seats=64,
        max_model_len=128,
        prefix_caching=False,
    )
    for number in range(20):
        engine.add_request(request(f"r{number}", range(num_tokens), max_tokens=9))
    engine.step()
    running = len(engine.scheduler.running)
    if blocks == 100:
        truth("at-once", running)
    assert impl.requests_at_once(blocks, num_tokens, size) == running


# ---------------------------------------------------------------- task 6: memory


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("numbers", "left"),
    [
        ((1000, 0.9, 300, 50, 1), 550),
        ((1000, 0.9, 300, 50, 2), 700),
        ((1000, 0.9, 301, 50, 2), 699),
        ((999, 0.5, 0, 0, 1), 499),
        ((1000, 1.0, 949, 50, 1), 1),
    ],
)
def test_what_is_left_for_the_cache(impl, numbers, left):
    assert impl.cache_bytes(*numbers) == left


@pytest.mark.task(6)
@pytest.mark.parametrize("weights", [950, 2000])
def test_nothing_left_is_refused(impl, weights):
    with pytest.raises(ValueError, match=str(weights)):
        impl.cache_bytes(1000, 1.0, weights, 50, 1)


# ---------------------------------------------------------------- together


@pytest.mark.task(1, 2, 3)
@pytest.mark.parametrize("name", BF16_BYTES)
def test_public_models(impl, name):
    shape = impl.shape_of(impl.CONFIGS[name])
    assert impl.price(shape, "bfloat16") == BF16_BYTES[name]
    assert impl.price(shape, "fp8") * 4 == impl.price(shape, "float32") == 2 * BF16_BYTES[name]


@pytest.mark.task(1, 2, 3)
def test_what_you_predicted_about_them(impl, truth):
    shapes = {name: impl.shape_of(config) for name, config in impl.CONFIGS.items()}
    price = {name: impl.price(shape, "bfloat16") for name, shape in shapes.items()}
    small = price["Qwen/Qwen3-0.6B"] / price[LLAMA_8B]
    sizes = ("under a tenth", "a tenth to a half", "more than a half", "more than the 8B's")
    truth("8b-against-06b", sizes[sum(small > edge for edge in (0.1, 0.5, 1.0))])
    latent = price["deepseek-ai/DeepSeek-V3"] / price[LLAMA_8B]
    sizes = ("half as large", "as large", "twice as large")
    found = next((size for size, at in zip(sizes, (0.75, 1.5, 3)) if latent < at), None)
    truth("mla", f"about {found}" if found else "over ten times as large")
    big = impl.price(shapes["meta-llama/Meta-Llama-3-70B"], "bfloat16", 16)
    truth("70b-tp16", big)
    truth("mla-tp8", impl.price(shapes["deepseek-ai/DeepSeek-V3"], "bfloat16", 8))
    assert big == impl.price(shapes["meta-llama/Meta-Llama-3-70B"], "bfloat16", 8) == 40_960
    assert impl.price(shapes["deepseek-ai/DeepSeek-V3"], "bfloat16", 8) == 70_272


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4)
def test_the_real_engine_allocates_as_much(impl):
    from labkit.real_model import checkpoint, real_engine

    config = json.loads(Path(checkpoint(), "config.json").read_text())
    token = impl.price(impl.shape_of(config), "float32")
    runner = real_engine(blocks=33, block_size=8).engine_core.executor.model_runner
    held = sum(cache.numel() * cache.element_size() for cache in runner.kv_caches)
    assert held == token * 8 * 33
    assert impl.num_blocks(held, token, 8) == 33
    assert impl.num_blocks(held - 1, token, 8) == 32
