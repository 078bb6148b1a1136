r"""From the runner's numbers to what a caller reads: one dictionary a token.

The chosen token comes first and carries its true rank; the likeliest ones follow, ranked 1, 2, 3.
When the chosen token is one of them, they are one entry. So a dictionary has `logprobs` entries
when the choice was among the best, and `logprobs + 1` when it was not.

Upstream: {up}`vllm/v1/engine/logprobs.py#LogprobsProcessor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count

from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.engine.detokenizer import REPLACEMENT, Decode, Tokenizer, decoder_of
from mini_vllm.outputs import Logprob, LogprobsOnePosition
from mini_vllm.sampling_params import SamplingParams

# As many tokens as one character can be spread over.
MAX_CONTEXT = 4


class LogprobsProcessor:
    r"""The log-probabilities of one answer, as it grows.

    `logprobs` and `cumulative_logprob` are `None` when the request did not ask.
    """

    def __init__(self, tokenizer: Tokenizer | None, params: SamplingParams) -> None:
        asked = params.logprobs is not None
        self.num_logprobs = params.logprobs
        self.logprobs: list[LogprobsOnePosition] | None = [] if asked else None
        self.cumulative_logprob: float | None = 0.0 if asked else None
        self._decode: Decode | None = None
        if tokenizer is not None and params.detokenize:
            self._decode = decoder_of(tokenizer, skip_special_tokens=False)
        self._drawn: list[int] = []

    def update(self, new_logprobs: Sequence[TokenLogprobs] | None) -> None:
        """Add the positions of one step."""
        if self.logprobs is None or self.cumulative_logprob is None:
            return
        for position in new_logprobs or ():
            self.cumulative_logprob += position.logprobs[0]
            self.logprobs.append(self._one_position(position))
            self._drawn = [*self._drawn[1 - MAX_CONTEXT :], position.token_ids[0]]

    def _one_position(self, position: TokenLogprobs) -> LogprobsOnePosition:
        # The runner may send more alternatives than this request asked for: the batch's most.
        width = len(position.token_ids) if self.num_logprobs == -1 else 1 + (self.num_logprobs or 0)
        ranks = chain((position.rank,), count(1))
        return {
            token_id: Logprob(logprob, rank, self._text_of(token_id))
            for token_id, logprob, rank in zip(
                position.token_ids[:width], position.logprobs, ranks, strict=False
            )
        }

    def _text_of(self, token_id: int) -> str | None:
        """The token's text; for a piece of a character, what it completes, or nothing."""
        if self._decode is None:
            return None
        text = self._decode([token_id])
        if REPLACEMENT not in text:
            return text
        # The fewest tokens before it with which it is whole: more would cut into other characters.
        for start in range(len(self._drawn) - 1, -1, -1):
            context = self._drawn[start:]
            whole = self._decode([*context, token_id])
            if REPLACEMENT not in whole:
                # What was complete before this token is not its own.
                before = self._decode(context).rstrip(REPLACEMENT)
                return whole[len(before) :] if whole.startswith(before) else whole
        return ""
