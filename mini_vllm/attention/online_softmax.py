r"""Can an average be taken over numbers that are never all there?

Attention of one query is an average of values, weighted by a softmax of scores:

$$o = \frac{\sum_j e^{s_j} v_j}{\sum_j e^{s_j}}.$$

Both sums run over the whole past, and nothing bounds a score. So nobody computes it like this:
in float32 $e^{s_j}$ overflows from a score of {given}`89` on. The textbook takes the largest score
$m$ off first, which changes nothing, as $e^{-m}$ cancels. It needs *three* passes: one for $m$,
one for the sum, one for the average. Each wants all scores, so somebody has to keep them or make
them again. For a prompt of $n$ tokens, kept, they are $n^2$ numbers a head.

## One pass

Suppose we have seen only some positions, and took off *their* largest score $m$. We hold three
things: $m$, the sum $\ell = \sum e^{s_j - m}$, and the weighted sum $a = \sum e^{s_j - m} v_j$. A
new position comes with a score $s$ and a value $v$; the largest is now $m' = \max(m, s)$. If it
grew, everything so far was measured from the wrong height. But it was all measured from the *same*
wrong height, and one factor corrects it:

$$\ell' = \ell\,e^{m - m'} + e^{s - m'}, \qquad a' = a\,e^{m - m'} + e^{s - m'}\,v.$$

At the end $o = a/\ell$. Scores are used when they are made and then forgotten. For $m$ and $\ell$
this is the online softmax {cite}`online-softmax`. FlashAttention {cite}`flashattention` carries the
average along with them, a tile of positions at a time; its first version divided by $\ell$ after
each tile, which the kernels here leave to the end.

## Any order, any cut

Nothing said that the second lot is a single position. Two lots that know nothing of each other,
$(m_1, \ell_1, a_1)$ and $(m_2, \ell_2, a_2)$, become one:

$$m = \max(m_1, m_2), \quad \ell = \ell_1 e^{m_1 - m} + \ell_2 e^{m_2 - m}, \quad
a = a_1 e^{m_1 - m} + a_2 e^{m_2 - m}.$$

Is that exact? Yes, in real numbers: put the definitions in, and $e^{s_j - m_1} e^{m_1 - m} =
e^{s_j - m}$ for each position of the first lot, likewise for the second; so the result *is* the
triple of the union. Then everything that holds for unions of sets holds for merges: order does not
matter, grouping does not matter, and the empty set $(-\infty, 0, 0)$ changes nothing. In float32 it
is exact up to rounding, and stays so for any cut: every factor is at most 1, so no merge magnifies
what was rounded before it.

That is all that three techniques need, which differ only in who computes the lots and where they
meet: split-KV decoding (one past, many processors), cascade attention (one prefix, many requests)
and context parallelism (one past, many devices). {py:class}`SoftmaxLot` is the triple in
torch; {py:mod}`mini_vllm.kernels.triton.unified_attention` has it in registers. Upstream merges
with the same formula, from $o$ and $m + \ln \ell$ instead of $a$ and $\ell$:
{up}`vllm/v1/attention/ops/triton_merge_attn_states.py#merge_attn_states_kernel`.

One trap. A lot may be empty, or nothing in it visible, and then $m = -\infty$ and the factor is
$e^{-\infty - (-\infty)}$, which is not a number. {py:meth}`SoftmaxLot.measured_from` measures such
a lot from zero instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SoftmaxLot:
    r"""What a part of the past has to say about some queries: a softmax that is not finished.

    `largest` and `total` are `[...]`, `weighted` is `[..., head_size]`, all float: the largest
    score, the sum of all $e^{s - \mathrm{largest}}$, and the values summed with these as weights.
    """

    largest: torch.Tensor
    total: torch.Tensor
    weighted: torch.Tensor

    @classmethod
    def empty(cls, queries: torch.Tensor) -> SoftmaxLot:
        """The lot of no position at all, for `queries`, `[..., head_size]`: merging it changes
        nothing.
        """
        shape = queries.shape[:-1]
        return cls(
            queries.new_full(shape, float("-inf")),
            queries.new_zeros(shape),
            torch.zeros_like(queries),
        )

    @classmethod
    def of(cls, scores: torch.Tensor, values: torch.Tensor) -> SoftmaxLot:
        r"""The lot of some positions: `scores` `[..., n]`, with $-\infty$ for those that may not be
        seen, and `values`, `[n, head_size]`.
        """
        largest = scores.amax(dim=-1)
        weights = torch.exp(scores - cls.measured_from(largest).unsqueeze(-1))
        return cls(largest, weights.sum(-1), weights @ values)

    @staticmethod
    def measured_from(largest: torch.Tensor) -> torch.Tensor:
        r"""The height that scores are measured from: the largest one, or 0 where there is none."""
        return torch.where(largest.isneginf(), 0.0, largest)

    def merge(self, other: SoftmaxLot) -> SoftmaxLot:
        r"""The lot of both parts. Associative and commutative, up to rounding; modifies neither."""
        largest = torch.maximum(self.largest, other.largest)
        height = self.measured_from(largest)
        mine, theirs = torch.exp(self.largest - height), torch.exp(other.largest - height)
        return SoftmaxLot(
            largest,
            self.total * mine + other.total * theirs,
            self.weighted * mine.unsqueeze(-1) + other.weighted * theirs.unsqueeze(-1),
        )

    def result(self) -> torch.Tensor:
        r"""The average, `[..., head_size]`: zeros for a query that saw no position."""
        total = torch.where(self.total == 0, 1.0, self.total)
        return self.weighted / total.unsqueeze(-1)
