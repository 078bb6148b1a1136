r"""Numbers of phase 00: what a token, a pass, a batch and a cache cost.

The inputs are those of the page that asks, and stand in its text. Times are of Llama-3-8B on an
H100 at the data sheet's rates: floors, which nobody reaches.
"""

from __future__ import annotations

from dataclasses import replace

from book.quantities.hardware import H100, h100_bf16_useful
from book.quantities.llama import (
    BF16_BYTES,
    CONFIG_SOURCE,
    LLAMA3_8B,
    DecoderShape,
    llama3_8b_flop_per_token,
    llama3_8b_weight_bytes,
)
from book.quantities.registry import quantity

GIVEN = "arithmetic on the numbers of the text"
PEAK = "Llama-3-8B's config over the H100 data sheet's rates"
LLAMA3_70B = DecoderShape(
    layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, mlp=28672, vocab=128256
)
CONFIG_70B = "config.json of meta-llama/Meta-Llama-3-70B; bf16 takes two bytes"


@quantity("p00-context-equal-weights", unit="token", source=CONFIG_SOURCE, phases=(0,))
def context_equal_weights() -> int:
    """Past tokens whose keys and values weigh as much as the weights of Llama-3-8B."""
    return llama3_8b_weight_bytes() // LLAMA3_8B.kv_bytes_per_token()


@quantity("p00-kv-8k", unit="B", shown="GiB", source=CONFIG_SOURCE, phases=(0,))
def kv_8k() -> int:
    """Keys and values of 8,192 tokens of Llama-3-8B in bf16."""
    return 8192 * LLAMA3_8B.kv_bytes_per_token()


@quantity("p00-kv-mha", unit="B", source=CONFIG_SOURCE)
def kv_mha() -> int:
    """Per token, if every query head kept its own keys."""
    return replace(LLAMA3_8B, kv_heads=LLAMA3_8B.heads).kv_bytes_per_token()


@quantity("p00-70b-kv", unit="B", source=CONFIG_70B)
def kv_70b() -> int:
    """Per token of Llama-3-70B in bf16."""
    return LLAMA3_70B.kv_bytes_per_token()


@quantity("p00-70b-kv-tp8", unit="B", source=CONFIG_70B)
def kv_70b_tp8() -> int:
    """Per token of Llama-3-70B on each of eight devices: one head each."""
    return LLAMA3_70B.kv_bytes_per_token() // 8


