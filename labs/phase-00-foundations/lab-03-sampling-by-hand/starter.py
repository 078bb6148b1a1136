r"""From a row of scores to a token: the rules that a request may ask for, one function each.

A row is `[vocab]`, float64. A token that may not be drawn has the score minus infinity; no rule
brings it back. No function changes the row that it is given.

Run this file to see what each rule leaves of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: A temperature below this means: take the best token, and do not draw at all.
GREEDY_BELOW = 1e-5


def probabilities(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    r"""The softmax of `scores / temperature`, `[vocab]`; it sums to one.

    Scores may be large, and may be minus infinity, though not all of them. A temperature that is
    not above zero is a `ValueError` that names it.
    """
    # TODO task 1: make probabilities
    raise NotImplementedError("task 1: make probabilities")


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    r"""Keep the `k` best tokens, and all that tie with the last of them; 0 keeps all.

    So does a `k` beyond the vocabulary.
    """
    # TODO task 2: keep the best k
    raise NotImplementedError("task 2: keep the best k")


def top_p(scores: np.ndarray, p: float) -> np.ndarray:
    r"""Keep the likeliest tokens that are needed to reach a probability of `p` together.

    The token that reaches or crosses `p` is kept, and nothing behind it; so one token always stays.
    Tokens that are equally likely go in the order of their ids. From 1 on, all are kept.
    """
    # TODO task 3: keep the nucleus
    raise NotImplementedError("task 3: keep the nucleus")


def min_p(scores: np.ndarray, share: float) -> np.ndarray:
    r"""Keep the tokens that have at least `share` times the probability of the best one."""
    # TODO task 4: drop what is too unlikely
    raise NotImplementedError("task 4: drop what is too unlikely")


def penalise(
    scores: np.ndarray,
    prompt: Sequence[int],
    answer: Sequence[int],
    repetition: float = 1.0,
    frequency: float = 0.0,
    presence: float = 0.0,
) -> np.ndarray:
    r"""Lower the scores of tokens that have been used, in this order.

    | tax | tokens of | what it does to the score |
    |---|---|---|
    | `repetition` | prompt or answer | above zero divided by it, else multiplied, once |
    | `frequency` | answer | taken off, as many times as the token stands there |
    | `presence` | answer | taken off, once |
    """
    # TODO task 5: tax what has been said
    raise NotImplementedError("task 5: tax what has been said")


def draw(probs: np.ndarray, rng: np.random.Generator) -> int:
    r"""One token, drawn with the given probabilities, which sum to one.

    All chance comes from `rng`: the same generator in the same state gives the same token. A token
    with probability zero is never drawn.
    """
    # TODO task 6: draw
    raise NotImplementedError("task 6: draw")


class Request(NamedTuple):
    r"""What one request asks for, what it has said, and the generator that is its own."""

    rng: np.random.Generator
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    prompt: Sequence[int] = ()
    answer: Sequence[int] = ()


def sample(rows: np.ndarray, requests: Sequence[Request]) -> list[int]:
    r"""A token for each request, from its row of `rows`, `[len(requests), vocab]`.

    In this order: penalties; at a temperature below {py:data}`GREEDY_BELOW` the best token, of
    equals the first; else temperature, min-p, top-k, top-p, and a draw from the request's own
    generator. What a request gets does not depend on who else is there.
    """
    # TODO task 7: sample a batch
    raise NotImplementedError("task 7: sample a batch")


def main() -> None:
    r"""Show one row under each rule, and what forty thousand draws make of it."""
    scores = np.log(np.array([0.40, 0.22, 0.15, 0.10, 0.06, 0.04, 0.02, 0.01]))
    rules = {
        "as it is": scores,
        "temperature 0.5": scores / 0.5,
        "temperature 2": scores / 2,
        "top_k 3": top_k(scores, 3),
        "top_p 0.7": top_p(scores, 0.7),
        "min_p 0.2": min_p(scores, 0.2),
        "presence 1 on token 0": penalise(scores, [], [0], presence=1.0),
    }
    for name, row in rules.items():
        probs = probabilities(row)
        bars = "".join(" ▁▂▃▄▅▆▇█"[int(np.ceil(8 * p / 0.8))] for p in np.minimum(probs, 0.8))
        print(f"{name:22} {bars}  ", *(f"{p:6.3f}" if p else "     -" for p in probs))
    rng = np.random.default_rng(0)
    probs = probabilities(scores)
    seen = np.bincount([draw(probs, rng) for _ in range(40_000)], minlength=len(probs))
    print(f"{'drawn 40,000 times':22} {'':10}", *(f"{n / 40_000:6.3f}" for n in seen))


if __name__ == "__main__":
    main()
