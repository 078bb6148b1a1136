r"""Lab 03: rules against rows worked out by hand, and draws against chi-square.

A draw is judged by counts. `LIMIT` holds, by degrees of freedom, the chi-square that a right
sampler exceeds once in a million times; the seeds are fixed, so a sampler that passes once passes
always.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

LIMIT = {1: 23.93, 2: 27.63, 3: 30.66, 4: 33.38, 7: 40.52}
OUT = -np.inf
FOUR = np.array([0.5, 0.3, 0.15, 0.05])


def chi_square(tokens, probs):
    r"""How far counts are from what they should be; a token that may not occur is a failure."""
    counts = np.bincount(tokens, minlength=len(probs))
    assert len(counts) == len(probs), f"token {max(tokens)} of a vocabulary of {len(probs)}"
    assert not counts[probs == 0].any(), f"a token with probability 0 was drawn: {counts}"
    expected = len(tokens) * probs[probs > 0]
    return float((((counts[probs > 0] - expected) ** 2) / expected).sum())


def assert_fair(tokens, probs):
    probs = np.asarray(probs)
    freedom = int((probs > 0).sum()) - 1
    found = chi_square(tokens, probs)
    if freedom:
        counts = np.bincount(tokens, minlength=len(probs))
        assert found < LIMIT[freedom], f"chi-square {found:.1f}: {counts} for {probs}"


def softmax(scores):
    weights = np.exp(scores - np.max(scores))
    return weights / weights.sum()


def kept(scores):
    return [int(token) for token in np.flatnonzero(np.isfinite(scores))]


def unchanged(function, scores, *arguments):
    r"""Call a rule; it must not touch its row, nor the scores of the tokens that it keeps."""
    before = np.array(scores, dtype=float)
    row = before.copy()
    found = function(row, *arguments)
    np.testing.assert_array_equal(row, before)
    found_kept = kept(found)
    np.testing.assert_array_equal(found[found_kept], before[found_kept])
    assert set(np.flatnonzero(~np.isfinite(found))) == set(np.flatnonzero(found == OUT))
    return found_kept


def given_softmax(impl):
    impl.probabilities = lambda scores, temperature=1.0: softmax(scores / temperature)


# ---------------------------------------------------------------- task 1: probabilities


@pytest.mark.task(1)
@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("scores", [[0.0, 1.0, -2.0], [5.0], [1e4, 1e4 - 1, 0], [-900.0, -901.0]])
def test_a_softmax_at_a_temperature(impl, scores, temperature):
    found = impl.probabilities(np.array(scores), temperature)
    np.testing.assert_allclose(found, softmax(np.array(scores) / temperature), atol=1e-12)
    assert abs(found.sum() - 1) < 1e-12


@pytest.mark.task(1)
def test_a_lower_temperature_is_sharper(impl, truth):
    found = impl.probabilities(np.log([0.8, 0.2]), 0.5)[0]
    choices = {"about 0.8": 0.8, "about 0.89": 0.89, "about 0.94": 0.94, "about 0.99": 0.99}
    truth("sharper", min(choices, key=lambda name: abs(choices[name] - found)))
    assert found == pytest.approx(0.64 / 0.68)
    assert impl.probabilities(np.array([0.0, OUT, 0.0])).tolist() == [0.5, 0, 0.5]


@pytest.mark.task(1)
@pytest.mark.parametrize("temperature", [0.0, -0.5])
def test_no_temperature_is_no_temperature(impl, temperature):
    with pytest.raises(ValueError, match=str(temperature)):
        impl.probabilities(np.array([1.0, 2.0]), temperature)


# ---------------------------------------------------------------- task 2: top-k


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("k", "expected"), [(1, [2]), (2, [0, 2]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (0, [0, 1, 2, 3])]
)
def test_the_best_k(impl, k, expected):
    assert unchanged(impl.top_k, [2.0, -1.0, 3.0, 0.5], k) == expected
    assert unchanged(impl.top_k, [2.0, -1.0, 3.0, 0.5], 9) == [0, 1, 2, 3]


@pytest.mark.task(2)
def test_who_ties_with_the_last_stays(impl, truth):
    scores = [3.0, 2.0, 2.0, 1.0]
    truth("ties", len(unchanged(impl.top_k, scores, 2)))
    assert unchanged(impl.top_k, scores, 2) == [0, 1, 2]
    assert unchanged(impl.top_k, scores, 1) == [0]
    assert unchanged(impl.top_k, [1.0, 1.0, 1.0], 1) == [0, 1, 2]


@pytest.mark.task(2)
def test_what_is_out_stays_out(impl):
    assert unchanged(impl.top_k, [OUT, 1.0, OUT, 0.0], 1) == [1]
    assert unchanged(impl.top_k, [OUT, 1.0, OUT, 0.0], 3) == [1, 3]


# ---------------------------------------------------------------- task 3: top-p


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("p", "count"),
    [(0.01, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.9, 3), (0.96, 4), (1.0, 4)],
)
def test_the_token_that_crosses_the_line_stays(impl, truth, p, count):
    given_softmax(impl)
    place = [2, 0, 3, 1]  # the likeliest token need not stand first
    scores = np.empty(4)
    scores[place] = np.log(FOUR)
    found = unchanged(impl.top_p, scores, p)
    if p == 0.9:
        truth("boundary", len(found))
    assert found == sorted(place[:count])


@pytest.mark.task(3)
@pytest.mark.parametrize(("p", "count"), [(0.0, 1), (0.25, 1), (0.3, 2), (0.5, 2), (0.75, 3)])
def test_equals_go_by_their_ids(impl, p, count):
    given_softmax(impl)
    assert unchanged(impl.top_p, [7.0, OUT, 7.0, 7.0, 7.0], p) == [0, 2, 3, 4][:count]


@pytest.mark.task(3)
def test_from_one_on_nothing_goes(impl):
    given_softmax(impl)
    # In floating point the first of these has a probability of 1 already.
    assert unchanged(impl.top_p, [0.0, -40.0, -41.0], 1.0) == [0, 1, 2]
    assert unchanged(impl.top_p, [1.0, 1.0], 1.5) == [0, 1]


# ---------------------------------------------------------------- task 4: min-p


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, [0, 1, 2, 3]), (0.09, [0, 1, 2, 3]), (0.11, [0, 1, 2]), (0.31, [0, 1]), (0.7, [0])],
)
def test_what_is_too_unlikely_beside_the_best(impl, share, expected):
    given_softmax(impl)
    assert unchanged(impl.min_p, np.log(FOUR) - 3, share) == expected


@pytest.mark.task(4)
def test_the_best_and_its_equals_always_stay(impl):
    given_softmax(impl)
    assert unchanged(impl.min_p, [2.0, OUT, 2.0, 1.0], 1.0) == [0, 2]


# ---------------------------------------------------------------- task 5: penalties


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("taxes", "expected"),
    [
        ({}, [2.0, -2.0, 4.0, 0.0, 3.0]),
        ({"repetition": 2.0}, [1.0, -4.0, 2.0, 0.0, 3.0]),
        ({"frequency": 0.5}, [2.0, -2.5, 3.0, -0.5, 3.0]),
        ({"presence": 0.5}, [2.0, -2.5, 3.5, -0.5, 3.0]),
        ({"frequency": -0.5}, [2.0, -1.5, 5.0, 0.5, 3.0]),
        ({"repetition": 2.0, "frequency": 1.0, "presence": 3.0}, [1.0, -8.0, -3.0, -4.0, 3.0]),
    ],
)
def test_three_taxes_and_who_pays_them(impl, taxes, expected):
    scores = np.array([2.0, -2.0, 4.0, 0.0, 3.0])
    before = scores.copy()
    # prompt 0, 0, 2; answer 2, 1, 3, 2: token 4 was never used
    found = impl.penalise(scores, [0, 0, 2], [2, 1, 3, 2], **taxes)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.task(5)
def test_two_taxes_on_a_token_that_was_used_twice(impl, truth):
    found = impl.penalise(np.full(9, 4.0), [], [7, 1, 7], frequency=0.5, presence=0.5)
    truth("both-taxes", f"{4 - found[7]:g}")
    np.testing.assert_allclose(found, [4, 3, 4, 4, 4, 4, 4, 2.5, 4])


@pytest.mark.task(5)
def test_nothing_said_costs_nothing(impl):
    scores = np.array([1.0, OUT, -1.0])
    found = impl.penalise(scores, [], [], 1.7, 1.0, 1.0)
    np.testing.assert_array_equal(found, scores)
    found = impl.penalise(scores, [2], [0], 2.0, 1.0, 1.0)
    np.testing.assert_array_equal(found, [-1.5, OUT, -2.0])
    found = impl.penalise(np.array([-0.5, 0.5]), [0, 1], [], 2.0)
    np.testing.assert_array_equal(found, [-1.0, 0.25])


# ---------------------------------------------------------------- task 6: the draw


@pytest.mark.task(6)
@pytest.mark.parametrize(
    "probs",
    [FOUR, [0.25, 0.25, 0.25, 0.25], [0.02, 0.9, 0.08], [0.0, 0.5, 0.0, 0.5, 0.0], [0, 1.0, 0]],
)
def test_counts_are_what_the_probabilities_say(impl, probs):
    rng, probs = np.random.default_rng(1), np.array(probs)
    before = probs.copy()
    tokens = [impl.draw(probs, rng) for _ in range(4000)]
    assert all(isinstance(token, int | np.integer) for token in tokens)
    assert_fair(tokens, before)
    np.testing.assert_array_equal(probs, before)


@pytest.mark.task(6)
def test_the_same_seed_gives_the_same_tokens(impl):
    def tokens(seed):
        rng = np.random.default_rng(seed)
        return [impl.draw(np.full(50, 0.02), rng) for _ in range(20)]

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)


@pytest.mark.task(6)
def test_one_draw_says_nothing_about_the_next(impl):
    rng = np.random.default_rng(3)
    tokens = [impl.draw(np.array([0.5, 0.5]), rng) for _ in range(4000)]
    pairs = [2 * first + second for first, second in zip(tokens[::2], tokens[1::2])]
    assert_fair(pairs, [0.25] * 4)


# ---------------------------------------------------------------- task 7: the whole sampler


def given_parts(impl):
    r"""Every rule, right, so that only their order is yours."""

    def without(scores, out):
        return np.where(out, OUT, scores)

    def top_k(scores, k):
        return without(scores, scores < np.sort(scores)[-k] if k else False)

    def top_p(scores, p):
        probs = softmax(scores)
        order = np.argsort(-probs, kind="stable")
        behind = (
            np.cumsum(probs[order]) - probs[order] >= p if p < 1 else np.zeros(len(probs), bool)
        )
        return without(scores, np.isin(np.arange(len(probs)), order[behind]))

    def min_p(scores, share):
        return without(scores, softmax(scores) < share * softmax(scores).max())

    def penalise(scores, prompt, answer, repetition=1.0, frequency=0.0, presence=0.0):
        times = np.bincount(np.array(answer, int), minlength=len(scores))
        used = (times > 0) | np.isin(np.arange(len(scores)), prompt)
        factor = np.where(scores > 0, 1 / repetition, repetition)
        return np.where(used, scores * factor, scores) - frequency * times - presence * (times > 0)

    given_softmax(impl)
    impl.top_k, impl.top_p, impl.min_p, impl.penalise = top_k, top_p, min_p, penalise
    impl.draw = lambda probs, rng: int(rng.choice(len(probs), p=probs))


def drawn(impl, probs, count=200, **wants):
    rng = np.random.default_rng(2)
    rows = np.log(np.array([probs]))
    return [impl.sample(rows, [impl.Request(rng, **wants)])[0] for _ in range(count)]


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("probs", "wants", "expected"),
    [
        (FOUR, {"temperature": 2.0, "top_p": 0.8}, {0, 1, 2}),
        (FOUR, {"top_k": 2, "top_p": 0.6}, {0}),
        ([0.4, 0.3, 0.2, 0.1], {"min_p": 0.3, "top_p": 0.75}, {0, 1}),
        ([0.4, 0.3, 0.2, 0.1], {"temperature": 2.0, "min_p": 0.6}, {0, 1, 2}),
        ([0.4, 0.3, 0.2, 0.1], {"presence": 9.0, "answer": [0, 1], "top_k": 2}, {2, 3}),
        ([0.4, 0.3, 0.2, 0.1], {"frequency": 9.0, "answer": [0], "top_k": 2}, {1, 2}),
        ([0.4, 0.3, 0.2, 0.1], {"repetition": 9.0, "prompt": [0], "top_k": 2}, {1, 2}),
        ([0.4, 0.3, 0.2, 0.1], {}, {0, 1, 2, 3}),
        ([0.5, 0.5], {"temperature": 1e-5}, {0, 1}),
    ],
)
def test_the_order_of_the_rules(impl, truth, probs, wants, expected):
    given_parts(impl)
    found = set(drawn(impl, probs, **wants))
    if "temperature" in wants and "top_p" in wants:
        truth("order", len(found))
    assert found == expected


@pytest.mark.task(7)
def test_a_greedy_request_pays_and_does_not_draw(impl):
    given_parts(impl)
    impl.draw = lambda probs, rng: pytest.fail("a greedy request takes the best token")
    rows = np.array([[1.0, 3.0, 2.5, 3.0], [1.0, 3.0, 2.5, 3.0]])
    requests = [
        impl.Request(None, temperature=0.0, top_k=1, min_p=1.0),
        impl.Request(None, temperature=9e-6, frequency=0.3, answer=[1, 3, 1]),
    ]
    before = rows.copy()
    found = impl.sample(rows, requests)
    np.testing.assert_array_equal(rows, before)
    assert found == [1, 3]
    taxed = impl.Request(None, temperature=0.0, frequency=1.0, answer=[1, 3])
    assert impl.sample(rows[:1], [taxed]) == [2]


@pytest.mark.task(7)
def test_neighbours_do_not_enter(impl):
    given_parts(impl)
    rows = np.random.default_rng(0).normal(size=(4, 40))

    def answers(places):
        requests = [
            impl.Request(np.random.default_rng(place), temperature=(1.0, 0.0, 0.7, 2.0)[place])
            for place in places
        ]
        steps = [impl.sample(rows[places], requests) for _ in range(12)]
        return dict(zip(places, zip(*steps)))

    together = answers([0, 1, 2, 3])
    for places in ([0], [3], [2, 0], [3, 1, 2]):
        for place, tokens in answers(places).items():
            assert tokens == together[place], f"request {place} answers differently in {places}"
    assert impl.sample(rows[:0], []) == []


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
@pytest.mark.parametrize(
    ("wants", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, [0.6849, 0.2466, 0.0616, 0.0069]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.9}, [10 / 19, 6 / 19, 3 / 19, 0]),
        ({"min_p": 0.2}, [10 / 19, 6 / 19, 3 / 19, 0]),
        ({"temperature": 0.5, "top_p": 0.8}, [25 / 34, 9 / 34, 0, 0]),
    ],
)
def test_the_whole_sampler_draws_what_it_should(impl, wants, expected):
    assert_fair(drawn(impl, FOUR, 1500, **wants), np.array(expected) / sum(expected))


@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
@examples(40)
@given(
    scores=st.lists(st.integers(-30, 30), min_size=2, max_size=9),
    k=st.integers(0, 10),
    p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    share=st.sampled_from([0.0, 0.1, 1.0]),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 4.0]),
)
def test_no_request_is_left_without_a_token(impl, scores, k, p, share, temperature):
    row = np.array([scores], dtype=float)
    wants = {"top_k": k, "top_p": p, "min_p": share, "temperature": temperature}
    [token] = impl.sample(row, [impl.Request(np.random.default_rng(0), **wants)])
    assert 0 <= token < len(scores)
    if k == 1 or share == 1.0 or temperature == 0.0:
        assert scores[token] == max(scores)
