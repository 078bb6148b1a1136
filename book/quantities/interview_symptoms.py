r"""Numbers of the mock loop's symptom catalog that no page has computed before."""

from __future__ import annotations

from book.quantities.llama import LLAMA3_8B, llama3_8b_weight_bytes
from book.quantities.registry import quantity

GIVEN = "arithmetic on the numbers of the symptom"
SMALL_CARD = 0.92 * 24e9


@quantity("sy-long-request", unit="B", shown="GiB", source="shape of Llama-3-8B, bf16")
def long_request() -> int:
    """Cache of one request of 131,072."""
    return 131_072 * LLAMA3_8B.kv_bytes_per_token()


@quantity("sy-small-card", unit="token", source=GIVEN)
def small_card() -> int:
    """Tokens that fit beside the weights on 24 GB at 0.92, nothing else counted."""
    return int((SMALL_CARD - llama3_8b_weight_bytes()) // LLAMA3_8B.kv_bytes_per_token())


@quantity("sy-stuck-outputs", unit="token", source=GIVEN)
def stuck_outputs() -> int:
    """Answer of a prompt of 20 when a window of 32 is full."""
    return 32 - 20


@quantity("sy-adapter-share", unit="%", source=GIVEN)
def adapter_share() -> float:
    """Share of evenly spread requests whose adapter is among 8 of 40."""
    return 100 * 8 / 40


@quantity("sy-merged-tokens", unit="token", source=GIVEN)
def merged_tokens() -> float:
    """Tokens in one message if the reader comes every 100 ms and a step takes 8."""
    return 100 / 8


@quantity("sy-kv-bytes-cpu", unit="token", source=GIVEN)
def kv_bytes_cpu() -> int:
    """Tokens of Llama-3-8B in a cache of 4 GiB."""
    return 4 * 2**30 // LLAMA3_8B.kv_bytes_per_token()


@quantity("sy-usage-of-three", unit="%", source=GIVEN)
def usage_of_three() -> float:
    """Blocks held by three requests of 4,096 in a pool of 8,192 blocks of 16."""
    return 100 * 3 * 4096 / 16 / 8192


@quantity("sy-overhang", unit="s", source=GIVEN)
def overhang() -> float:
    """Wait of the last of 600 queued requests at 45 a second."""
    return 600 / 45
