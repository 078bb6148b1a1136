r"""Numbers of the mock loop's questions on GEMM and MoE kernels."""

from __future__ import annotations

import math

from book.quantities.hardware import H100, h100_bandwidth
from book.quantities.llama import llama3_8b_flop_per_token
from book.quantities.registry import quantity

QWEN = "Qwen3-30B-A3B: 128 experts, 8 a token, hidden 2,048, width 768, 48 layers; bf16"
EVEN = "experts drawn evenly and independently"
GIVEN = "arithmetic on the numbers of the text"
PIN = "the pinned tree's rule, computed"
EXPERTS, TOP, HIDDEN, WIDTH, LAYERS = 128, 8, 2048, 768, 48


def experts_hit(tokens: int) -> float:
    """Experts of a layer that at least one of so many tokens goes to."""
    return EXPERTS * (1 - (1 - TOP / EXPERTS) ** tokens)


def expert_bytes() -> int:
    """Weights of one expert in one layer."""
    return 3 * HIDDEN * WIDTH * 2


@quantity("i07-hit-32", unit="", source=EVEN, phases=(7,))
def hit_32() -> float:
    """Experts that 32 tokens hit in a layer."""
    return experts_hit(32)


@quantity("i07-rows-32", unit="", source=PIN, phases=(7,))
def rows_32() -> int:
    """Rows that are really there: tokens times choices."""
    return 32 * TOP


@quantity("i07-useful-32", unit="%", source=EVEN, phases=(7,))
def useful_32() -> float:
    """Real rows over rows in tiles of 16, one tile an expert."""
    return 100 * rows_32() / (hit_32() * 16)


@quantity("i07-buffer-32", unit="", source=PIN, phases=(7,))
def buffer_32() -> int:
    """Sorted places that are allocated: for the worst distribution."""
    return rows_32() + EXPERTS * 15


@quantity("i07-expert", unit="B", shown="MB", source=QWEN, phases=(7,))
def expert() -> int:
    """Weights of one expert in one layer."""
    return expert_bytes()


@quantity("i07-read-1", unit="B", shown="GB", source=QWEN, phases=(7,))
def read_1() -> float:
    """Expert weights that one token reads."""
    return TOP * LAYERS * expert_bytes()


@quantity("i07-read-32", unit="B", shown="GB", source=QWEN, phases=(7,))
def read_32() -> float:
    """Expert weights that a step of 32 tokens reads."""
    return experts_hit(32) * LAYERS * expert_bytes()


@quantity("i07-time-1", unit="s", shown="ms", source=QWEN, phases=(7,))
def time_1() -> float:
    """The first at an H100's rate."""
    return read_1() / h100_bandwidth()


@quantity("i07-time-32", unit="s", shown="ms", source=QWEN, phases=(7,))
def time_32() -> float:
    """The second at that rate."""
    return read_32() / h100_bandwidth()


def _ranks_hit(ranks: int) -> float:
    return ranks * (1 - (1 - 1 / ranks) ** TOP)


def _gathered(ranks: int) -> float:
    return (ranks - 1) * 128 * 7168 * 2


def _sent(ranks: int) -> float:
    return _ranks_hit(ranks) * (ranks - 1) / ranks * 128 * 7168 * 2


@quantity("i07-gather-8", unit="B", shown="MB", source=GIVEN, phases=(7,))
def gather_8() -> float:
    """What a rank of 8 receives of 128 rows of 7,168 in bf16 from each other rank."""
    return _gathered(8)


@quantity("i07-saving-8", unit="×", source=EVEN, phases=(7,))
def saving_8() -> float:
    """How much less is moved among 8 ranks if rows go only where an expert is."""
    return _gathered(8) / _sent(8)


@quantity("i07-saving-64", unit="×", source=EVEN, phases=(7,))
def saving_64() -> float:
    """How much less is moved among 64 ranks if rows go only where an expert is."""
    return _gathered(64) / _sent(64)


@quantity("i07-first-ranks", unit="", source=PIN, phases=(7,))
def first_ranks() -> int:
    """Experts of rank 0 of 6 with 128 experts."""
    return 128 // 6 + (1 if 128 % 6 > 0 else 0)


@quantity("i07-last-ranks", unit="", source=PIN, phases=(7,))
def last_ranks() -> int:
    """Experts of rank 5."""
    return 128 // 6 + (1 if 128 % 6 > 5 else 0)


@quantity("i07-balance-gain", unit="×", source=GIVEN, phases=(7,))
def balance_gain() -> float:
    """What perfect balance gives where the balancedness is 0.6."""
    return 1 / 0.6


@quantity("i07-redundant", unit="B", shown="GB", source="DeepSeek-V3: fp8, 58 layers", phases=(7,))
def redundant() -> int:
    """Bytes on each of 8 ranks of 32 redundant experts, 7,168 by 2,048, 58 layers."""
    return 32 // 8 * 58 * 3 * 7168 * 2048


@quantity("i07-cache13", unit="B", shown="MB", source=QWEN, phases=(7,))
def cache13() -> int:
    """The buffer that first and last intermediate share, for 8,192 tokens."""
    return 8192 * TOP * max(2 * WIDTH, HIDDEN) * 2


@quantity("i07-cache2", unit="B", shown="MB", source=QWEN, phases=(7,))
def cache2() -> int:
    """The buffer between the two products."""
    return 8192 * TOP * WIDTH * 2


@quantity("i07-cache-apart", unit="B", shown="MB", source=QWEN, phases=(7,))
def cache_apart() -> int:
    """All three apart."""
    return 8192 * TOP * (2 * WIDTH + HIDDEN + WIDTH) * 2


@quantity("i07-merged", unit="", source=GIVEN, phases=(7,))
def merged() -> float:
    """Outputs 1 and 0 merged with log-sum-exps ln 3 and ln 1."""
    return (1 * math.exp(math.log(3)) + 0 * math.exp(0)) / (3 + 1)


@quantity("i07-mfu", unit="%", source=GIVEN, phases=(7,))
def mfu() -> float:
    """Arithmetic of 64 decodes of Llama-3-8B in 8 ms over an H100's peak."""
    return 100 * 64 * llama3_8b_flop_per_token() / 0.008 / H100.operations_per_second


@quantity("i07-mbu", unit="%", source=GIVEN, phases=(7,))
def mbu() -> float:
    """16 GB of weights and 5 GB of cache in 8 ms over its bandwidth."""
    return 100 * 21e9 / 0.008 / h100_bandwidth()


@quantity("i07-width-tp4", unit="", source=GIVEN, phases=(7,))
def width_tp4() -> float:
    """A width of 768 on each of four ranks."""
    return 768 / 4
