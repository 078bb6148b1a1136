r"""Lab 01: the same tokens both ways, and rows counted by a model that notes what it is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples


class Counted:
    r"""A model that notes how many rows each of its parts is given; a proxy around the lab's."""

    def __init__(self, model):
        self.model = model
        self.embedded = self.scored = 0
        self.projected = [0] * model.layers

    def __getattr__(self, name):
        return getattr(self.model, name)

    def embed(self, ids, first):
        self.embedded += len(ids)
        return self.model.embed(ids, first)

    def project(self, layer, rows):
        self.projected[layer] += len(rows)
        return self.model.project(layer, rows)

    def scores(self, row):
        self.scored += np.atleast_2d(row).shape[0]
        return self.model.scores(row)


def model_of(impl, **how):
    return Counted(impl.TinyDecoder(**how))


def one_by_one(query, keys, values):
    r"""Attention from its definition, one query and one head at a time."""
    read = np.zeros_like(query)
    for place in range(len(query)):
        seen = len(keys) - len(query) + place + 1
        for head in range(query.shape[1]):
            scores = keys[:seen, head] @ query[place, head] / np.sqrt(query.shape[2])
            weights = np.exp(scores - scores.max())
            read[place, head] = weights @ values[:seen, head] / weights.sum()
    return read


def scores_of(model, ids):
    r"""Scores after a whole text, with no cache and none of the learner's code."""
    model = getattr(model, "model", model)
    rows = model.embed(ids, 0)
    for layer in range(model.layers):
        rows = model.finish(layer, rows, one_by_one(*model.project(layer, rows)))
    return model.scores(rows[-1])


def tokens_of(model, prompt, count):
    text = list(prompt)
    for _ in range(count):
        text.append(int(scores_of(model, text).argmax()))
    return text[len(prompt) :]


def given_step(impl):
    r"""A step that is right, for the tasks that only call it. It computes, and keeps token ids."""

    class Kept:
        def __init__(self):
            self.ids = []

        num_tokens = property(lambda self: len(self.ids))

        @classmethod
        def of(cls, model):
            return cls()

        def fork(self):
            twin = Kept()
            twin.ids = list(self.ids)
            return twin

    def step(model, ids, cache):
        model.embed(ids, len(cache.ids))
        cache.ids += ids
        model.scored += 1
        return scores_of(model, cache.ids)

    impl.KVCache, impl.step = Kept, step


