r"""What is one log-probability, if nobody asked for the other 150,000?

One pass, and no table. `log_softmax` writes a number for each token of the vocabulary, of which the
caller then looks at one. But the log-probability of a single token is its score minus the logarithm
of the sum of all exponentials, and that sum is a number that a program can carry along: the largest
score so far, and the sum relative to it, corrected whenever the largest grows. (It is the same
running softmax that attention uses over a long past.) The rank comes for free on the way, as a
count of the scores that are at least as large.

**The grid** is rows; **a program holds** {py:data}`BLOCK` scores at a time and three numbers.
**What is left to the cache**: nothing but the token's own score, which is looked up first.

Upstream's second model runner has two kernels for the two results:
{up}`vllm/v1/worker/gpu/sample/logprob.py#_topk_log_softmax_kernel` and
{up}`vllm/v1/worker/gpu/sample/logprob.py#_ranks_kernel`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost

#: Tokens of the vocabulary a turn.
BLOCK = 4096


@triton.jit
def chosen_logprobs_kernel(logits, tokens, logprobs, ranks, vocab_size, stride, SIZE: tl.constexpr):
    r"""One row: the log-probability of its token, and how many are at least as likely."""
    row = tl.program_id(0).to(tl.int64)
    scores = logits + row * stride
    own = tl.load(scores + tl.load(tokens + row)).to(tl.float32)
    largest, total, rank = float("-inf"), 0.0, 0
    for start in range(0, vocab_size, SIZE):
        token = start + tl.arange(0, SIZE)
        inside = token < vocab_size
        score = tl.load(scores + token, inside, float("-inf")).to(tl.float32)
        rank += tl.sum((inside & (score >= own)).to(tl.int32))
        new_largest = tl.maximum(largest, tl.max(score))
        # Until a score above minus infinity was seen there is nothing to correct.
        seen = new_largest > float("-inf")
        shift = tl.where(seen, new_largest, 0.0)
        total = total * tl.exp(largest - shift) + tl.sum(tl.exp(score - shift))
        largest = new_largest
    tl.store(logprobs + row, own - largest - tl.log(total))
    tl.store(ranks + row, rank)


def chosen_logprobs(
    logits: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""The log-probability of each row's token, float32, and its rank from 1, int32: `[num_rows]`.

    `logits`: `[num_rows, vocab_size]`, raw; `tokens`: `[num_rows]`, ids in the vocabulary, which
    nothing checks here. Modifies nothing. Raises `ValueError` for another number of tokens.
    """
    num_rows, vocab_size = logits.shape
    if tokens.shape != (num_rows,) or logits.stride(1) != 1:
        raise ValueError(
            f"{tuple(tokens.shape)} tokens for scores {tuple(logits.shape)} with strides "
            f"{logits.stride()}"
        )
    logprobs = torch.empty(num_rows, dtype=torch.float32, device=logits.device)
    ranks = torch.empty(num_rows, dtype=torch.int32, device=logits.device)
    if num_rows:
        chosen_logprobs_kernel[(num_rows,)](
            logits, tokens, logprobs, ranks, vocab_size, logits.stride(0), SIZE=BLOCK
        )
    return logprobs, ranks


def chosen_logprobs_reference(
    logits: torch.Tensor, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What {py:func}`chosen_logprobs` means."""
    own = logits.gather(1, tokens.unsqueeze(1))
    logprobs = logits.log_softmax(dim=-1, dtype=torch.float32)
    ranks = (logits >= own).sum(dim=-1)
    return logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1), ranks.int()


def chosen_logprobs_cost(num_rows: int, vocab_size: int, *, itemsize: int = 4) -> KernelCost:
    r"""The scores and the tokens in, two numbers a row out.

    Operations a score: two comparisons, a difference, an exponential, a sum.
    """
    return KernelCost(
        num_rows * (vocab_size * itemsize + 8), num_rows * 8, 5 * num_rows * vocab_size
    )
