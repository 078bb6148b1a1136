"""A model on the Triton kernels says what it says on the plain ones."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from mini_vllm import LLM, SamplingParams
from mini_vllm.errors import ConfigError
from mini_vllm.kernels.selector import select_kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton_kernels import TritonKernels
from mini_vllm.layers.attention import Attention
from mini_vllm.layers.mlp import GatedMLP
from mini_vllm.layers.rotary import RotaryEmbedding

CHECKPOINT = str(Path(__file__).parents[3] / "book" / "model" / "checkpoint")
BOTH = (TorchKernels(), TritonKernels(interpreted=True))


def test_the_choice_by_name() -> None:
    choice = select_kernels(torch.device("cpu"), torch.bfloat16, "triton")
    assert (choice.kernels.name, choice.reason) == ("triton", "asked for by name")
    assert select_kernels(torch.device("cpu"), torch.bfloat16).kernels.name != "triton"


def test_nobody_interprets_by_accident() -> None:
    with pytest.raises(ConfigError, match="in a process that interprets"):
        TritonKernels()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_layers_around_attention(dtype: torch.dtype) -> None:
    tolerance = (
        {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.1, "rtol": 0.1}
    )
    x = torch.randn(5, 64).to(dtype)
    mlps = [GatedMLP(64, 96, kernels=kernels).to(dtype) for kernels in BOTH]
    for parameter, other in zip(mlps[0].parameters(), mlps[1].parameters()):
        other.data = parameter.data.normal_().div_(8)
    torch.testing.assert_close(mlps[1](x), mlps[0](x), **tolerance)

    rotary, positions = RotaryEmbedding(16, 50), torch.tensor([3, 4, 5, 0, 1])
    layers = [
        Attention(64, 4, 2, 16, rotary, qk_norm_eps=1e-6, kernels=kernels).to(dtype)
        for kernels in BOTH
    ]
    for parameter, other in zip(layers[0].parameters(), layers[1].parameters()):
        other.data = parameter.data.normal_().div_(8)
    heads = [
        layer.rotary.split_and_rotate(
            layer.qkv_proj(x), positions, 4, 2, layer.q_norm, layer.k_norm, layer.kernels
        )
        for layer in layers
    ]
    for ours, theirs in zip(heads[1], heads[0], strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_an_engine_says_the_same_tokens() -> None:
    """The book's model, greedy, two requests of different length that share their steps."""

    def answers(kernels: str) -> list[list[int]]:
        def choose(device: torch.device, dtype: torch.dtype):
            return select_kernels(device, dtype, kernels)

        with patch("mini_vllm.worker.model_runner.select_kernels", choose):
            llm = LLM(
                model=CHECKPOINT,
                dtype="float32",
                device="cpu",
                max_model_len=64,
                num_gpu_blocks_override=32,
                attention_backend="torch_reference",
            )
        runner = llm.llm_engine.engine_core.executor.model_runner
        assert runner.kernel_choice.kernels.name == kernels
        params = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)
        prompts = ["def schedule(self", "import torch\n"]
        return [list(out.outputs[0].token_ids) for out in llm.generate(prompts, params)]

    assert answers("triton") == answers("torch")
