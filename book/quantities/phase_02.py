r"""Numbers of phase 02: blocks, what they cost, and what the pool of mini_vllm does with them.

The inputs are those of the page that asks, and stand in its text.
"""

from __future__ import annotations

from book.quantities.hardware import H100
from book.quantities.llama import BF16_BYTES, CONFIG_SOURCE, LLAMA3_8B, DecoderShape
from book.quantities.registry import quantity

GIVEN = "arithmetic on the numbers of the text"
BLOCK = 16
#: The share of a device that an engine takes at the pin, unless it is told otherwise.
UTILIZATION = 0.92


def blocks_for(tokens: int, block_size: int = BLOCK) -> int:
    """Blocks that hold so many tokens."""
    return -(-tokens // block_size)


# What a block is, in bytes


@quantity("p02-block-bytes", unit="B", shown="MiB", source=CONFIG_SOURCE, phases=(2,))
def block_bytes() -> int:
    """A block of 16 tokens of Llama-3-8B in bf16, all layers, keys and values."""
    return LLAMA3_8B.kv_bytes_per_token() * BLOCK


@quantity("p02-layer-page-bytes", unit="B", shown="KiB", source=CONFIG_SOURCE, phases=(2,))
def layer_page_bytes() -> int:
    """What one layer keeps of that block."""
    return block_bytes() // LLAMA3_8B.layers


@quantity("p02-blocks-80gb", unit="block", source=CONFIG_SOURCE, phases=(2,))
def blocks_80gb() -> int:
    """Blocks beside the weights of Llama-3-8B in 92% of 80 GB; activations left out."""
    memory = int(H100.memory_bytes * UTILIZATION) - LLAMA3_8B.parameters() * BF16_BYTES
    return memory // block_bytes()


@quantity("p02-tokens-80gb", unit="token", source=CONFIG_SOURCE, phases=(2,))
def tokens_80gb() -> int:
    """Tokens in those blocks."""
    return blocks_80gb() * BLOCK


@quantity("p02-usable-80gb", unit="B", shown="GB", source=CONFIG_SOURCE)
def usable_80gb() -> float:
    """What an engine may use of 80 GB at the share of 0.92."""
    return H100.memory_bytes * UTILIZATION


@quantity("p02-prompt-2000-blocks", unit="block", source=GIVEN)
def prompt_2000_blocks() -> int:
    """Blocks of a prompt of 2,000."""
    return blocks_for(2000)


@quantity("p02-prompt-2000-left", unit="block", source=GIVEN)
def prompt_2000_left() -> int:
    """Of those, still of use after ten of its last have been handed out."""
    return blocks_for(2000) - 10


@quantity("p02-concurrency-8k", unit="", source=CONFIG_SOURCE)
def concurrency_8k() -> float:
    """Requests of 8,192 tokens each that fit at once."""
    return tokens_80gb() / 8192


@quantity("p02-lost-by-utilization", unit="token", source=CONFIG_SOURCE)
def lost_by_utilization() -> int:
    """Tokens that the same device loses when the share goes from 0.92 to 0.80."""
    return round(H100.memory_bytes * (UTILIZATION - 0.80)) // LLAMA3_8B.kv_bytes_per_token()


@quantity("p02-mha-block-bytes", unit="B", shown="MiB", source=CONFIG_SOURCE)
def mha_block_bytes() -> int:
    """The block of the same model if every query head kept its own keys and values."""
    everyone = DecoderShape(**{**LLAMA3_8B.__dict__, "kv_heads": LLAMA3_8B.heads})
    return everyone.kv_bytes_per_token() * BLOCK


# Reading and gathering, 64 requests of 4,096 tokens


@quantity("p02-decode-read", unit="B", shown="GB", source=CONFIG_SOURCE)
def decode_read() -> int:
    """Keys and values that a decode step of 64 requests with 4,096 tokens reads."""
    return 64 * 4096 * LLAMA3_8B.kv_bytes_per_token()


@quantity("p02-gather-moved", unit="B", shown="GB", source=CONFIG_SOURCE)
def gather_moved() -> int:
    """Bytes moved if they are gathered first: read, written side by side, read again."""
    return 3 * decode_read()


@quantity("p02-decode-read-ms", unit="s", shown="ms", source=GIVEN)
def decode_read_ms() -> float:
    """Time of the plain read at the device's bandwidth."""
    return decode_read() / H100.bytes_per_second


@quantity("p02-gather-ms", unit="s", shown="ms", source=GIVEN)
def gather_ms() -> float:
    """Time of the gather and the read after it."""
    return gather_moved() / H100.bytes_per_second


# Tables


@quantity("p02-table-entries-16", unit="", source=GIVEN)
def table_entries_16() -> int:
    """Entries in the table of a request of 131,072 tokens, blocks of 16."""
    return blocks_for(131072)


@quantity("p02-table-entries-1", unit="", source=GIVEN)
def table_entries_1() -> int:
    """Entries in the table of a request of 131,072 tokens, blocks of one token."""
    return 131072


@quantity("p02-table-bytes-16", unit="B", shown="MiB", source=GIVEN)
def table_bytes_16() -> int:
    """Tables of 256 such requests, four bytes an entry."""
    return 256 * 4 * blocks_for(131072)


@quantity("p02-half-block-loss", unit="B", shown="MB", source=GIVEN)
def half_block_loss() -> float:
    """What 256 requests lose at the ends of their last blocks: (16 − 1)/2 places each."""
    return 256 * (BLOCK - 1) / 2 * LLAMA3_8B.kv_bytes_per_token()


@quantity("p02-half-block-loss-256", unit="B", shown="GB", source=GIVEN)
def half_block_loss_256() -> float:
    """What 256 requests lose at the ends of their last blocks if these have 256 places."""
    return 256 * (256 - 1) / 2 * LLAMA3_8B.kv_bytes_per_token()