@quantity("p00-70b-kv-tp16", unit="B", source=CONFIG_70B)
def kv_70b_tp16() -> int:
    """On each of sixteen: still one head, kept twice."""
    one = replace(LLAMA3_70B, kv_heads=max(1, LLAMA3_70B.kv_heads // 16))
    return one.kv_bytes_per_token()


@quantity("p00-70b-weights", unit="B", shown="GB", source=CONFIG_70B)
def weights_70b() -> int:
    """Bytes of the weights of Llama-3-70B in bf16."""
    return LLAMA3_70B.parameters() * BF16_BYTES


@quantity("p00-decode-floor", unit="s", shown="ms", source=PEAK, phases=(0,))
def decode_floor() -> float:
    """A decode of one request with nothing behind it: read the weights once."""
    return llama3_8b_weight_bytes() / H100.bytes_per_second


@quantity("p00-decode-floor-rate", unit="tok/s", source=PEAK, phases=(0,))
def decode_floor_rate() -> float:
    """Tokens a second of that request, at most."""
    return 1 / decode_floor()


@quantity("p00-decode-32k", unit="s", shown="ms", source=PEAK)
def decode_32k() -> float:
    """A decode of one request with 32,768 tokens behind it."""
    past = 32768 * LLAMA3_8B.kv_bytes_per_token()
    return (llama3_8b_weight_bytes() + past) / H100.bytes_per_second


@quantity("p00-decode-64x4k", unit="s", shown="ms", source=PEAK)
def decode_64x4k() -> float:
    """A decode of 64 requests with 4,096 tokens each behind them."""
    past = 64 * 4096 * LLAMA3_8B.kv_bytes_per_token()
    return (llama3_8b_weight_bytes() + past) / H100.bytes_per_second


@quantity("p00-past-share-64x4k", unit="%", source=PEAK)
def past_share() -> float:
    """Of it, the reading of the past."""
    past = 64 * 4096 * LLAMA3_8B.kv_bytes_per_token()
    return 100 * past / (llama3_8b_weight_bytes() + past)


@quantity("p00-prefill-1000", unit="s", shown="ms", source=PEAK, phases=(0,))
def prefill_1000() -> float:
    """The arithmetic of a prompt of 1,000 at the peak rate, attention left out."""
    return 1000 * llama3_8b_flop_per_token() / H100.operations_per_second


@quantity("p00-decode-1000", unit="s", source=PEAK, phases=(0,))
def decode_1000() -> float:
    """A thousand decodes, one after the other."""
    return 1000 * decode_floor()


@quantity("p00-corner-rows", unit="", source=PEAK, phases=(0,))
def corner_rows() -> float:
    """Rows of a pass at which arithmetic takes as long as reading the weights."""
    return decode_floor() * H100.operations_per_second / llama3_8b_flop_per_token()


@quantity("p00-attention-intensity", unit="FLOP/B", source=CONFIG_SOURCE, phases=(0,))
def attention_intensity() -> float:
    """Operations a byte of decode attention: query heads that share a key, bf16."""
    return 4 * LLAMA3_8B.heads / (2 * LLAMA3_8B.kv_heads * BF16_BYTES)


@quantity("p00-naive-rows", unit="", source=GIVEN)
def naive_rows() -> int:
    """Rows for an answer of 500 after a prompt of 100 if nothing is kept."""
    return sum(100 + i for i in range(500))


@quantity("p00-cached-rows", unit="", source=GIVEN)
def cached_rows() -> int:
    """Rows with a cache."""
    return 100 + 499


@quantity("p00-naive-ratio", unit="×", source=GIVEN)
def naive_ratio() -> float:
    """How many times more."""
    return naive_rows() / cached_rows()


@quantity("p00-logits-row", unit="B", shown="kB", source=CONFIG_SOURCE)
def logits_row() -> int:
    """One row of scores of Llama-3-8B in float32."""
    return LLAMA3_8B.vocab * 4


@quantity("p00-logits-prompt", unit="B", shown="GB", source=CONFIG_SOURCE)
def logits_prompt() -> int:
    """Scores for every token of a prompt of 8,192."""
    return 8192 * logits_row()


@quantity("p00-head-share", unit="%", source=CONFIG_SOURCE)
def head_share() -> float:
    """Share of a token's arithmetic that the output table takes."""
    return 100 * 2 * LLAMA3_8B.vocab * LLAMA3_8B.hidden / llama3_8b_flop_per_token()


@quantity("p00-int8-decode", unit="s", shown="ms", source=PEAK)
def int8_decode() -> float:
    """The decode floor with weights of one byte."""
    return decode_floor() / 2


@quantity("p00-little-48", unit="", source=GIVEN)
def little_48() -> float:
    """In flight at 30 a second and 1.6 s each."""
    return 30 * 1.6


@quantity("p00-little-blocks", unit="B", shown="GB", source=GIVEN)
def little_blocks() -> float:
    """Cache for so many of 1,500 tokens each, Llama-3-8B in bf16."""
    return little_48() * 1500 * LLAMA3_8B.kv_bytes_per_token()


@quantity("p00-ttft-10k", unit="s", shown="ms", source=PEAK)
def ttft_10k() -> float:
    """Arithmetic of a prompt of 10,000 at the peak, attention included."""
    attention = 4 * LLAMA3_8B.layers * LLAMA3_8B.heads * LLAMA3_8B.head_dim * 5000
    return 10_000 * (llama3_8b_flop_per_token() + attention) / H100.operations_per_second


@quantity("p00-single-share", unit="%", source=PEAK)
def single_share() -> float:
    """Of the peak rate, what one stream of 150 tokens a second uses."""
    return 100 * 150 * llama3_8b_flop_per_token() / H100.operations_per_second


# Prompts of 30,000 and answers of 300: where a request's time goes


def _attention_of_30k() -> int:
    """Attention's operations for one token of the prompt, with half of it before, on average."""
    return 4 * LLAMA3_8B.layers * LLAMA3_8B.heads * LLAMA3_8B.head_dim * 15_000


@quantity("p00-lever-prefill", unit="s", source=CONFIG_SOURCE + "; 40% of the H100's peak")
def lever_prefill() -> float:
    """Arithmetic of the prompt, attention included."""
    return 30_000 * (llama3_8b_flop_per_token() + _attention_of_30k()) / h100_bf16_useful()


@quantity("p00-lever-attention", unit="%", source=CONFIG_SOURCE)
def lever_attention() -> float:
    """Attention's share of it."""
    return 100 * _attention_of_30k() / (llama3_8b_flop_per_token() + _attention_of_30k())


@quantity("p00-lever-past", unit="s", source=PEAK)
def lever_past() -> float:
    """Reading its own past in 300 decodes."""
    return 300 * 30_000 * LLAMA3_8B.kv_bytes_per_token() / H100.bytes_per_second
