r"""A tiny decoder, and generation with and without what it has computed before.

The model stands in {py:class}`TinyDecoder` and is given: embedding, projections, the rest of a
layer, scores. What is missing is everything that has to do with time: what a token reads, what is
kept, and the loop. Shapes: a text of `n` rows is `[n, hidden]`; queries, keys and values are
`[n, heads, size]`.

Run this file to see what keeping is worth on your machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class TinyDecoder:
    r"""A decoder with random weights, always the same ones for a seed. Everything here is given.

    Has a table of positions instead of a rotation; otherwise it is what the mini-build of this
    phase writes.
    """

    def __init__(
        self,
        layers: int = 2,
        heads: int = 2,
        size: int = 8,
        vocab: int = 61,
        positions: int = 256,
        seed: int = 0,
    ) -> None:
        draw, hidden = np.random.default_rng(seed), heads * size
        self.layers, self.heads, self.size, self.positions = layers, heads, size, positions
        self.table = draw.normal(size=(vocab, hidden))
        self.places = draw.normal(size=(positions, hidden))
        self.inward = draw.normal(size=(layers, hidden, 3 * hidden)) / hidden**0.5
        self.outward = draw.normal(size=(layers, hidden, hidden)) / hidden**0.5
        self.mlp = draw.normal(size=(2, layers, hidden, hidden)) / hidden**0.5

    def embed(self, ids: Sequence[int], first: int) -> np.ndarray:
        r"""Rows of tokens, `[n, hidden]`; the first of them stands at position `first`."""
        if first + len(ids) > self.positions:
            raise ValueError(f"position {first + len(ids) - 1} of {self.positions}")
        return self.table[list(ids)] + self.places[first : first + len(ids)]

    def project(self, layer: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Queries, keys and values of rows, each `[n, heads, size]`."""
        three = (_normed(rows) @ self.inward[layer]).reshape(len(rows), 3, self.heads, self.size)
        return three[:, 0], three[:, 1], three[:, 2]

    def finish(self, layer: int, rows: np.ndarray, read: np.ndarray) -> np.ndarray:
        r"""The rest of a layer: rows and what they have read, `[n, heads, size]`, to new rows."""
        rows = rows + read.reshape(len(rows), -1) @ self.outward[layer]
        return rows + np.tanh(_normed(rows) @ self.mlp[0, layer]) @ self.mlp[1, layer]

    def scores(self, row: np.ndarray) -> np.ndarray:
        r"""How well each token of the vocabulary would continue after one row, `[vocab]`."""
        return _normed(row) @ self.table.T


