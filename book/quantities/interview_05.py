r"""Numbers of the mock loop's questions on CUDA graphs and compilation."""

from __future__ import annotations

from bisect import bisect_left

from book.quantities.hardware import h100_bandwidth, h100_bf16_useful
from book.quantities.interview_08 import capture_sizes
from book.quantities.llama import LLAMA3_8B, llama3_8b_flop_per_token, llama3_8b_weight_bytes
from book.quantities.registry import quantity

PIN = "the pinned tree's rule for capture sizes, computed"
GIVEN = "arithmetic on the numbers of the text"
TIMES = "step times of Llama-3-8B on an H100; launch cost as given in the question"
LAUNCHES, LAUNCH = 10 * 32, 5e-6
SIZES = capture_sizes(1)


def padded(tokens: int, sizes: list[int] | None = None) -> int:
    """The captured size that a batch is padded to."""
    known = sizes or SIZES
    return known[bisect_left(known, tokens)]


@quantity("i05-sizes", unit="", source=PIN, phases=(5,))
def sizes() -> int:
    """Default capture sizes up to 512."""
    return len(SIZES)


@quantity("i05-pieces", unit="", source="Llama-3-8B split at attention", phases=(5,))
def pieces() -> int:
    """Compiled pieces of a model that is split at each layer's attention."""
    return LLAMA3_8B.layers + 1


@quantity("i05-piecewise-graphs", unit="", source=PIN, phases=(5,))
def piecewise_graphs() -> int:
    """Graphs captured for all pieces at all sizes."""
    return sizes() * pieces()


@quantity("i05-padded-257", unit="token", source=PIN, phases=(5,))
def padded_257() -> int:
    """What 257 decodes are padded to."""
    return padded(257)


@quantity("i05-waste-257", unit="%", source=PIN, phases=(5,))
def waste_257() -> float:
    """Share of a padded batch of 257 that is padding."""
    return 100 * (1 - 257 / padded(257))


@quantity("i05-waste-9", unit="%", source=PIN, phases=(5,))
def waste_9() -> float:
    """Share of a padded batch of 9 decodes that is padding."""
    return 100 * (1 - 9 / padded(9))


@quantity("i05-launches", unit="s", shown="ms", source=TIMES, phases=(5,))
def launches() -> float:
    """Time to launch ten kernels a layer one by one."""
    return LAUNCHES * LAUNCH


@quantity("i05-decode-step", unit="s", shown="ms", source=TIMES, phases=(5,))
def decode_step() -> float:
    """The weights' bytes of a decode step."""
    return llama3_8b_weight_bytes() / h100_bandwidth()


@quantity("i05-decode-share", unit="%", source=TIMES, phases=(5,))
def decode_share() -> float:
    """Launch time over a decode step on one device."""
    return 100 * launches() / decode_step()


@quantity("i05-tp8-share", unit="%", source=TIMES, phases=(5,))
def tp8_share() -> float:
    """Launch time over a decode step on eight devices, an eighth of the bytes on each."""
    return 100 * launches() / (decode_step() / 8)


@quantity("i05-tp8-gain", unit="×", source=TIMES, phases=(5,))
def tp8_gain() -> float:
    """How many times as fast eight devices are when the host's launches are the step."""
    return decode_step() / launches()


@quantity("i05-prefill-share", unit="%", source=TIMES, phases=(5,))
def prefill_share() -> float:
    """Launch time over a step of 8,192."""
    return 100 * launches() / (8192 * llama3_8b_flop_per_token() / h100_bf16_useful())


@quantity("i05-graph-tokens", unit="token", source=GIVEN, phases=(5,))
def graph_tokens() -> int:
    """Tokens of Llama-3-8B's cache that 1.5 GB would hold."""
    return int(1.5e9 // LLAMA3_8B.kv_bytes_per_token())


@quantity("i05-graph-utilization", unit="", source=GIVEN, phases=(5,))
def graph_utilization() -> float:
    """The utilization at which a device of 80 GB has 1.5 GB more for its cache."""
    return 0.92 + 1.5 / 80


@quantity("i05-pools-apart", unit="", source=PIN, phases=(5,))
def pools_apart() -> float:
    """What pools of their own would take, in units of the largest graph's memory."""
    return sum(SIZES) / max(SIZES)


@quantity("i05-lora-descriptors", unit="", source=PIN, phases=(5,))
def lora_descriptors() -> int:
    """Sizes times cases: without adapters, and one for eight adapters."""
    return sizes() * 2


@quantity("i05-lora-specialized", unit="", source=PIN, phases=(5,))
def lora_specialized() -> int:
    """Sizes times cases: without adapters, one for each power of two up to 8, and 9."""
    counts = [n for n in range(1, 10) if n & (n - 1) == 0 or n == 9]
    return sizes() * (1 + len(counts))


@quantity("i05-dp-padded", unit="token", source=PIN, phases=(5,))
def dp_padded() -> int:
    """What each of eight ranks computes if one has 300 decodes and the others 32."""
    return padded(300)


@quantity("i05-dp-useful", unit="%", source=PIN, phases=(5,))
def dp_useful() -> float:
    """Share of the rows that are real if one of eight ranks has 300 decodes, the others 32."""
    return 100 * (300 + 7 * 32) / (8 * padded(300))


@quantity("i05-norm-traffic", unit="B", shown="kB", source=GIVEN, phases=(5,))
def norm_traffic() -> int:
    """Bytes a row of 4,096: norm to bf16, then read and quantized to fp8, input read once."""
    return 4096 * (2 + 2 + 2 + 1)


@quantity("i05-norm-fused", unit="B", shown="kB", source=GIVEN, phases=(5,))
def norm_fused() -> int:
    """Bytes a row of 4,096: norm and quantization in one kernel, bf16 in, fp8 out."""
    return 4096 * (2 + 1)