def draws(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# ---------------------------------------------------------------- task 1: attention


@pytest.mark.task(1)
@pytest.mark.parametrize(("length", "last"), [(1, 1), (5, 5), (5, 1), (7, 3)])
def test_each_token_reads_itself_and_what_is_before(impl, length, last):
    keys, values, query = draws(3, length, 2, 3)
    found = impl.attend(query[-last:], keys, values)
    np.testing.assert_allclose(found, one_by_one(query, keys, values)[-last:], atol=1e-12)


@pytest.mark.task(1)
def test_large_scores_do_not_overflow(impl):
    keys, values, query = 60 * draws(3, 4, 2, 3, seed=1)
    found = impl.attend(query, keys, values)
    np.testing.assert_allclose(found, one_by_one(query, keys, values), atol=1e-9)


@pytest.mark.task(1)
def test_nobody_asks_for_an_earlier_query(impl):
    keys, values, query = draws(3, 6, 2, 3)
    before = impl.attend(query, keys, values)[-1]
    query[:-1] = 1e3
    np.testing.assert_allclose(impl.attend(query, keys, values)[-1], before, atol=1e-12)
    np.testing.assert_allclose(before, one_by_one(query, keys, values)[-1], atol=1e-12)


# ---------------------------------------------------------------- task 2: the cache


@pytest.mark.task(2)
def test_new_tokens_go_behind_those_that_are_complete(impl):
    cache = impl.KVCache(layers=2, capacity=6, heads=2, size=3)
    keys, values = draws(2, 5, 2, 3)
    for first, last in ((0, 2), (2, 3), (3, 5)):
        for layer in (0, 1):
            sign = 1 - 2 * layer
            found = cache.extend(layer, sign * keys[first:last], sign * values[first:last])
            np.testing.assert_array_equal(found[0], sign * keys[:last])
            np.testing.assert_array_equal(found[1], sign * values[:last])
            assert cache.num_tokens == first, "a token is complete when all layers have it"
        cache.num_tokens = last
    assert np.isnan(cache.keys[:, 5:]).all(), "nothing is written behind the text"


@pytest.mark.task(2)
def test_what_has_no_room_is_refused(impl):
    cache = impl.KVCache(layers=1, capacity=4, heads=1, size=2)
    keys, values = draws(2, 5, 1, 2)
    with pytest.raises(ValueError, match="4"):
        cache.extend(0, keys, values)
    assert np.isnan(cache.keys).all()
    assert np.isnan(cache.values).all()
    assert len(cache.extend(0, keys[:4], values[:4])[0]) == 4
    cache.num_tokens = 4
    with pytest.raises(ValueError, match="4"):
        cache.extend(0, keys[4:], values[4:])


# ---------------------------------------------------------------- task 3: a step


def given_parts(impl):
    class Cache:
        def __init__(self):
            self.kept, self.num_tokens = {}, 0

        def extend(self, layer, keys, values):
            new = np.stack([keys, values])
            old = self.kept.get(layer, new[:, :0])[:, : self.num_tokens]
            self.kept[layer] = np.concatenate([old, new], axis=1)
            return tuple(self.kept[layer])

    impl.attend = one_by_one
    return Cache()


@pytest.mark.task(3)
@pytest.mark.parametrize("pieces", [[5], [1, 1, 1, 1, 1], [3, 2], [1, 4]])
def test_the_pieces_of_a_text_give_the_scores_of_the_whole(impl, pieces):
    cache, model = given_parts(impl), model_of(impl, layers=3)
    ids, first = [7, 3, 60, 3, 9], 0
    for length in pieces:
        scores = impl.step(model, ids[first : first + length], cache)
        first += length
        np.testing.assert_allclose(scores, scores_of(model, ids[:first]), atol=1e-9)
        assert cache.num_tokens == first


@pytest.mark.task(3)
def test_scores_are_asked_for_once(impl):
    cache, model = given_parts(impl), model_of(impl, layers=3)
    impl.step(model, [7, 3, 60], cache)
    impl.step(model, [3], cache)
    assert model.scored == 2, f"{model.scored} rows were scored in two steps"
    assert model.projected == [4, 4, 4]


# ---------------------------------------------------------------- tasks 4 and 5: two loops


@pytest.mark.task(4)
@pytest.mark.parametrize(("prompt", "count"), [([5], 6), ([9, 2, 2, 40], 3), ([1, 2], 0)])
def test_the_best_tokens_with_nothing_kept(impl, prompt, count):
    given_step(impl)
    model = model_of(impl)
    assert impl.generate_again(model, prompt, count) == tokens_of(model, prompt, count)
    assert model.embedded == sum(range(len(prompt), len(prompt) + count))


@pytest.mark.task(4)
def test_rows_with_nothing_kept(impl, truth):
    given_step(impl)
    counts = []
    for answer in (32, 64):
        model = model_of(impl, layers=1)
        impl.generate_again(model, list(range(8)), answer)
        counts.append(model.embedded)
    truth("rows-again", counts[0])
    factor = counts[1] / counts[0]
    choices = ("2", "between 2 and 3", "between 3 and 4", "4 or more")
    truth("twice-as-long", choices[1 if factor < 3 else 2 if factor < 4 else 3])
    assert counts == [752, 2528]


@pytest.mark.task(5)
@pytest.mark.parametrize(("prompt", "count"), [([5], 6), ([9, 2, 2, 40], 3), ([1, 2], 0)])
def test_the_best_tokens_with_everything_kept(impl, prompt, count):
    given_step(impl)
    model, given_prompt = model_of(impl), list(prompt)
    assert impl.generate(model, prompt, count) == tokens_of(model, prompt, count)
    assert model.embedded == (len(prompt) + count - 1 if count else 0)
    assert prompt == given_prompt, "the caller's prompt was changed"


@pytest.mark.task(5)
def test_a_cache_that_holds_a_beginning_is_gone_on_with(impl):
    given_step(impl)
    model, cache = model_of(impl), impl.KVCache.of(None)
    impl.step(model, [4, 8, 15], cache)
    assert impl.generate(model, [16, 23], 4, cache) == tokens_of(model, [4, 8, 15, 16, 23], 4)
    assert model.embedded == 3 + 2 + 3
    assert cache.num_tokens == 8


@pytest.mark.task(5)
def test_rows_with_everything_kept(impl, truth):
    given_step(impl)
    model = model_of(impl, layers=1)
    impl.generate(model, list(range(8)), 32)
    truth("rows-kept", model.embedded)
    assert model.embedded == 39


# ---------------------------------------------------------------- task 6: a shared beginning


@pytest.mark.task(6)
def test_a_fork_goes_its_own_way(impl):
    cache = impl.KVCache(layers=1, capacity=5, heads=1, size=2)
    cache.keys[0, :3], cache.values[0, :3] = draws(2, 3, 1, 2)
    cache.num_tokens = 3
    keys, values = cache.keys.copy(), cache.values.copy()
    twin = cache.fork()
    assert twin.num_tokens == 3
    np.testing.assert_array_equal(twin.keys, keys)
    np.testing.assert_array_equal(twin.values, values)
    twin.keys[0, 2:], twin.values[0, 2:], twin.num_tokens = 7, 8, 5
    assert cache.num_tokens == 3
    np.testing.assert_array_equal(cache.keys, keys)
    np.testing.assert_array_equal(cache.values, values)
    cache.keys[0, 0], cache.values[0, 0] = 9, 9
    assert not (twin.keys == 9).any()
    assert not (twin.values == 9).any()


@pytest.mark.task(6)
def test_the_beginning_goes_through_once(impl):
    given_step(impl)
    impl.generate = lambda model, prompt, count, cache=None: [
        int(impl.step(model, list(prompt), cache).argmax()) for _ in [0] * min(count, 1)
    ]
    model = model_of(impl)
    questions = [[1, 2, 3], [1, 2, 4], [50]]
    found = impl.answer_all(model, list(range(10, 30)), questions, 1)
    assert found == [tokens_of(model, [*range(10, 30), *question], 1) for question in questions]
    assert model.embedded == 20 + 3 + 3 + 1
    assert impl.answer_all(model, [1], [], 3) == []


# ---------------------------------------------------------------- task 7: counting


@pytest.mark.task(7)
@pytest.mark.parametrize(("prompt", "count"), [(8, 32), (1, 1), (5, 0), (3, 2), (100, 7)])
def test_both_costs_are_known_beforehand(impl, truth, prompt, count):
    rows = pairs = 0
    for length in range(prompt, prompt + count):
        rows += length
        pairs += sum(range(1, length + 1))
    assert impl.cost_again(prompt, count) == (rows, pairs)
    kept = [*range(1, prompt + count)] if count else []
    assert impl.cost_kept(prompt, count) == (len(kept), sum(kept))
    if (prompt, count) == (8, 32):
        truth("pairs-kept", impl.cost_kept(prompt, count).pairs)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5, 7)
@examples(8)
@given(
    prompt=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    count=st.integers(0, 6),
    seed=st.integers(0, 3),
)
def test_the_same_tokens_both_ways_and_rows_as_foretold(impl, prompt, count, seed):
    again, kept = model_of(impl, seed=seed), model_of(impl, seed=seed)
    tokens = impl.generate_again(again, prompt, count)
    assert tokens == impl.generate(kept, prompt, count) == tokens_of(kept, prompt, count)
    for model, cost in ((again, impl.cost_again), (kept, impl.cost_kept)):
        assert model.projected == [cost(len(prompt), count).rows] * 2
        assert model.scored == count


@pytest.mark.task(1, 2, 3, 5, 6)
def test_three_questions_about_one_text(impl, truth):
    model = model_of(impl)
    beginning = [(7 * n) % 61 for n in range(40)]
    questions = [[n, 1, 2, 3, 4] for n in range(3)]
    found = impl.answer_all(model, beginning, questions, 4)
    assert found == [tokens_of(model, beginning + question, 4) for question in questions]
    truth("shared", model.projected[0])
    assert model.projected == [40 + 3 * (5 + 3)] * 2
