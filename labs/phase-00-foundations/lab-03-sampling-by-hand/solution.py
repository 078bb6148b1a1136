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
    # lab: begin task 1 "make probabilities"
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, it must be above 0")
    weights = np.exp((scores - scores.max()) / temperature)
    return weights / weights.sum()
    # lab: end


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    r"""Keep the `k` best tokens, and all that tie with the last of them; 0 keeps all.

    So does a `k` beyond the vocabulary.
    """
    # lab: begin task 2 "keep the best k"
    # For k = 0 this is the score at -0, the smallest of all.
    last = np.sort(scores)[-min(k, len(scores))]
    return np.where(scores < last, -np.inf, scores)
    # lab: end


def top_p(scores: np.ndarray, p: float) -> np.ndarray:
    r"""Keep the likeliest tokens that are needed to reach a probability of `p` together.

    The token that reaches or crosses `p` is kept, and nothing behind it; so one token always stays.
    Tokens that are equally likely go in the order of their ids. From 1 on, all are kept.
    """
    # lab: begin task 3 "keep the nucleus"
    if p >= 1:
        return scores.copy()
    probs = probabilities(scores)
    order = np.lexsort([-probs])  # equals stay in the order of their ids
    before = np.cumsum(probs[order]) - probs[order]
    before[0] = -np.inf
    kept = np.full_like(scores, -np.inf)
    nucleus = order[before < p]
    kept[nucleus] = scores[nucleus]
    return kept
    # lab: end


def min_p(scores: np.ndarray, share: float) -> np.ndarray:
    r"""Keep the tokens that have at least `share` times the probability of the best one."""
    # lab: begin task 4 "drop what is too unlikely"
    probs = probabilities(scores)
    return np.where(probs < share * probs.max(), -np.inf, scores)
    # lab: end


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
    # lab: begin task 5 "tax what has been said"
    times = np.bincount(np.asarray(answer, dtype=np.int64), minlength=len(scores))
    used = times > 0
    used[list(prompt)] = True
    taxed = np.where(scores > 0, scores / repetition, scores * repetition)
    taxed = np.where(used, taxed, scores)
    return taxed - frequency * times - presence * (times > 0)
    # lab: end


def draw(probs: np.ndarray, rng: np.random.Generator) -> int:
    r"""One token, drawn with the given probabilities, which sum to one.

    All chance comes from `rng`: the same generator in the same state gives the same token. A token
    with probability zero is never drawn.
    """
    # lab: begin task 6 "draw"
    waits = rng.exponential(size=len(probs))
    # the first to arrive, if each waits for a time of rate p
    return int((probs / waits).argmax())
    # lab: end


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
    # lab: begin task 7 "sample a batch"
    tokens = []
    for row, wants in zip(rows, requests):
        said = wants.prompt, wants.answer
        taxes = wants.repetition, wants.frequency, wants.presence
        scores = penalise(row, *said, *taxes)
        if wants.temperature < GREEDY_BELOW:
            tokens.append(int(scores.argmax()))
            continue
        scores = min_p(scores / wants.temperature, wants.min_p)
        scores = top_p(top_k(scores, wants.top_k), wants.top_p)
        tokens.append(draw(probabilities(scores), wants.rng))
    return tokens
    # lab: end


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
