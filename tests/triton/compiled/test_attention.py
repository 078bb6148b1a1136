"""The attention kernels, compiled for the shapes of models on a machine without a device."""

from __future__ import annotations

import functools

import pytest
import torch

from mini_vllm.kernels.split_kv import plan_launch
from mini_vllm.kernels.triton.compiling import CAPABILITIES, compile_launches
from mini_vllm.kernels.triton.reduce_segments import workspace_numbers
from mini_vllm.kernels.triton.unified_attention import unified_attention

#: Shared memory that one program may take at most, in bytes (CUDA C++ Programming Guide, table of
#: technical specifications per compute capability).
MOST_SHARED = {80: 163 << 10, 90: 227 << 10}
#: What spills lives in memory, at its speed. A few bytes of stack beside free registers are none.
NO_SPILL = 16
#: What a model has: query heads, key heads, head size, type, window, cap.
MODELS = {
    "Llama-3-8B": (32, 8, 128, torch.bfloat16, None, None),
    "Qwen3-0.6B": (16, 8, 128, torch.float16, None, None),
    "Mistral-7B": (32, 8, 128, torch.bfloat16, 4096, None),
    "Gemma-2-9B": (16, 8, 256, torch.bfloat16, 4096, 50.0),
    "the book's": (4, 2, 64, torch.float32, None, None),
    "Phi-2": (32, 32, 80, torch.float16, None, None),
    "Qwen2-7B": (28, 4, 128, torch.bfloat16, None, None),
}
#: Requests, new tokens of each, the longest past.
STEPS = {"decodes": (264, 1, 4096), "one decode": (2, 1, 32768), "chunks": (2, 512, 2048)}


@functools.cache
def compiled(model: str, step: str, capability: int):
    """The kernels that one layer of `model` launches in such a step."""
    heads, kv_heads, head_size, dtype, window, cap = MODELS[model]
    num_reqs, new, longest = STEPS[step]
    plan = plan_launch(
        num_queries=num_reqs * new,
        num_reqs=num_reqs,
        max_query_len=new,
        max_seq_len=longest,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_size=head_size,
        element_bytes=dtype.itemsize,
        num_processors=132,
        sliding_window=window,
    )
    meta = functools.partial(torch.empty, device="meta")
    pages = meta(1000, kv_heads, 16, head_size, dtype=dtype)
    lots = plan.num_queries * heads * plan.num_segments
    kernels = compile_launches(
        lambda: unified_attention(
            meta(num_reqs * new, heads, head_size, dtype=dtype),
            pages,
            pages,
            meta(num_reqs, 256, dtype=torch.int32),
            meta(num_reqs + 1, dtype=torch.int32),
            meta(num_reqs, dtype=torch.int32),
            head_size**-0.5,
            plan,
            sliding_window=window,
            logits_soft_cap=cap,
            workspace=meta(workspace_numbers(lots, head_size)),
        ),
        capability,
    )
    return plan, kernels


def first_of(model: str, step: str, capability: int):
    """The attention kernel itself."""
    return compiled(model, step, capability)[1][0]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("model", ["Llama-3-8B", "Gemma-2-9B", "the book's"])
def test_every_kind_of_step(model, step, capability):
    plan, kernels = compiled(model, step, capability)
    assert len(kernels) == (2 if plan.num_segments > 1 else 1)
    if step != "chunks":
        assert (plan.num_segments > 1) is (step == "one decode")
    for kernel in kernels:
        assert kernel.cubin.startswith(b"\x7fELF")
        assert kernel.shared_bytes <= MOST_SHARED[capability]
        assert kernel.stack_bytes <= NO_SPILL


@pytest.mark.parametrize("model", ["Qwen3-0.6B", "Mistral-7B", "Phi-2", "Qwen2-7B"])
def test_every_model(model):
    for step, capability in (("decodes", 80), ("chunks", 90)):
        kernel = first_of(model, step, capability)
        assert kernel.stack_bytes <= NO_SPILL


def test_matrix_units_do_the_products():
    """Of each generation its own: 16-bit products go to them, float32 products must not."""
    for capability, instruction in ((80, r"mma\.sync"), (90, r"wgmma\.mma_async")):
        kernel = first_of("Llama-3-8B", "chunks", capability)
        assert kernel.count(instruction) >= 2
        exact = first_of("the book's", "chunks", capability)
        assert exact.count(r"tf32") == 0
        assert exact.count(instruction) == 0


def test_keys_travel_while_the_program_computes():
    for step in ("decodes", "chunks"):
        kernel = first_of("Llama-3-8B", step, 80)
        assert kernel.count(r"cp\.async\.(cg|ca)") >= 2
