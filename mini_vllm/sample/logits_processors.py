r"""How do you add a rule to sampling without slowing down those who did not ask for it?

A rule is an object for the whole batch, not a function per request. It is told when the batch
changes, keeps what it needs per row, and edits all rows at once. A rule that nobody uses answers in
one comparison. vLLM's first interface was a function per request; with V1 it was given up for this
one ({up}`vllm/v1/sample/logits_processor/interface.py#LogitsProcessor`,
{up}`docs/usage/v1_guide.md`).

A rule says one thing about itself: can it change which token is the best? `min_p` cannot, since it
removes only what is much worse than the best. `min_tokens` can: it forbids the very token that
would end the answer. Rules of the first kind are skipped for greedy rows, at no risk.

## Telling of changes

Requests come, go, and are moved from one row to another so that the batch has no holes. A
{py:class}`BatchUpdate` lists these, and must be read in order: removals, then additions, then
moves. An addition may land on a row that has just been vacated, in which case that removal is not
listed at all; a move overwrites its target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mini_vllm.sampling_params import SamplingParams


@dataclass(frozen=True)
class BatchUpdate:
    r"""What happened to the rows since the last step.

    `removed`: rows that are now free. `added`: row, parameters, and the list of the request's
    output tokens, which is the live one: it grows as tokens are drawn. `moved`: from row, to row.
    Upstream: {up}`vllm/v1/sample/logits_processor/interface.py#BatchUpdate`, which also has swaps.
    """

    removed: Sequence[int] = ()
    added: Sequence[tuple[int, SamplingParams, list[int]]] = ()
    moved: Sequence[tuple[int, int]] = ()


class LogitsProcessor(ABC):
    """A rule of sampling, for all rows of a batch."""

    @abstractmethod
    def is_argmax_invariant(self) -> bool:
        """Whether the best token of a row is the same before and after."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Whether no row uses the rule now, so that applying it would change nothing."""

    @abstractmethod
    def update_state(self, update: BatchUpdate | None) -> None:
        """Take note of changes to the batch; None when there were none. Called before each step."""

    @abstractmethod
    def apply(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        r"""Edit `logits`, `[len(rows), vocab_size]`, in place, and return it.

        `rows[i]` is the batch row of the request whose scores are `logits[i]`.
        """


class MinTokensLogitsProcessor(LogitsProcessor):
    r"""No token that ends the answer, until there are `min_tokens` of them.

    Every stop token's score becomes minus infinity. That is only half of the rule: the other half
    is in the stop check, which must not end a request early for another reason
    ({py:mod}`mini_vllm.core.stopping`). Upstream:
    {up}`vllm/v1/sample/logits_processor/builtin.py#MinTokensLogitsProcessor`.
    """

    def __init__(self) -> None:
        # row -> (min_tokens, the live list of output tokens, the tokens to forbid)
        self._waiting: dict[int, tuple[int, list[int], list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """It may forbid the best token."""
        return False

    def is_idle(self) -> bool:
        """Whether every request has its tokens."""
        return not self._waiting

    def update_state(self, update: BatchUpdate | None) -> None:
        """Follow the rows, and forget those that have enough tokens."""
        if update is not None:
            for row in update.removed:
                self._waiting.pop(row, None)
            for row, params, output_token_ids in update.added:
                self._waiting.pop(row, None)
                if params.min_tokens and params.all_stop_token_ids:
                    stops = sorted(params.all_stop_token_ids)
                    self._waiting[row] = (params.min_tokens, output_token_ids, stops)
            for source, target in update.moved:
                self._waiting.pop(target, None)
                if source in self._waiting:
                    self._waiting[target] = self._waiting.pop(source)
        done = [row for row, (least, output, _) in self._waiting.items() if len(output) >= least]
        for row in done:
            del self._waiting[row]

    def apply(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Forbid the stop tokens of the rows that are not there yet."""
        for i, row in enumerate(rows):
            if row in self._waiting:
                logits[i, self._waiting[row][2]] = float("-inf")
        return logits


class MinPLogitsProcessor(LogitsProcessor):
    r"""Nothing that is less likely than `min_p` times the likeliest token.

    A filter that adapts: where the model is sure, little passes; where it is not, much does. Looks
    at probabilities *after* temperature. Upstream:
    {up}`vllm/v1/sample/logits_processor/builtin.py#MinPLogitsProcessor`.
    """

    def __init__(self, max_num_rows: int):
        self._min_p = np.zeros(max_num_rows, np.float32)
        self._num_users = 0

    def is_argmax_invariant(self) -> bool:
        """The likeliest token always passes."""
        return True

    def is_idle(self) -> bool:
        """Whether no request gave a `min_p`."""
        return not self._num_users

    def update_state(self, update: BatchUpdate | None) -> None:
        """Follow the rows."""
        if update is None:
            return
        for row in update.removed:
            self._min_p[row] = 0.0
        for row, params, _ in update.added:
            self._min_p[row] = params.min_p
        for source, target in update.moved:
            self._min_p[target] = self._min_p[source]
            self._min_p[source] = 0.0
        self._num_users = int(np.count_nonzero(self._min_p))

    def apply(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Mask what is too unlikely."""
        min_p = torch.from_numpy(self._min_p[list(rows)]).to(logits.device).unsqueeze(1)
        probs = logits.softmax(dim=-1)
        floor = probs.amax(dim=-1, keepdim=True) * min_p
        return logits.masked_fill_(probs < floor, float("-inf"))


@dataclass(frozen=True)
class LogitsProcessors:
    """The rules of an engine, sorted by whether they can change the best token."""

    argmax_invariant: list[LogitsProcessor] = field(default_factory=list)
    non_argmax_invariant: list[LogitsProcessor] = field(default_factory=list)

    @classmethod
    def of(cls, processors: Iterable[LogitsProcessor]) -> LogitsProcessors:
        """Sort `processors` into the two lists."""
        sorted_ = cls()
        for processor in processors:
            invariant = processor.is_argmax_invariant()
            (sorted_.argmax_invariant if invariant else sorted_.non_argmax_invariant).append(
                processor
            )
        return sorted_

    @classmethod
    def builtin(cls, max_num_rows: int) -> LogitsProcessors:
        """The rules that every engine has."""
        return cls.of((MinTokensLogitsProcessor(), MinPLogitsProcessor(max_num_rows)))

    def update_state(self, update: BatchUpdate | None) -> None:
        """Tell all of them what changed."""
        for processor in (*self.non_argmax_invariant, *self.argmax_invariant):
            processor.update_state(update)
