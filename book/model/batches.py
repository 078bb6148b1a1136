r"""Which windows of text does the model see, and in which order?

An epoch lays all documents behind each other in a fresh random order, an end-of-text token after
each, and cuts the ribbon into windows of equal length. Then it shuffles the *windows*: neighbours
on the ribbon come from one file, and a batch from one file is a biased gradient.

Every order is drawn from `(seed, epoch)` alone, so that a run that was interrupted finds its place
again without replaying anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from book.model.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT_ID = 0


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[np.ndarray]:
    r"""One `uint16` array per text, each closed by the end-of-text token."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array([*encoding.ids, END_OF_TEXT_ID], dtype=np.uint16) for encoding in encodings]


def ribbon(documents: Sequence[np.ndarray], order: np.ndarray) -> np.ndarray:
    r"""The documents behind each other in the given order."""
    return np.concatenate([documents[index] for index in order])


class Batches:
    r"""The batches of a whole run, addressed by step.

    `batch(step)` is an `int64` array `[windows, window + 1]`: the last column is only a target and
    the first only an input. Neighbouring windows share that one token, so every token is predicted
    once an epoch. The tail of an epoch that fills no batch is dropped.
    """

    def __init__(self, documents: Sequence[np.ndarray], recipe: Recipe) -> None:
        self.documents = documents
        self.recipe = recipe
        tokens = sum(len(document) for document in documents)
        self.steps_by_epoch = [
            (tokens - 1) // window // (recipe.tokens_per_step // window)
            for window in recipe.window_by_epoch
        ]
        self.num_steps = sum(self.steps_by_epoch)
        self.num_tokens = self.num_steps * recipe.tokens_per_step
        self._epoch = -1
        self._windows = np.empty((0, 0), dtype=np.uint16)

    def epoch_of(self, step: int) -> tuple[int, int]:
        r"""The epoch that `step` falls into, and its place in that epoch."""
        for epoch, steps in enumerate(self.steps_by_epoch):
            if step < steps:
                return epoch, step
            step -= steps
        raise IndexError(f"the run has {self.num_steps} steps; there is no step past the last")

    def batch(self, step: int) -> np.ndarray:
        r"""The batch of `step`, the same whenever and however often it is asked for."""
        epoch, place = self.epoch_of(step)
        if epoch != self._epoch:
            self._windows, self._epoch = self._cut(epoch), epoch
        rows = self.recipe.tokens_per_step // self.recipe.window_by_epoch[epoch]
        return self._windows[place * rows : (place + 1) * rows].astype(np.int64)

    def _cut(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.recipe.seed, epoch])
        tokens = ribbon(self.documents, random.permutation(len(self.documents)))
        window = self.recipe.window_by_epoch[epoch]
        count = (len(tokens) - 1) // window
        starts = random.permutation(count) * window
        return tokens[starts[:, None] + np.arange(window + 1)]
