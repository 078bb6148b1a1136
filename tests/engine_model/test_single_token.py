"""One call per layer says what the ordinary road says, for every kind of layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mini_vllm.attention.cpu_numba import CpuNumbaBackend
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.torch_reference import TorchReferenceBackend
from mini_vllm.kernels.numba_kernels import NumbaKernels
from mini_vllm.kernels.onednn import OneDnnKernels, why_not_onednn
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.rotary import RopeParameters
from mini_vllm.loader import default_dtype
from mini_vllm.models.decoder import DecoderForCausalLM
from mini_vllm.models.decoder_config import DecoderConfig

KINDS = {
    "llama": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
    "mistral": {"sliding_windows": (5, None)},
    "all biases": {"qkv_bias": True, "attention_output_bias": True, "mlp_bias": True},
    "one key head": {"num_kv_heads": 1, "num_heads": 3},
    "a head each": {"num_kv_heads": 4},
}
BLOCK_SIZE, BLOCK_IDS = 4, [5, 2, 7, 0]


def model_of(kind, dtype, kernels, backend):
    shape = {"num_heads": 4, "num_kv_heads": 2, "sliding_windows": (None, None), **KINDS[kind]}
    config = DecoderConfig(
        architecture="test",
        vocab_size=50,
        hidden_size=24,
        intermediate_size=40,
        num_layers=2,
        head_size=16,
        rms_norm_eps=1e-5,
        rope=RopeParameters(),
        **shape,
    )
    with default_dtype(dtype):
        model = DecoderForCausalLM(config, 64, backend, kernels)
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
    model.model.process_weights_after_loading()
    return model


def step(model, dtype, position):
    config = model.config
    rng = torch.Generator().manual_seed(1)
    shape = (2, 2, 8, config.num_kv_heads, BLOCK_SIZE, config.head_size)
    caches = torch.randn(shape, generator=rng).to(dtype)
    block = BLOCK_IDS[position // BLOCK_SIZE]
    metadata = AttentionMetadata(
        query_start_loc=torch.tensor([0, 1], dtype=torch.int32),
        seq_lens=torch.tensor([position + 1], dtype=torch.int32),
        block_table=torch.tensor([BLOCK_IDS], dtype=torch.int32),
        slot_mapping=torch.tensor([block * BLOCK_SIZE + position % BLOCK_SIZE]),
        max_query_len=1,
        max_seq_len=position + 1,
        num_actual_tokens=1,
    )
    with torch.no_grad():
        hidden = model(torch.tensor([7]), torch.tensor([position]), list(caches), metadata)
    return hidden, caches


@pytest.mark.skipif(why_not_onednn(torch.float32) is not None, reason="needs oneDNN")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("position", [0, 3, 13])
def test_agrees_with_the_ordinary_road_and_with_torch(kind, dtype, position):
    fused = model_of(kind, dtype, OneDnnKernels(), CpuNumbaBackend())
    assert fused.model.single_token is not None
    hidden, caches = step(fused, dtype, position)
    wide = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.06, "rtol": 0.02}
    for kernels, backend in (
        (NumbaKernels(), CpuNumbaBackend()),
        (TorchKernels(), TorchReferenceBackend()),
    ):
        other = model_of(kind, dtype, kernels, backend)
        assert other.model.single_token is None
        expected, expected_caches = step(other, dtype, position)
        torch.testing.assert_close(hidden, expected, **wide)
        torch.testing.assert_close(caches, expected_caches, **wide)


def test_several_tokens_or_threads_take_the_ordinary_road(monkeypatch):
    path = model_of("llama", torch.float32, OneDnnKernels(), CpuNumbaBackend()).model.single_token
    assert path.suits(torch.tensor([1]))
    assert not path.suits(torch.tensor([1, 2]))
    monkeypatch.setattr("mini_vllm.models.single_token.num_threads", lambda work: 2)
    assert not path.suits(torch.tensor([1]))


def test_nothing_is_written_but_the_tokens_own_slot():
    model = model_of("qwen3", torch.float32, OneDnnKernels(), CpuNumbaBackend())
    before = {name: p.clone() for name, p in model.named_parameters()}
    _, caches = step(model, torch.float32, 6)
    rng = torch.Generator().manual_seed(1)
    untouched = torch.randn(caches.shape, generator=rng)
    changed = np.unique((caches != untouched).nonzero()[:, [2, 4]].numpy(), axis=0)
    assert changed.tolist() == [[BLOCK_IDS[1], 2]]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