def _normed(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt((rows * rows).mean(axis=-1, keepdims=True))


def attend(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    r"""What the last tokens of a text read of it, `[n, heads, size]`.

    `query` is `[n, heads, size]`, keys and values are `[length, heads, size]` with `length >= n`:
    the queries belong to the *last* `n` tokens. Each reads itself and what stands before it. The
    weights are the softmax of query times key over the square root of `size`, head by head.
    """
    # lab: begin task 1 "let the last tokens read"
    places = len(keys) - len(query) + np.arange(len(query))
    scores = np.einsum("qhd,khd->hqk", query, keys) / query.shape[2] ** 0.5
    scores = np.where(np.arange(len(keys)) > places[:, None], -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, values)
    # lab: end


class KVCache:
    r"""The keys and values of a text, for every layer, in arrays of a fixed size.

    `keys` and `values` are `[layers, capacity, heads, size]`, and hold anything where nothing has
    been written. `num_tokens` says how many tokens are complete, which means: kept in all layers.
    """

    def __init__(self, layers: int, capacity: int, heads: int, size: int) -> None:
        self.keys = np.full((layers, capacity, heads, size), np.nan)
        self.values = np.full((layers, capacity, heads, size), np.nan)
        self.num_tokens = 0

    @classmethod
    def of(cls, model: TinyDecoder) -> KVCache:
        r"""An empty cache for the longest text of a model."""
        return cls(model.layers, model.positions, model.heads, model.size)

    def extend(
        self, layer: int, keys: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Keep the keys and values of new tokens in one layer; return those of the whole text.

        The new ones, `[n, heads, size]`, go behind the complete tokens, and nothing else is
        written. Returned are the kept and the new ones together, `[num_tokens + n, heads, size]`.
        The tokens are not complete yet: `num_tokens` stays. Too many for the capacity is a
        `ValueError` that names it, and then nothing is written.
        """
        # lab: begin task 2 "keep keys and values"
        end = self.num_tokens + len(keys)
        if end > self.keys.shape[1]:
            raise ValueError(f"{end} tokens, room for {self.keys.shape[1]}")
        self.keys[layer, self.num_tokens : end] = keys
        self.values[layer, self.num_tokens : end] = values
        return self.keys[layer, :end], self.values[layer, :end]
        # lab: end

    def fork(self) -> KVCache:
        r"""A cache that holds the same tokens and can go on differently.

        What is done to either of the two afterwards is not seen by the other.
        """
        # lab: begin task 6 "keep a beginning for many"
        twin = KVCache.__new__(KVCache)
        twin.keys, twin.values = self.keys.copy(), self.values.copy()
        twin.num_tokens = self.num_tokens
        return twin
        # lab: end


def step(model: TinyDecoder, ids: Sequence[int], cache: KVCache) -> np.ndarray:
    r"""Run new tokens through the model on top of a cache; the scores after the last, `[vocab]`.

    `ids` are the tokens that follow on those in the cache, one or many. Afterwards they are
    complete in it. The model is asked for scores once, for the last row alone.
    """
    # lab: begin task 3 "take a step on top of what is kept"
    rows = model.embed(ids, cache.num_tokens)
    for layer in range(model.layers):
        query, keys, values = model.project(layer, rows)
        read = attend(query, *cache.extend(layer, keys, values))
        rows = model.finish(layer, rows, read)
    cache.num_tokens += len(ids)
    return model.scores(rows[-1])
    # lab: end


def generate_again(model: TinyDecoder, prompt: Sequence[int], count: int) -> list[int]:
    r"""The `count` best tokens after a prompt, keeping nothing from one token to the next.

    Each turn puts the whole text through {py:func}`step`, into an empty cache that is thrown away.
    """
    # lab: begin task 4 "generate with nothing kept"
    text = list(prompt)
    for _ in range(count):
        text.append(int(step(model, text, KVCache.of(model)).argmax()))
    return text[len(prompt) :]
    # lab: end


def generate(
    model: TinyDecoder, prompt: Sequence[int], count: int, cache: KVCache | None = None
) -> list[int]:
    r"""The `count` best tokens after a prompt, putting no token through the model twice.

    `cache` may hold the beginning of the text; then `prompt` is what follows on it. Without one, an
    empty cache is made. No token goes through the model whose scores nobody asks for.
    """
    # lab: begin task 5 "generate with everything kept"
    cache = KVCache.of(model) if cache is None else cache
    news, answer = list(prompt), []
    for _ in range(count):
        answer.append(int(step(model, news, cache).argmax()))
        news = answer[-1:]
    return answer
    # lab: end


def answer_all(
    model: TinyDecoder, beginning: Sequence[int], questions: Sequence[Sequence[int]], count: int
) -> list[list[int]]:
    r"""For each question the `count` best tokens after the beginning and the question.

    The beginning goes through the model once, whatever the number of questions.
    """
    # lab: begin task 6 "keep a beginning for many"
    cache = KVCache.of(model)
    step(model, beginning, cache)
    return [generate(model, question, count, cache.fork()) for question in questions]
    # lab: end


class Cost(NamedTuple):
    r"""`rows` through each layer, and `pairs`: a query and a key that it is compared with."""

    rows: int
    pairs: int


def cost_again(prompt: int, count: int) -> Cost:
    r"""What an answer of `count` tokens costs in one layer and head when nothing is kept.

    A row is compared with itself and with all rows before it.
    """
    # lab: begin task 7 "count before you run"
    texts = range(prompt, prompt + count)
    return Cost(sum(texts), sum(length * (length + 1) // 2 for length in texts))
    # lab: end


def cost_kept(prompt: int, count: int) -> Cost:
    r"""The same when keys and values are kept. No answer costs nothing."""
    # lab: begin task 7 "count before you run"
    rows = prompt + count - 1 if count else 0
    return Cost(rows, rows * (rows + 1) // 2)
    # lab: end


def main() -> None:
    r"""Time both ways on this machine, and print the counts beside the times."""
    model = TinyDecoder(layers=4, heads=4, size=32, vocab=512, positions=512)
    prompt = list(range(1, 33))
    print("answer      rows again  rows kept  quotient   again       kept        quotient")
    for count in (16, 64, 256):
        times = []
        for run in (generate_again, generate):
            begin = time.perf_counter()
            run(model, prompt, count)
            times.append(time.perf_counter() - begin)
        again, kept = cost_again(len(prompt), count), cost_kept(len(prompt), count)
        print(
            f"{count:6}{again.rows:16,}{kept.rows:11,}{again.rows / kept.rows:10.1f}"
            f"{1e3 * times[0]:9.1f} ms{1e3 * times[1]:9.1f} ms{times[0] / times[1]:10.1f}"
        )


if __name__ == "__main__":
    main()
