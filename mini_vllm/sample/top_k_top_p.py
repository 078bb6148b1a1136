r"""What is the last token that top-p lets through?

The one that *crosses* the line. With `top_p` 0.9 and probabilities 0.5, 0.3, 0.15, 0.05, the first
two sum to 0.8, which is not enough; so the third is needed, and stays, and the sum is 0.95. An
implementation that keeps tokens "while the sum is below p" is right if it means the sum of those
*before*, and wrong if it includes the token itself: it then drops the boundary token, and with
`top_p` 0.4 it drops everything. A peer's patch did that.

Top-k goes first, and top-p then works on what it left, with probabilities that sum to one again.
Tokens that tie with the k-th are kept, as upstream keeps them
({up}`vllm/v1/sample/ops/topk_topp_sampler.py#apply_top_k_top_p_pytorch`); tokens that tie at the
boundary of top-p are taken in the order of their ids.

Sorting a vocabulary is slow, and what top-p keeps is usually a handful. So the likeliest
{py:data}`HEAD` tokens are looked at first, and only if those do not reach p are all of them sorted.
"""

from __future__ import annotations

import torch

#: How many of the likeliest tokens are tried before the whole vocabulary is sorted.
HEAD = 256


def apply_top_k_top_p(
    logits: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
) -> torch.Tensor:
    r"""Mask what the filters exclude with minus infinity, in place; at least one token of a row
    stays.

    `logits`: `[num_rows, vocab_size]`, after temperature. `top_k`: `[num_rows]`, integers from 1 to
    `vocab_size` (the vocabulary means "off"); `top_p`: `[num_rows]` in (0, 1].
    """
    if top_k is not None:
        _mask_below_kth(logits, top_k)
    if top_p is not None:
        _mask_tail(logits, top_p)
    return logits


def _mask_below_kth(logits: torch.Tensor, top_k: torch.Tensor) -> None:
    vocab_size = logits.shape[1]
    filtered = torch.nonzero(top_k < vocab_size).squeeze(1)
    if not filtered.numel():
        return
    ranks = top_k[filtered].long() - 1
    best = logits[filtered].topk(int(ranks.max()) + 1, dim=-1).values
    kth = best.gather(1, ranks.unsqueeze(1))
    logits[filtered] = logits[filtered].masked_fill(logits[filtered] < kth, float("-inf"))


def _mask_tail(logits: torch.Tensor, top_p: torch.Tensor) -> None:
    # A row without the filter must not pass through it. In float32 a sum reaches 1 before its
    # last terms, so with `top_p` 1 the rarest tokens would go: what a request may draw would
    # depend on whether a neighbour filters.
    filtered = torch.nonzero(top_p < 1.0).squeeze(1)
    if filtered.numel() == logits.shape[0]:
        logits.masked_fill_(~_keeps(logits, top_p), float("-inf"))
    elif filtered.numel():
        rows = logits[filtered]
        logits[filtered] = rows.masked_fill(~_keeps(rows, top_p[filtered]), float("-inf"))


def _keeps(logits: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    probs = logits.softmax(dim=-1)
    keep = torch.zeros_like(logits, dtype=torch.bool)
    head = min(HEAD, logits.shape[1])
    likeliest, ids = probs.topk(head, dim=-1)
    kept = _crosses(likeliest, top_p)
    # The head settles a row if it holds the first token that is dropped, and if that token is
    # not the equal of the last one kept: `topk` does not say how it orders equals. (A head that is
    # kept whole is compared with its own last token, and so is not settled.)
    num_kept = kept.sum(dim=-1, keepdim=True)
    last = likeliest.gather(1, num_kept - 1)
    dropped = likeliest.gather(1, num_kept.clamp(max=head - 1))
    settled = dropped < last
    keep.scatter_(1, ids, kept & settled)
    rest = torch.nonzero(~settled.squeeze(1)).squeeze(1)
    if rest.numel():
        ordered, ids = probs[rest].sort(dim=-1, descending=True, stable=True)
        keep[rest] = keep[rest].scatter_(1, ids, _crosses(ordered, top_p[rest]))
    return keep


def _crosses(ordered: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    # Keep a token iff those before it do not reach p. The first has none before it: it stays.
    before = ordered.cumsum(dim=-1) - ordered
    keep = before < top_p.unsqueeze(1)
    keep[:, 0] = True
    return keep
