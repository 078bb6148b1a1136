r"""Numbers of the mock loop's questions on attention backends.

The shapes of kernels and thresholds are those of the pinned tree; the questions link to the lines.
"""

from __future__ import annotations

from book.quantities.hardware import H100, h100_bandwidth
from book.quantities.llama import (
    LLAMA3_8B,
    llama3_8b_flop_per_token,
    llama3_8b_weight_bytes,
)
from book.quantities.registry import quantity

KERNEL = "constants and launch grid of the pinned Triton kernel, shape of Llama-3-8B"
CASCADE = "the cost model of the pinned FlashAttention backend, shape of Llama-3-8B, 132 SMs"
FA3 = "buffer sizes of the pinned FlashAttention backend"
MLA = "DeepSeek-V3: 128 heads, latent 512 + 64, heads 128 + 64 and 128, 61 layers; bf16"
ROOFLINE = "arithmetic on the shape of Llama-3-8B and the rates of an H100"

SMS = 132
GRID_2D, SEGMENTS = 128, 16

MLA_HEADS, LATENT, ROPE, NOPE, VALUE, MLA_LAYERS = 128, 512, 64, 128, 128, 61


def _up(a: int, b: int) -> int:
    return -(-a // b)


# One query row, many SMs


@quantity("i04-threshold-3d", unit="request", source=KERNEL, phases=(4,))
def threshold_3d() -> int:
    """The largest batch that is split: 128 programs without a split."""
    return GRID_2D // LLAMA3_8B.kv_heads


@quantity("i04-programs-2d", unit="", source=KERNEL, phases=(4,))
def programs_2d() -> int:
    """Programs of the unsplit launch for one decoding request: one for each key head."""
    return 1 * LLAMA3_8B.kv_heads


@quantity("i04-programs-3d", unit="", source=KERNEL, phases=(4,))
def programs_3d() -> int:
    """Programs of the split launch for one decoding request."""
    return programs_2d() * SEGMENTS


@quantity("i04-segment-buffer", unit="B", shown="MiB", source=KERNEL, phases=(4,))
def segment_buffer() -> int:
    """Partial outputs that are kept for the reduction, in float32, at the threshold's batch."""
    return threshold_3d() * LLAMA3_8B.heads * SEGMENTS * LLAMA3_8B.head_dim * 4


# Cascade


def cascade_units(requests: int, prefix: int) -> tuple[int, int]:
    """Time units of cascade and of split decoding, as the heuristic counts them."""
    tiles = _up(prefix, 128)
    cascade = _up(LLAMA3_8B.heads * _up(requests, 128), SMS) * tiles
    group = LLAMA3_8B.heads // LLAMA3_8B.kv_heads
    split = _up(requests * LLAMA3_8B.kv_heads * _up(group, 128) * tiles, SMS)
    return cascade, split


@quantity("i04-cascade-64", unit="", source=CASCADE, phases=(4,))
def cascade_64() -> int:
    """Units of cascade for 64 requests with 2,048 in common."""
    return cascade_units(64, 2048)[0]


@quantity("i04-split-64", unit="", source=CASCADE, phases=(4,))
def split_64() -> int:
    """Units of split decoding for 64 requests with 2,048 in common."""
    return cascade_units(64, 2048)[1]


@quantity("i04-cascade-from", unit="request", source=CASCADE, phases=(4,))
def cascade_from() -> int:
    """The smallest batch at which the heuristic takes cascade for a prefix of 2,048."""
    return next(n for n in range(8, 1000) if (lambda c, s: c < s)(*cascade_units(n, 2048)))


@quantity("i04-cascade-saves", unit="B", shown="GiB", source=ROOFLINE, phases=(4,))
def cascade_saves() -> int:
    """Bytes of the prefix that 64 requests read 64 times instead of once, all layers."""
    return 63 * 2048 * LLAMA3_8B.kv_bytes_per_token()


# FlashAttention 3 under a graph


@quantity("i04-fa3-slots", unit="", source=FA3, phases=(4,))
def fa3_slots() -> int:
    """Integers of the schedule's buffer for 1,024 seats."""
    return 1 + _up(1024, 4) * 4 * 4


@quantity("i04-fa3-splits-bytes", unit="B", shown="MiB", source=FA3, phases=(4,))
def fa3_splits_bytes() -> int:
    """Partial outputs of 32 splits for 512 tokens of Llama-3-8B, four bytes an element."""
    return 32 * LLAMA3_8B.heads * 512 * LLAMA3_8B.head_dim * 4


# The latent cache


@quantity("i04-mla-token", unit="B", source=MLA, phases=(4,))
def mla_token() -> int:
    """Bytes that a token adds to the latent cache, all layers."""
    return (LATENT + ROPE) * 2 * MLA_LAYERS


@quantity("i04-mla-as-mha", unit="×", source=MLA, phases=(4,))
def mla_as_mha() -> float:
    """How much more separate keys and values for every head would take."""
    return MLA_HEADS * (NOPE + ROPE + VALUE) * 2 * MLA_LAYERS / mla_token()


@quantity("i04-mla-pair-mqa", unit="FLOP", source=MLA, phases=(4,))
def mla_pair_mqa() -> int:
    """Operations of one query and one key of one head in the latent form."""
    return 2 * (LATENT + ROPE) + 2 * LATENT


@quantity("i04-mla-pair-mha", unit="FLOP", source=MLA, phases=(4,))
def mla_pair_mha() -> int:
    """Operations of one query and one key of one head, with keys and values spelled out."""
    return 2 * (NOPE + ROPE) + 2 * VALUE


@quantity("i04-mla-expand", unit="FLOP", shown="MFLOP", source=MLA, phases=(4,))
def mla_expand() -> int:
    """Operations to spell out one cached token's keys and values in one layer."""
    return 2 * LATENT * MLA_HEADS * (NOPE + VALUE)


@quantity("i04-mla-break-even", unit="token", source=MLA, phases=(4,))
def mla_break_even() -> int:
    """Queries of a chunk over a long context up to which the latent form needs less arithmetic."""
    # Moving a new token's queries in and its results out costs what spelling it out costs: the new
    # tokens stand on both sides, and cancel.
    return mla_expand() // (MLA_HEADS * (mla_pair_mqa() - mla_pair_mha()))


@quantity("i04-mla-intensity", unit="FLOP/B", source=MLA, phases=(4,))
def mla_intensity() -> float:
    """Operations a byte of a decode in the latent form, all heads over one cached row."""
    return MLA_HEADS * mla_pair_mqa() / ((LATENT + ROPE) * 2)


@quantity("i04-mla-request", unit="B", shown="GB", source=MLA, phases=(4,))
def mla_request() -> int:
    """The latent cache of a request of 32,768."""
    return 32_768 * mla_token()


# Decode attention on the roofline


@quantity("i04-gqa-intensity", unit="FLOP/B", source=ROOFLINE, phases=(4,))
def gqa_intensity() -> float:
    """Operations a byte of keys and values in a decode of Llama-3-8B, bf16."""
    flop = 2 * 2 * LLAMA3_8B.heads * LLAMA3_8B.head_dim
    return flop / (2 * LLAMA3_8B.kv_heads * LLAMA3_8B.head_dim * 2)


@quantity("i04-gqa-queries", unit="token", source=ROOFLINE, phases=(4,))
def gqa_queries() -> int:
    """Query tokens of one request at which its attention reaches the ridge."""
    return _up(int(H100.operations_per_second / H100.bytes_per_second), int(gqa_intensity()))


@quantity("i04-v1-reads", unit="B", shown="MiB", source=ROOFLINE, phases=(4,))
def v1_reads() -> int:
    """Keys and values of 8,192 tokens, one layer, read once for every query head."""
    return 8192 * 2 * LLAMA3_8B.heads * LLAMA3_8B.head_dim * 2


@quantity("i04-v1-needed", unit="B", shown="MiB", source=ROOFLINE, phases=(4,))
def v1_needed() -> int:
    """Keys and values of 8,192 tokens, one layer, read once."""
    return 8192 * 2 * LLAMA3_8B.kv_heads * LLAMA3_8B.head_dim * 2


@quantity("i04-write-time", unit="s", shown="ms", source=ROOFLINE, phases=(4,))
def write_time() -> float:
    """Writing keys and values of a step of 8,192, at the memory's rate."""
    return 8192 * LLAMA3_8B.kv_bytes_per_token() / h100_bandwidth()


@quantity("i04-write-step", unit="s", shown="ms", source=ROOFLINE, phases=(4,))
def write_step() -> float:
    """Products with the weights in a step of 8,192 tokens, at the peak rate."""
    return 8192 * llama3_8b_flop_per_token() / H100.operations_per_second


def _decode(requests: int, context: int, element_bytes: int) -> float:
    cache = requests * context * LLAMA3_8B.kv_bytes_per_token(element_bytes)
    return (llama3_8b_weight_bytes() + cache) / h100_bandwidth()


@quantity("i04-step-bf16", unit="s", shown="ms", source=ROOFLINE, phases=(4,))
def step_bf16() -> float:
    """Bytes of a decode of 32 requests of 8,192 at the memory's rate: weights and cache."""
    return _decode(32, 8192, 2)


@quantity("i04-step-fp8", unit="s", shown="ms", source=ROOFLINE, phases=(4,))
def step_fp8() -> float:
    """Bytes of a decode of 32 requests of 8,192 at the memory's rate, cache in one byte."""
    return _decode(32, 8192, 1)


@quantity("i04-step-gain", unit="×", source=ROOFLINE, phases=(4,))
def step_gain() -> float:
    """How much faster such a decode is at best with one byte an element than with two."""
    return step_bf16() / step_fp8()
