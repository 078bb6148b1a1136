r"""Who wins a race of a whole vocabulary, without anybody computing a probability?

The sampler lets tokens race: token $i$ waits $q_i / p_i$, with $q_i$ drawn from a standard
exponential, and the first one wins, with probability $p_i$
({py:mod}`mini_vllm.sample.sampler`). In logarithms the winner is

$$\arg\max_i \left( \frac{z_i}{T} - \log q_i \right),$$

where $z$ are the scores and $T$ the temperature. The sum that would make probabilities of the
scores is the same for all tokens, so it drops out: no softmax, no second pass, no tensor of
probabilities. ($-\log q$ is Gumbel's distribution, by which name the trick is known.) Temperature,
draw and search are one pass over the scores and the noise.

**The grid** is a row, and a piece of {py:data}`BLOCK` tokens of its vocabulary. A row for each
program would leave most of a device idle in a small batch: eight requests are eight programs, and a
device runs hundreds. So each program finds the best of its piece, and stores it with its place;
a second kernel, one program a row, takes the best of the few that are left. Two launches cost
microseconds, and a vocabulary read by eight programs costs more.

**What a program holds**: a piece of scores and a piece of noise. A greedy row's noise is masked,
and not read. **Equals** go to the lower token, in both kernels. **A NaN** is taken for the largest
number, so that a broken row yields some token of the vocabulary, as the sampler promises.

Upstream's second model runner has the same pair, and makes its noise in the kernel, from a seed and
a position: {up}`vllm/v1/worker/gpu/sample/gumbel.py#_gumbel_sample_kernel`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.language import next_power_of_two
from mini_vllm.sampling_params import GREEDY_BELOW

#: Tokens of the vocabulary that one program looks at.
BLOCK = 4096


@triton.jit
def best_of_piece_kernel(
    scores,
    temperature,
    waits,
    best_score,
    best_token,
    vocab_size,
    scores_stride,
    RACE: tl.constexpr,
    GREEDY: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""The best token of one piece of one row, and its score; without `RACE`, of the scores as they
    are. A row at a temperature below `GREEDY` does not draw.
    """
    row = tl.program_id(0).to(tl.int64)
    piece = tl.program_id(1)
    token = piece * SIZE + tl.arange(0, SIZE)
    inside = token < vocab_size
    score = tl.load(scores + row * scores_stride + token, inside, float("-inf")).to(tl.float32)
    if RACE:
        # Spread before it is compared: the interpreter cannot spread what a comparison gives.
        heat = tl.load(temperature + row).to(tl.float32) + tl.zeros((SIZE,), tl.float32)
        draws = heat >= GREEDY
        wait = tl.load(waits + row * vocab_size + token, inside & draws, 1.0)
        score = tl.where(draws, score / tl.where(draws, heat, 1.0) - tl.log(wait), score)
    score = tl.where(score == score, score, float("inf"))
    score, place = tl.max(score, axis=0, return_indices=True)
    at = row * tl.num_programs(1) + piece
    tl.store(best_score + at, score)
    tl.store(best_token + at, piece * SIZE + place)


@triton.jit
def best_of_row_kernel(best_score, best_token, token_ids, num_pieces, SIZE: tl.constexpr):
    r"""The best of one row's pieces."""
    row = tl.program_id(0).to(tl.int64)
    piece = tl.arange(0, SIZE)
    at = row * num_pieces + piece
    score = tl.load(best_score + at, piece < num_pieces, float("-inf"))
    # Pieces are in the order of their tokens: the first of equals has the lowest.
    winner = tl.argmax(score, axis=0)
    tl.store(token_ids + row, tl.load(best_token + row * num_pieces + winner).to(tl.int64))


def race(scores: torch.Tensor, temperature: torch.Tensor, waits: torch.Tensor) -> torch.Tensor:
    r"""One token a row: drawn at the row's temperature, or the best where that is 0.

    `scores`: `[num_rows, vocab_size]`, masked tokens at minus infinity; `temperature`:
    `[num_rows]`; `waits`: `[num_rows, vocab_size]` in float32, standard exponential draws above 0.
    Returns `[num_rows]` token ids, int64. Modifies nothing. Raises `ValueError` for shapes or a
    type of the noise that do not fit.
    """
    if waits.shape != scores.shape or waits.dtype != torch.float32 or not waits.is_contiguous():
        raise ValueError(
            f"waits must be contiguous {tuple(scores.shape)} in float32, got "
            f"{tuple(waits.shape)} of {waits.dtype}"
        )
    if temperature.shape != scores.shape[:1]:
        raise ValueError(f"{temperature.numel()} temperatures for {scores.shape[0]} rows")
    return _best(scores, temperature, waits)


def best_tokens(scores: torch.Tensor) -> torch.Tensor:
    r"""The greatest score's token in each row, the first of equals: `[num_rows]`, int64."""
    return _best(scores, None, None)


def _best(
    scores: torch.Tensor, temperature: torch.Tensor | None, waits: torch.Tensor | None
) -> torch.Tensor:
    num_rows, vocab_size = scores.shape
    if vocab_size == 0 or scores.stride(1) != 1:
        raise ValueError(f"scores {tuple(scores.shape)} with strides {scores.stride()}")
    token_ids = torch.empty(num_rows, dtype=torch.int64, device=scores.device)
    if num_rows == 0:
        return token_ids
    pieces = (vocab_size + BLOCK - 1) // BLOCK
    score = torch.empty((num_rows, pieces), dtype=torch.float32, device=scores.device)
    token = torch.empty((num_rows, pieces), dtype=torch.int32, device=scores.device)
    best_of_piece_kernel[(num_rows, pieces)](
        scores,
        temperature,
        waits,
        score,
        token,
        vocab_size,
        scores.stride(0),
        RACE=waits is not None,
        GREEDY=GREEDY_BELOW,
        SIZE=BLOCK,
    )
    block = next_power_of_two(pieces)
    best_of_row_kernel[(num_rows,)](score, token, token_ids, pieces, SIZE=block, num_warps=1)
    return token_ids


def race_reference(
    scores: torch.Tensor, temperature: torch.Tensor, waits: torch.Tensor
) -> torch.Tensor:
    """What {py:func}`race` means."""
    scores = scores.float()
    draws = (temperature >= GREEDY_BELOW).unsqueeze(1)
    heat = temperature.unsqueeze(1).masked_fill(~draws, 1.0)
    return torch.where(draws, scores / heat - waits.log(), scores).argmax(dim=-1)


def race_cost(
    num_rows: int, vocab_size: int, *, num_greedy: int = 0, itemsize: int = 4
) -> KernelCost:
    r"""Scores of all rows, noise of the rows that draw, and the best of each piece, out and in.

    Operations a token: division, logarithm, difference, comparison; of a greedy row the last one.
    """
    drawing, pieces = num_rows - num_greedy, (vocab_size + BLOCK - 1) // BLOCK
    # The last kernel reads every score of a piece and one token a row.
    read = num_rows * (vocab_size * itemsize + 4) + drawing * vocab_size * 4
    return KernelCost(
        read + num_rows * (pieces * 4 + 4),
        num_rows * (pieces * 8 + 8),
        vocab_size * (num_rows + 3 * drawing),
    )
