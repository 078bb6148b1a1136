r"""The running softmax as something to calculate with: parts of a text, and what they add up to.

What a query has read of some keys is kept as a {py:class}`Part`: the largest score, the sum of the
weights and the weighted sum of the values, both relative to that score. Parts add up. So a text can
be read in any pieces, by anybody, in any order.

Scores are in base 2, as many kernels have them: a key with score $s$ has weight $2^s$. It is the
same softmax, since $e^x = 2^{x \log_2 e}$, and a processor has an instruction for powers of two.

Shapes: `[num_heads]` for scores and sums, `[num_heads, head_size]` for values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

#: The lowest finite number: minus infinity less this is still minus infinity, and no NaN.
LOWEST = np.finfo(float).min


class Part(NamedTuple):
    r"""What one query has read of some keys, per head.

    `best` is the largest score, `total` the sum of `2 ** (score - best)`, `read` the sum of
    `2 ** (score - best) * value`. Of no keys at all: minus infinity, 0 and zeros.
    """

    best: np.ndarray
    total: np.ndarray
    read: np.ndarray


class Device(NamedTuple):
    r"""A device that reads memory with many processors, each with an equal share of the bandwidth.

    `start` is what it takes to start a kernel, in seconds.
    """

    processors: int
    bytes_per_second: float
    start: float


def nothing(num_heads: int, head_size: int) -> Part:
    r"""A part of no keys."""
    return Part(np.full(num_heads, -np.inf), np.zeros(num_heads), np.zeros((num_heads, head_size)))


def part_of(scores: np.ndarray, values: np.ndarray) -> Part:
    r"""What is read of the keys of one tile.

    `scores` is `[num_heads, tokens]`, `values` `[tokens, num_heads, head_size]`. A score of minus
    infinity belongs to a key that is hidden; perhaps all are, and then this is a part of no keys.
    """
    # TODO task 1: read a tile
    raise NotImplementedError("task 1: read a tile")


def add(one: Part, other: Part) -> Part:
    r"""What is read of the keys of both; neither part is modified.

    Associative and commutative, and a part of no keys changes nothing. No scores are needed for it,
    and they may have been of any size.
    """
    # TODO task 2: add two parts
    raise NotImplementedError("task 2: add two parts")


def finish(part: Part) -> tuple[np.ndarray, np.ndarray]:
    r"""The average of the values, and the base-2 logarithm of the sum of all weights.

    Of no keys: zeros, and minus infinity.
    """
    # TODO task 3: finish
    raise NotImplementedError("task 3: finish")


def segments(seq_len: int, count: int, block_size: int) -> list[range]:
    r"""Cut the positions of a text into at most `count` ranges, each of whole blocks but the last.

    All take equally many blocks, except the last, which has what is left; as few blocks each as
    will do. There are no empty ranges: a short text is cut into fewer.
    """
    # TODO task 4: cut a text
    raise NotImplementedError("task 4: cut a text")


def attend_split(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    scale: float,
    cuts: Iterable[range],
    tile: int,
) -> np.ndarray:
    r"""What one query reads, `[num_heads, head_size]`, if every range of `cuts` is read alone.

    `query` is `[num_heads, head_size]`, `keys` and `values` are `[tokens, num_heads, head_size]`;
    `scale` makes scores of products, in base 2. Each range is read by a program of its own, in
    tiles of at most `tile` tokens, and gives one part; a second kernel adds these up.
    """
    # TODO task 5: read in segments
    raise NotImplementedError("task 5: read in segments")


def seconds(
    seq_len: int, count: int, programs: int, block_size: int, block_bytes: int, device: Device
) -> float:
    r"""How long it takes to read a text that is cut into `count` segments.

    Without cutting there are `programs` programs (requests times key heads), and each reads one
    text of `seq_len` tokens, `block_bytes` a block. Programs run in waves of as many as there are
    processors; a wave takes as long as its longest program, and each processor reads with its own
    share of the bandwidth. If there is more than one segment, a second kernel is started, which
    reads one part per program and segment; a part is as large as a single token's entry in the
    cache, and all processors read at once.
    """
    # TODO task 6: choose how many
    raise NotImplementedError("task 6: choose how many")


def best_count(
    seq_len: int, programs: int, block_size: int, block_bytes: int, device: Device
) -> int:
    r"""The number of segments that is quickest by {py:func}`seconds`; the smallest, if several are.

    Never more than there are blocks.
    """
    # TODO task 6: choose how many
    raise NotImplementedError("task 6: choose how many")


def main() -> None:
    r"""Print how many segments pay, for some batches and lengths, on a device of 132 processors."""
    device = Device(processors=132, bytes_per_second=3.35e12, start=3e-6)
    block_size, block_bytes = 16, 2 * 16 * 128 * 2
    lengths = (512, 4096, 32768, 131072)
    print("segments, and how many times as fast as without cutting; 8 heads of keys a request\n")
    print(f"{'requests':<10}" + "".join(f"{length:>16,}" for length in lengths).rstrip())
    for requests in (1, 4, 16, 17, 64, 256):
        cells = []
        for seq_len in lengths:
            shape = (8 * requests, block_size, block_bytes, device)
            count = best_count(seq_len, *shape)
            gain = seconds(seq_len, 1, *shape) / seconds(seq_len, count, *shape)
            cells.append(f"{f'{count} ({gain:.1f} x)':>16}")
        print(f"{requests:<10}" + "".join(cells))
    draw = np.random.default_rng(2)
    query, keys, values = (draw.integers(-1, 2, size=s) for s in ((2, 4), *[(37, 2, 4)] * 2))
    whole = attend_split(query, keys, values, 1.0, [range(37)], 37)
    cut = attend_split(query, keys, values, 1.0, segments(37, 7, 4), 3)
    print(
        "\nwhole numbers as scores: in one piece and in seven, bit for bit:", (whole == cut).all()
    )


if __name__ == "__main__":
    main()
