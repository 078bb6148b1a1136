r"""The least time of each kernel, for two steps of a model and two devices: a table's rows.

Computed from the cost functions beside the kernels, whose bytes a test holds against a count of
loads and stores; nothing here was measured. The model is an 8B Qwen3, one layer of it; the steps
are a decode of 64 requests at a context of 4,096 tokens, and a prompt of 2,048.
"""

from __future__ import annotations

from dataclasses import dataclass

from book.quantities.hardware import H100, H100_SOURCE
from mini_vllm.bench.gpu.shares import HeadShape, attention_work
from mini_vllm.kernels.cost import Device, Floor, KernelCost
from mini_vllm.kernels.triton.availability import is_installed

HEADS = HeadShape(num_heads=32, num_kv_heads=8, head_size=128)
HIDDEN, INTERMEDIATE, VOCABULARY = 4096, 12288, 151_936
DECODE, CONTEXT, PROMPT = 64, 4096, 2048
DEVICES = (
    Device(
        "A100 SXM",
        bandwidth=2.039e12,
        rate=312e12,
        source="NVIDIA A100 80 GB SXM data sheet: dense bf16 rate, HBM2e bandwidth",
    ),
    Device(H100.name, H100.bytes_per_second, H100.operations_per_second, H100_SOURCE),
)


@dataclass(frozen=True)
class FloorRow:
    """One kernel in one step: what it is, what it costs, and the floors, one a device."""

    step: str
    kernel: str
    cost: KernelCost

    @property
    def floors(self) -> list[Floor]:
        """The least time on each of {py:data}`DEVICES`."""
        return [self.cost.floor(device) for device in DEVICES]


def floor_rows() -> list[FloorRow]:
    """All rows; an empty list where Triton, and with it the kernels, is not installed."""
    if not is_installed():
        return []
    steps = {
        "decode": (DECODE, [1] * DECODE, [CONTEXT] * DECODE),
        "prompt": (PROMPT, [PROMPT], [PROMPT]),
    }
    rows = []
    for step, (tokens, query_lens, seq_lens) in steps.items():
        costs = _layer_costs(tokens) | {
            "attention": attention_work(query_lens, seq_lens, HEADS),
        }
        if step == "decode":
            costs |= _sampling_costs(tokens)
        rows += [FloorRow(step, name, cost) for name, cost in costs.items()]
    return rows


def _layer_costs(tokens: int) -> dict[str, KernelCost]:
    from mini_vllm.kernels.triton.activation import silu_and_mul_cost
    from mini_vllm.kernels.triton.kv_write import write_kv_cost
    from mini_vllm.kernels.triton.linear import linear_cost
    from mini_vllm.kernels.triton.norm import add_rms_norm_cost
    from mini_vllm.kernels.triton.rotary import split_qkv_rotary_cost

    q, kv, size = HEADS.num_heads, HEADS.num_kv_heads, HEADS.head_size
    return {
        "add, norm": add_rms_norm_cost(tokens, HIDDEN),
        "product: queries, keys, values": linear_cost(tokens, (q + 2 * kv) * size, HIDDEN),
        "split, norm, rotate": split_qkv_rotary_cost(tokens, q, kv, size, norm=True),
        "write keys and values": write_kv_cost(tokens, tokens, kv, size),
        "product: attention's output": linear_cost(tokens, HIDDEN, q * size),
        "product: gate and up": linear_cost(tokens, 2 * INTERMEDIATE, HIDDEN),
        "silu, multiply": silu_and_mul_cost(tokens, INTERMEDIATE),
        "product: down": linear_cost(tokens, HIDDEN, INTERMEDIATE),
    }


def _sampling_costs(rows: int) -> dict[str, KernelCost]:
    from mini_vllm.kernels.triton.chosen_logprobs import chosen_logprobs_cost
    from mini_vllm.kernels.triton.race import race_cost
    from mini_vllm.kernels.triton.top_k_top_p import top_k_top_p_cost

    return {
        "top-k and top-p": top_k_top_p_cost(rows, VOCABULARY, rows * (VOCABULARY - 50)),
        "race": race_cost(rows, VOCABULARY),
        "log-probabilities": chosen_logprobs_cost(rows, VOCABULARY),
    }
