r"""How long will a step take? Count it, measure the machine, divide.

A step puts some tokens of some requests through a decoder. A {py:class}`Chunk` says how many tokens
of one request, and how many of its tokens have been through before: a prompt is `Chunk(1000, 0)`, a
decode is `Chunk(1, 1000)`, and there is no third kind. Matrices and the cache are counted; norms,
activations and tables of positions are small beside them and left out.

Run this file to see the roofline of your machine with two steps on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Shape(NamedTuple):
    r"""A decoder's sizes. `mlp` is the inner width of a gated MLP, which has three matrices."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    vocab: int


class Chunk(NamedTuple):
    r"""Tokens of one request in one step, and the tokens that it has in the cache before that."""

    num_tokens: int
    before: int


class Work(NamedTuple):
    r"""What a step asks of a machine."""

    operations: float
    moved_bytes: float


class Machine(NamedTuple):
    r"""What a machine can do in a second."""

    operations_per_second: float
    bytes_per_second: float


LLAMA3_8B = Shape(32, 4096, 32, 8, 128, 14336, 128256)
SMALL = Shape(layers=2, hidden=640, heads=4, kv_heads=2, head_size=64, mlp=1728, vocab=1024)


def measure(
    run: Callable[[], object], amount: float, clock: Callable[[], float], repeats: int = 5
) -> float:
    r"""`amount` per second of `run`: the best of `repeats` runs, after one that does not count.

    The first run finds cold caches and pages that nobody has touched. Of the others the shortest
    is the one in which the fewest strangers interfered. `clock` gives seconds; it is read right
    before and right after each run that counts.
    """
    # TODO task 1: measure a rate
    raise NotImplementedError("task 1: measure a rate")


def weights_read(shape: Shape) -> int:
    r"""Elements of the matrices that a step reads, once, whatever the number of its tokens.

    Per layer: from the hidden row to queries, keys and values; from what the query heads have read
    back to the hidden row; the three of the MLP. At the end one matrix that makes scores. The
    embedding is looked up by row and is not among them.
    """
    # TODO task 2: count the weights
    raise NotImplementedError("task 2: count the weights")


def operations(shape: Shape, chunks: Sequence[Chunk]) -> int:
    r"""Multiplications and additions of a step, each counted as one.

    Each token meets every weight of the layers: two operations. Scores are made for the last token
    of each chunk. And in each layer and query head a token is compared with itself and all before
    it, and reads their values: two operations per element of each of these vectors.
    """
    # TODO task 3: count the operations
    raise NotImplementedError("task 3: count the operations")


def moved_bytes(shape: Shape, chunks: Sequence[Chunk], element_bytes: int) -> int:
    r"""Bytes that a step moves between memory and the arithmetic.

    All weights, once for the whole step; for each chunk the keys and values of its tokens before,
    read, and those of its own tokens, written. One size of element for both.
    """
    # TODO task 4: count the bytes
    raise NotImplementedError("task 4: count the bytes")


def seconds(machine: Machine, work: Work) -> float:
    r"""The least time for the work, if the machine computes and moves at the same time."""
    # TODO task 5: place it on the roofline
    raise NotImplementedError("task 5: place it on the roofline")


def limit(machine: Machine, work: Work) -> str:
    r"""`"memory"` if moving takes longer than computing, else `"arithmetic"`."""
    # TODO task 5: place it on the roofline
    raise NotImplementedError("task 5: place it on the roofline")


def attainable(machine: Machine, intensity: float) -> float:
    r"""Operations per second within reach of work that does `intensity` operations a byte."""
    # TODO task 5: place it on the roofline
    raise NotImplementedError("task 5: place it on the roofline")


def corner(machine: Machine, shape: Shape, before: int, element_bytes: int) -> int | None:
    r"""The fewest decodes in one step at which arithmetic takes at least as long as moving.

    All of them have `before` tokens in the cache. `None` if there is no such number: each request
    brings bytes of its own, and they may take longer than its operations.
    """
    # TODO task 6: find the corner
    raise NotImplementedError("task 6: find the corner")


def work_of(shape: Shape, chunks: Sequence[Chunk], element_bytes: int) -> Work:
    r"""Both counts of a step. Given."""
    return Work(operations(shape, chunks), moved_bytes(shape, chunks, element_bytes))


