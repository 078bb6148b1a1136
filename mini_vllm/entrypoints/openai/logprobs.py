r"""How does one list of dictionaries become two formats?

The engine reports, for each token drawn, a dictionary from token ids to log-probabilities
({py:data}`mini_vllm.outputs.LogprobsOnePosition`). Completions want four parallel lists, with the
place of each token in the text; chats want a list of records, with the bytes of each token.

A token is not always text. The first of the three tokens that spell an emoji has none, the last has
all of it ({py:mod}`mini_vllm.engine.logprobs`). So the tokens of an answer, joined, are its text,
and so are the bytes; the two properties hold for streams too, where offsets go on from chunk to
chunk.

JSON has no infinity. A token that could not have been drawn is reported with
{py:data}`LOWEST`, as upstream does
({up}`vllm/entrypoints/openai/completion/serving.py#OpenAIServingCompletion._create_completion_logprobs`).
"""

from __future__ import annotations

from collections.abc import Sequence

from mini_vllm.entrypoints.openai.chat_completion.protocol import (
    ChatLogprobs,
    TokenLogprob,
    TopLogprob,
)
from mini_vllm.entrypoints.openai.completion.protocol import CompletionLogProbs
from mini_vllm.outputs import Logprob, LogprobsOnePosition

#: What stands for the logarithm of zero.
LOWEST = -9999.0


class LogprobsFormatter:
    r"""The log-probabilities of one answer, chunk by chunk, in either format.

    `num_top` is how many alternatives were asked for. `as_token_ids` writes a token as
    `token_id:7`, for clients that must not confuse two tokens of the same text. `text_offset`, in
    characters, is where the answer begins.
    """

    def __init__(self, num_top: int, as_token_ids: bool = False, text_offset: int = 0) -> None:
        self.num_top = num_top
        self.as_token_ids = as_token_ids
        self.text_offset = text_offset

    def completion(
        self, token_ids: Sequence[int], positions: Sequence[LogprobsOnePosition]
    ) -> CompletionLogProbs:
        """Parallel lists, for the next tokens of the answer; moves the offset on."""
        # Every field is set, or the stream would leave it out.
        result = CompletionLogProbs(text_offset=[], token_logprobs=[], tokens=[], top_logprobs=[])
        for token_id, position in zip(token_ids, positions, strict=True):
            text = self._text(token_id, position[token_id])
            top: dict[str, float] = {}
            for other_id, other in list(position.items())[: self.num_top + 1]:
                top.setdefault(self._text(other_id, other), _finite(other))
            result.tokens.append(text)
            result.token_logprobs.append(_finite(position[token_id]))
            result.top_logprobs.append(top)
            result.text_offset.append(self.text_offset)
            self.text_offset += len(text)
        return result

    def chat(
        self, token_ids: Sequence[int], positions: Sequence[LogprobsOnePosition]
    ) -> ChatLogprobs:
        """One record a token."""
        content = []
        for token_id, position in zip(token_ids, positions, strict=True):
            ranked = sorted(position.items(), key=lambda item: item[1].rank or 0)
            content.append(
                TokenLogprob(
                    **self._record(token_id, position[token_id]).model_dump(),
                    top_logprobs=[self._record(*item) for item in ranked[: self.num_top]],
                )
            )
        return ChatLogprobs(content=content)

    def _record(self, token_id: int, logprob: Logprob) -> TopLogprob:
        text = self._text(token_id, logprob)
        return TopLogprob(token=text, logprob=_finite(logprob), bytes=list(text.encode()))

    def _text(self, token_id: int, logprob: Logprob) -> str:
        if self.as_token_ids or logprob.decoded_token is None:
            return f"token_id:{token_id}"
        return logprob.decoded_token


def _finite(logprob: Logprob) -> float:
    return max(logprob.logprob, LOWEST)
