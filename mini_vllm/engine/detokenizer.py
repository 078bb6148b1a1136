r"""When is a token text?

Not always at once. A tokenizer that works on bytes spells a character of four bytes with up to
four tokens, and the first three of them are no text at all; decode them anyway and the reader sees
`�`, then the `�` must be unprinted. And the text of a token depends on its neighbours: decode
`▁world` alone, and some tokenizers drop the space that belongs before it. So text cannot be made
token by token, and making it from the beginning each time costs $O(n^2)$.

The way out is a short window. Keep the last few tokens and their text. When a token comes, decode
the window with it, and what the new text has beyond the old one is what the token said. If the new
text ends in `�`, a character is under way: say nothing, and wait for the next token. The window
then moves on, so a token that is read by itself costs the decoding of about ten.

## Text is made when somebody reads it

Nobody need read every token by itself. A script that waits for the whole answer looks at its text
once, and so does a client of the server that does not stream. For them the tokens are laid aside,
and a whole portion is decoded in the window instead of one token: the same text, for a small part
of the calls.

Two readers cannot wait. A stop string must be seen before more is drawn, so an answer with stop
strings is read at each step; and a caller who streams asks at each step. Nor may it wait for ever:
{py:data}`UNREAD_LIMIT` tokens are read even if nobody asks, so that a long answer is not decoded
whole in its last step, while others wait for theirs.

## A stop string is found in text

The engine core knows tokens. `stop=["\n\n"]` is about text, and one string may arrive in many
spellings, one token or three. So it is looked for here, after decoding, and three things follow.

*The core does not know.* It learns of the end by an abort. Here the abort comes before the next
step; in vLLM the next step may be under way by then, and a token or two are drawn in vain.

*Text that was shown cannot be taken back.* If "END" stops the answer and "EN" has just been
decoded, a stream must not show it yet. So, while a request runs, the last `max(len(stop)) - 1`
characters are held back, and the end lets them out
({up}`vllm/v1/engine/detokenizer.py#BaseIncrementalDetokenizer.get_next_output_text`).

*Tokens and text disagree.* The text is cut at the stop string; the tokens are not, for they were
drawn.

When several stop strings appear at once, the one that begins first in the text wins. Upstream
takes the first of the *list* that occurs anywhere in the new text
({up}`vllm/v1/engine/detokenizer.py#check_stop_strings`), so that `stop=["b", "a"]` leaves the "a"
of a token "ab" standing in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mini_vllm.sampling_params import SamplingParams

# A character of UTF-8 has at most four bytes, so these many tokens always hold a whole one.
WINDOW_START = 5
# Longer windows are decoded more often than they need to be; shorter ones are rebuilt more often.
WINDOW_LIMIT = 16
#: How many tokens may wait for a reader. Larger portions gain little, and make the step longer in
#: which one is read.
UNREAD_LIMIT = 64
REPLACEMENT = "\ufffd"

#: From token ids to text.
Decode = Callable[[Sequence[int]], str]


class Tokenizer(Protocol):
    r"""What the engine needs of a tokenizer; those of transformers have it."""

    eos_token_id: int | None

    def encode(self, text: str) -> list[int]:
        """From text to token ids, with the special tokens that begin a prompt."""

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = ...) -> str:
        """From token ids to text."""


def decoder_of(tokenizer: Tokenizer, skip_special_tokens: bool) -> Decode:
    r"""The quickest function that decodes as `tokenizer` does.

    A fast tokenizer of transformers is a wrapper around one of the tokenizers library, and for ten
    tokens the wrapper costs more than the decoding; take what is inside.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return lambda ids: backend.decode(ids, skip_special_tokens=skip_special_tokens)