class Step:
    r"""A decoder of some shape in NumPy, float32, with weights that mean nothing. Given.

    Calling it runs one chunk through all layers, on top of a cache that is full of noise.
    """

    def __init__(self, shape: Shape, chunk: Chunk) -> None:
        self.shape, self.chunk = shape, chunk
        draw = np.random.default_rng(0)
        kept, width = shape.kv_heads * shape.head_size, shape.heads * shape.head_size
        sizes = {"q": width, "k": kept, "v": kept, "up": shape.mlp, "gate": shape.mlp}

        def matrix(rows: int, columns: int) -> np.ndarray:
            weights = draw.random((rows, columns), np.float32) - np.float32(0.5)
            return weights / np.float32(rows**0.5)

        self.layers = [
            {name: matrix(shape.hidden, size) for name, size in sizes.items()}
            | {"o": matrix(width, shape.hidden), "down": matrix(shape.mlp, shape.hidden)}
            for _ in range(shape.layers)
        ]
        self.table = matrix(shape.hidden, shape.vocab)
        self.rows = draw.standard_normal((chunk.num_tokens, shape.hidden), np.float32)
        length = chunk.before + chunk.num_tokens
        self.cache = draw.standard_normal(
            (shape.layers, 2, shape.kv_heads, length, shape.head_size), np.float32
        )
        places = chunk.before + np.arange(chunk.num_tokens)
        self.hidden = np.arange(length) > places[:, None]

    def __call__(self) -> np.ndarray:
        r"""Scores after the chunk's last token, `[vocab]`."""
        rows = self.rows
        for weights, cache in zip(self.layers, self.cache):
            rows = rows + self._attend(_normed(rows), weights, cache)
            inner = _normed(rows)
            gate = inner @ weights["gate"]
            rows = rows + (gate / (1 + np.exp(-gate)) * (inner @ weights["up"])) @ weights["down"]
        return _normed(rows[-1]) @ self.table

    def _attend(self, rows: np.ndarray, weights: dict, cache: np.ndarray) -> np.ndarray:
        shape, num_tokens = self.shape, len(rows)
        for kept, name in zip(cache, "kv"):
            new = (rows @ weights[name]).reshape(num_tokens, shape.kv_heads, -1)
            kept[:, -num_tokens:] = new.swapaxes(0, 1)
        query = (rows @ weights["q"]).reshape(num_tokens, shape.kv_heads, -1, shape.head_size)
        # [kv_heads, group, num_tokens, head_size] @ [kv_heads, 1, head_size, length]
        scores = query.transpose(1, 2, 0, 3) @ cache[0][:, None].swapaxes(-1, -2)
        scores = np.where(self.hidden, np.float32(-1e30), scores / shape.head_size**0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        read = (scores @ cache[1][:, None]).transpose(2, 0, 1, 3)
        return read.reshape(num_tokens, -1) @ weights["o"]


def _normed(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows * rows).mean(axis=-1, keepdims=True))


def this_machine() -> Machine:
    r"""The two rates of this machine, measured with your {py:func}`measure`. Given."""
    left = np.ones((384, 384), np.float32)
    product = np.empty_like(left)
    rate = measure(lambda: np.matmul(left, left, out=product), 2 * 384**3, time.perf_counter, 3)
    source = np.ones(2**25, np.uint8)
    target = np.empty_like(source)
    # each byte is read once and written once
    width = measure(lambda: np.copyto(target, source), 2 * source.nbytes, time.perf_counter, 3)
    return Machine(rate, width)


def main() -> None:
    r"""Draw the roofline of this machine, and set the time of two steps beside its prediction."""
    machine = this_machine()
    balance = machine.operations_per_second / machine.bytes_per_second
    print(f"this machine: {machine.operations_per_second / 1e9:.0f} GFLOP/s,", end=" ")
    print(f"{machine.bytes_per_second / 1e9:.1f} GB/s, balanced at {balance:.1f} operations a byte")
    print("operations a byte, and GFLOP/s within reach:")
    for exponent in range(-2, 10):
        reach = attainable(machine, 2.0**exponent)
        bar = "█" * round(48 * reach / machine.operations_per_second)
        print(f"{2.0**exponent:8.2f} {reach / 1e9:8.1f} {bar}")
    print(f"{'':18}{'operations':>12}{'bytes':>9}{'a byte':>8}  {'limit':11}foretold   measured")
    for name, chunk in {"prompt of 64": Chunk(64, 0), "decode after 64": Chunk(1, 64)}.items():
        work = work_of(SMALL, [chunk], 4)
        taken = 1 / measure(Step(SMALL, chunk), 1, time.perf_counter)
        print(
            f"{name:18}{work.operations / 1e6:10,.0f} M{work.moved_bytes / 1e6:7.1f} M"
            f"{work.operations / work.moved_bytes:8.1f}  {limit(machine, work):11}"
            f"{1e3 * seconds(machine, work):5.2f} ms{1e3 * taken:8.2f} ms"
        )


if __name__ == "__main__":
    main()
