r"""Numbers of the mock loop's questions on quantization."""

from __future__ import annotations

from book.quantities.hardware import h100_bandwidth, h100_bf16_useful
from book.quantities.llama import LLAMA3_8B, llama3_8b_flop_per_token
from book.quantities.registry import quantity

SHAPE = "arithmetic on the shape of Llama-3-8B"
TIMES = "the longer of bytes and useful arithmetic on an H100, fp8 arithmetic twice as fast"
PAGE = "page sizes of the pinned KV cache interface, heads of 128"
E4M3 = "the format e4m3: largest 448, smallest normal 1/64"
GIVEN = "arithmetic on the numbers of the text"
LINEAR = LLAMA3_8B.parameters() - 2 * LLAMA3_8B.vocab * LLAMA3_8B.hidden
HEAD_BYTES = 2 * LLAMA3_8B.vocab * LLAMA3_8B.hidden


@quantity("i06-int4-bits", unit="", source=GIVEN, phases=(6,))
def int4_bits() -> float:
    """Bits a weight with a 16-bit scale for each 128 weights of 4 bits."""
    return 4 + 16 / 128


def _read(bits: float) -> float:
    """Bytes a decode reads: linear layers in so many bits, the output layer in bf16."""
    return LINEAR * bits / 8 + HEAD_BYTES


@quantity("i06-read-bf16", unit="B", shown="GB", source=SHAPE, phases=(6,))
def read_bf16() -> float:
    """Weights that a decode step of Llama-3-8B reads in bf16; the embedding is a look-up."""
    return _read(16)


@quantity("i06-read-int4", unit="B", shown="GB", source=SHAPE, phases=(6,))
def read_int4() -> float:
    """Weights that a decode step of Llama-3-8B reads with linear layers in 4 bits."""
    return _read(int4_bits())


@quantity("i06-read-fp8", unit="B", shown="GB", source=SHAPE, phases=(6,))
def read_fp8() -> float:
    """Weights that a decode step of Llama-3-8B reads, linear layers in fp8, one scale a tensor."""
    return _read(8)


@quantity("i06-int4-gain", unit="×", source=SHAPE, phases=(6,))
def int4_gain() -> float:
    """How much faster a decode bound by weights becomes with 4 bits, at best."""
    return read_bf16() / read_int4()


def _int4(tokens: int) -> float:
    flop = tokens * llama3_8b_flop_per_token()
    return max(read_int4() / h100_bandwidth(), flop / h100_bf16_useful())


def _fp8(tokens: int) -> float:
    flop = tokens * llama3_8b_flop_per_token()
    return max(read_fp8() / h100_bandwidth(), flop / (2 * h100_bf16_useful()))


@quantity("i06-crossover", unit="token", source=TIMES, phases=(6,))
def crossover() -> int:
    """Tokens a step from which fp8 weights and activations beat 4-bit weights alone."""
    return next(n for n in range(1, 10_000) if _fp8(n) < _int4(n))


@quantity("i06-prefill-int4", unit="s", shown="ms", source=TIMES, phases=(6,))
def prefill_int4() -> float:
    """A step of 2,048 with 4-bit weights: bf16 arithmetic."""
    return _int4(2048)


@quantity("i06-prefill-fp8", unit="s", shown="ms", source=TIMES, phases=(6,))
def prefill_fp8() -> float:
    """A step of 2,048 with fp8 weights and fp8 arithmetic."""
    return _fp8(2048)


@quantity("i06-e4m3-span", unit="", source=E4M3, phases=(6,))
def e4m3_span() -> float:
    """Largest over smallest normal value."""
    return 448 / 2**-6


@quantity("i06-e4m3-span-16", unit="", source=E4M3, phases=(6,))
def e4m3_span_16() -> float:
    """What is left of it for a shard whose own scale was 16 times smaller."""
    return e4m3_span() / 16


def _page(bytes_a_head: float) -> float:
    return 2 * 16 * 8 * bytes_a_head


@quantity("i06-page-bf16", unit="B", shown="KiB", source=PAGE, phases=(6,))
def page_bf16() -> float:
    """A page of 16 tokens and 8 heads of 128 in bf16, one layer."""
    return _page(256)


@quantity("i06-page-token-head", unit="B", shown="KiB", source=PAGE, phases=(6,))
def page_token_head() -> float:
    """A page of 16 tokens: one byte an element, a float32 scale a token and head."""
    return _page(128 + 4)


@quantity("i06-page-nvfp4", unit="B", shown="KiB", source=PAGE, phases=(6,))
def page_nvfp4() -> float:
    """A page of 16 tokens and 8 heads of 128, packed in nvfp4 with its block scales, one layer."""
    return _page(128 // 2 + 128 // 16)


@quantity("i06-token-head-gain", unit="×", source=PAGE, phases=(6,))
def token_head_gain() -> float:
    """Tokens in the same memory, per-token-head scales against bf16."""
    return page_bf16() / page_token_head()


@quantity("i06-nvfp4-gain", unit="×", source=PAGE, phases=(6,))
def nvfp4_gain() -> float:
    """Tokens in the same memory, nvfp4 against bf16."""
    return page_bf16() / page_nvfp4()


@quantity("i06-saturated", unit="×", source=E4M3, phases=(6,))
def saturated() -> float:
    """How far a key of 700 is cut off at scale 1."""
    return 700 / 448


@quantity("i06-shard-4", unit="", source=GIVEN, phases=(6,))
def shard_4() -> float:
    """Intermediate width 768 over four ranks."""
    return 768 / 4


@quantity("i06-shard-2", unit="", source=GIVEN, phases=(6,))
def shard_2() -> float:
    """Intermediate width 768 over two ranks."""
    return 768 / 2


@quantity("i06-block-scale-share", unit="%", source=GIVEN, phases=(6,))
def block_scale_share() -> float:
    """Bytes of float32 scales a 128 × 128 block of fp8 adds."""
    return 100 * 4 / (128 * 128)


@quantity("i06-activation-scale-share", unit="%", source=GIVEN, phases=(6,))
def activation_scale_share() -> float:
    """Bytes of float32 scales that groups of 128 fp8 activations add."""
    return 100 * 4 / 128