class IncrementalDetokenizer:
    r"""The text of one answer, as it grows, and the search for its stop strings.

    Give it each step's tokens with {py:meth}`update`; take the text with
    {py:meth}`get_next_output_text`. What it says does not depend on how the tokens were portioned,
    nor on when somebody asked. Without a tokenizer there is no text, and nothing to search.
    `prompt_token_ids` prime the window: how the first token of an answer is spelled depends on the
    prompt's last. Characters whose bytes are incomplete at the end of the answer never appear.

    Upstream: {up}`vllm/v1/engine/detokenizer.py#BaseIncrementalDetokenizer`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        params: SamplingParams,
        prompt_token_ids: Sequence[int] = (),
    ) -> None:
        self.token_ids: list[int] = []
        # Tokens at the end of the answer that are not text yet.
        self._unread: list[int] = []
        self._text = ""
        self.stop: list[str] = list(params.stop or ())
        self.min_tokens = params.min_tokens
        self.include_stop_str_in_output = params.include_stop_str_in_output
        # How many characters at the end may still turn out to be a stop string.
        self._held_back = 0
        if self.stop and not self.include_stop_str_in_output:
            self._held_back = max(map(len, self.stop)) - 1
        self._num_shown = 0

        self._decode: Decode | None = None
        self._window = list(prompt_token_ids[-WINDOW_START:])
        self._window_text = ""
        if tokenizer is not None and params.detokenize:
            self._decode = decoder_of(tokenizer, params.skip_special_tokens)
            self._window_text = self._decode(self._window)

    def update(self, new_token_ids: Sequence[int], stop_terminated: bool = False) -> str | None:
        r"""Take in new tokens; return the stop string that they completed, or `None`.

        `stop_terminated` says that the core ended the request on the last of them, an
        end-of-sequence or stop token: it then counts as a token and gives no text, unless the
        parameters include stops in the output. After a hit, the text ends before the stop string,
        or after it if that is what was asked for.
        """
        self.token_ids.extend(new_token_ids)
        if self._decode is None or not new_token_ids:
            return None
        if stop_terminated and not self.include_stop_str_in_output:
            new_token_ids = new_token_ids[:-1]
        if not self.stop:
            self._unread.extend(new_token_ids)
            if len(self._unread) >= UNREAD_LIMIT:
                self._read()
            return None
        search_from = len(self._text)
        num_before = len(self.token_ids) - len(new_token_ids)
        for count, token_id in enumerate(new_token_ids, 1):
            self._text += self._decode_next(self._decode, [token_id])
            if num_before + count <= self.min_tokens:
                # Too early to stop: whatever stands here is no match, now or later.
                search_from = len(self._text)
        if len(self.token_ids) <= self.min_tokens:
            return None
        return self._find_stop(search_from)

    @property
    def output_text(self) -> str:
        """The answer's text so far, what is held back included."""
        self._read()
        return self._text

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        r"""The text to show: all of it, or with `delta` what was not shown before.

        Until `finished`, without the characters that are held back.
        """
        text = self.output_text
        end = len(text)
        if not finished:
            end = max(end - self._held_back, 0)
        if not delta:
            return text[:end]
        start, self._num_shown = self._num_shown, max(end, self._num_shown)
        return text[start:end]

    def _read(self) -> None:
        """Turn the tokens that were laid aside into text."""
        if self._decode is None or not self._unread:
            return
        token_ids, self._unread = self._unread, []
        news = self._decode_next(self._decode, token_ids)
        if not news and len(token_ids) > 1:
            # A character is under way at their end. What stands before it is text all the same.
            del self._window[-len(token_ids) :]
            for token_id in token_ids:
                news += self._decode_next(self._decode, [token_id])
        self._text += news

    def _decode_next(self, decode: Decode, token_ids: Sequence[int]) -> str:
        """What these tokens add to the text; nothing while a character is incomplete."""
        self._window.extend(token_ids)
        text = decode(self._window)
        if len(text) <= len(self._window_text) or text.endswith(REPLACEMENT):
            return ""
        news = text[len(self._window_text) :]
        self._window_text = text
        if len(self._window) > WINDOW_LIMIT:
            self._window = self._window[-WINDOW_START:]
            self._window_text = decode(self._window)
        return news

    def _find_stop(self, search_from: int) -> str | None:
        """Find the stop string that begins first, cut the text at it, and return it."""
        hits = []
        for order, stop in enumerate(self.stop):
            # One that ends in the new text may have begun in the old.
            index = self._text.find(stop, max(0, search_from - len(stop) + 1))
            if index >= 0:
                hits.append((index, order, stop))
        if not hits:
            return None
        index, _, stop = min(hits)
        end = index + len(stop) if self.include_stop_str_in_output else index
        self._text = self._text[:end]
        return stop
