"""What sampling means, in float64 NumPy, one row at a time; shares no line with the engine.

The order of the rules is upstream's (its `Sampler` numbers them): what may change the best token,
then penalties, then temperature, min-p, top-k, top-p.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    exp = np.exp(scores - scores.max())
    return exp / exp.sum()


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def apply_rules(logits, params, prompt: Sequence[int], output: Sequence[int]) -> np.ndarray:
    """Scores after `min_tokens` and the penalties; a greedy row takes the best of these."""
    scores = np.asarray(logits, np.float64).copy()
    if len(output) < params.min_tokens:
        scores[sorted(params.all_stop_token_ids)] = -np.inf
    for token in {*prompt, *output}:
        r = params.repetition_penalty
        scores[token] = scores[token] / r if scores[token] > 0 else scores[token] * r
    for token, count in Counter(output).items():
        scores[token] -= params.frequency_penalty * count + params.presence_penalty
    return scores


def probabilities(logits, params, prompt: Sequence[int], output: Sequence[int]) -> np.ndarray:
    """The distribution that a token is drawn from."""
    scores = apply_rules(logits, params, prompt, output) / params.temperature
    probs = softmax(scores)
    scores[probs < params.min_p * probs.max()] = -np.inf
    if 0 < params.top_k < len(scores):
        scores[scores < np.sort(scores)[-params.top_k]] = -np.inf
    probs = softmax(scores)
    if params.top_p < 1.0:
        order = np.lexsort((np.arange(len(probs)), -probs))
        before = np.cumsum(probs[order]) - probs[order]
        keep = before < params.top_p
        keep[0] = True
        probs[order[~keep]] = 0.0
    return probs / probs.sum()


def boundary_margin(logits, params, prompt: Sequence[int], output: Sequence[int]) -> float:
    """How far the filters' decisions are from going the other way, relative to what decides."""
    scores = apply_rules(logits, params, prompt, output) / params.temperature
    probs = softmax(scores)
    best = probs.max()
    margins = [1.0]
    if params.min_p:
        others = np.delete(probs, probs.argmax())  # the best passes, whatever min_p is
        margins.append(float(np.abs(others - params.min_p * best).min() / best))
        scores[probs < params.min_p * best] = -np.inf
    if 0 < params.top_k < len(scores):
        ranked = np.sort(scores)[::-1]
        if np.isfinite(ranked[params.top_k]):
            margins.append(float(ranked[params.top_k - 1] - ranked[params.top_k]))
        scores[scores < ranked[params.top_k - 1]] = -np.inf
    if params.top_p < 1.0:
        probs = np.sort(softmax(scores))[::-1]
        sums = np.cumsum(probs)
        margins.append(float(np.abs(sums - params.top_p).min()))
        last = int(np.searchsorted(sums, params.top_p))
        if last + 1 < len(probs) and probs[last + 1] > 0:
            margins.append(float(probs[last] - probs[last + 1]))
    return min(margins)
