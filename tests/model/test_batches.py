r"""Each epoch shows every token once, and a run that resumes sees what it would have seen."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.model.batches import Batches
from book.model.recipe import TARGET

SMALL = dataclasses.replace(TARGET, window_by_epoch=(4, 8), tokens_per_step=16)


def documents(lengths):
    r"""Distinct tokens throughout, so that a token says where it came from."""
    counter = iter(range(1, 60_000))
    return [np.array([next(counter) for _ in range(n)] + [0], dtype=np.uint16) for n in lengths]


corpora = st.lists(st.integers(1, 40), min_size=3, max_size=12).filter(lambda n: sum(n) > 40)


@given(corpora)
def test_an_epoch_predicts_each_token_at_most_once_and_nearly_all(lengths):
    batches = Batches(documents(lengths), SMALL)
    total = sum(lengths)
    step = 0
    for epoch, steps in enumerate(batches.steps_by_epoch):
        window = SMALL.window_by_epoch[epoch]
        targets = []
        for _ in range(steps):
            batch = batches.batch(step)
            assert batch.shape == (SMALL.tokens_per_step // window, window + 1)
            targets += [token for token in batch[:, 1:].flatten().tolist() if token]
            step += 1
        assert len(targets) == len(set(targets))
        assert len(targets) > total - 2 * SMALL.tokens_per_step
    assert step == batches.num_steps
    assert batches.num_tokens == step * SMALL.tokens_per_step


@given(corpora, st.data())
def test_a_batch_depends_on_its_step_alone(lengths, data):
    straight = Batches(documents(lengths), SMALL)
    in_order = [straight.batch(step) for step in range(straight.num_steps)]
    steps = st.integers(0, straight.num_steps - 1)
    resumed = Batches(documents(lengths), SMALL)
    for step in data.draw(st.lists(steps, max_size=6)):
        np.testing.assert_array_equal(resumed.batch(step), in_order[step])


def test_windows_are_contiguous_text_in_an_order_of_their_own():
    same_window = dataclasses.replace(SMALL, window_by_epoch=(4, 4))
    batches = Batches(documents([400]), same_window)
    rows = np.concatenate([batches.batch(s) for s in range(batches.steps_by_epoch[0])])
    assert (np.diff(rows, axis=1) == 1).sum() >= rows[:, 1:].size - 1  # but for the end of text
    starts = rows[:, 0].tolist()
    assert starts != sorted(starts)
    again = np.concatenate(
        [batches.batch(s) for s in range(batches.steps_by_epoch[0], batches.num_steps)]
    )
    assert again[:, 0].tolist() != starts  # the second epoch has an order of its own


def test_no_step_past_the_last():
    batches = Batches(documents([100]), SMALL)
    with pytest.raises(IndexError, match=f"{batches.num_steps} steps"):
        batches.batch(batches.num_steps)


def test_a_step_must_be_whole_windows():
    with pytest.raises(ValueError, match=r"4096 tokens .* windows of 1000"):
        dataclasses.replace(TARGET, window_by_epoch=(1000,))
