"""The quick search for the best token finds the one that torch finds."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.sample.kernels import best_tokens


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5]), st.sampled_from([1, 15, 64, 1000]))
@settings(max_examples=60, deadline=None)
def test_the_best_token_is_torchs(seed, rows, columns):
    """Few distinct values, so that there are ties; and now and then a row with a NaN or -inf."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (rows, columns)).astype(np.float32)
    special = rng.random((rows, columns))
    scores[special < 0.01] = np.nan
    scores[special > 0.9] = -np.inf
    tensor = torch.from_numpy(scores)
    assert best_tokens(tensor).tolist() == tensor.argmax(dim=-1).tolist()
