r"""Lab 05: what was saved, what will be, and in how large a pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.sampling_params import SamplingParams

from labkit.engines import request, scripted_engine
from labkit.properties import examples


def orders(*new, cached=()):
    r"""The orders of a step that admits `(id, prompt tokens, hits)` and goes on with others."""
    data = [
        NewRequestData(name, list(range(tokens)), SamplingParams(), [1], hits)
        for name, tokens, hits in new
    ]
    names = list(cached)
    rest = CachedRequestData(names, set(names), num_computed_tokens=[16] * len(names))
    return SchedulerOutput(data, rest, {}, 0, set(), set())


# ---------------------------------------------------------------- task 1: savings


@pytest.mark.task(1)
def test_what_was_found_at_the_first_admission(impl):
    steps = [orders(("a", 40, 0)), orders(), orders(("b", 50, 32), ("c", 7, 0), cached="a")]
    assert impl.savings(steps) == {"a": (40, 0), "b": (50, 32), "c": (7, 0)}


@pytest.mark.task(1)
def test_a_way_back_saves_nobody_anything(impl):
    r"""A pool too small for two: one gives way, comes back, and finds its own blocks."""
    engine = scripted_engine(budget=64, blocks=12, block_size=4)
    for name, first in (("a", 100), ("b", 200)):
        engine.add_request(request(name, range(first, first + 16), max_tokens=16))
    steps, schedule = [], engine.scheduler.schedule

    def watched():
        steps.append(schedule())
        return steps[-1]

    engine.scheduler.schedule = watched
    while engine.scheduler.requests:
        engine.step()
    resumed = sum(len(step.scheduled_cached_reqs.resumed_req_ids) for step in steps)
    assert resumed > 0
    assert impl.savings(steps) == {"a": (16, 0), "b": (16, 0)}


@pytest.mark.task(1)
def test_the_predictions_about_two_prompts(impl, truth):
    base = list(range(64))
    found = impl.savings(impl.serve([[*base, 900], [*base, *range(500, 520)], base], 60))
    truth("saved", found["r1"][1])
    truth("saved-edge", found["r2"][1])
    assert found == {"r0": (65, 0), "r1": (84, 64), "r2": (64, 48)}


# ---------------------------------------------------------------- task 2: rates


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("window", "rates"),
    [
        (1, [0.0, 0.5, 0.9, 0.0]),
        (2, [0.0, 0.25, 100 / 120, 0.75]),
        (3, [0.0, 0.25, 100 / 140, 100 / 140]),
        (6, [0.0, 0.25, 100 / 140, 100 / 160]),
        (9, [0.0, 0.25, 100 / 140, 100 / 160]),
    ],
)
def test_the_rate_is_of_tokens_and_of_the_last_ones(impl, window, rates):
    admissions = [(20, 0), (20, 10), (100, 90), (20, 0)]
    assert impl.hit_rates(admissions, window) == pytest.approx(rates)
    assert impl.hit_rates([], window) == []


# ---------------------------------------------------------------- task 3: predict


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("prompt", "cached", "hit"),
    [
        ("abcdefghi", ["abcdefghi"], 8),
        ("abcdefgh", ["abcdefghi"], 4),
        ("abcdefgh", ["abcdefgh"], 4),
        ("abcdefghi", ["abcdefgh"], 8),
        ("abcdefghi", ["abcdefg"], 4),
        ("abcdefghi", ["xbcdefghi"], 0),
        ("abcdefghi", ["abcdxfghi"], 4),
        ("abcdefghijklm", ["abcdxxxxijklm", "abcdefgh"], 8),
        ("abcdefghijklm", ["abcdefgh", "abcdxxxxijklm"], 8),
        ("abcdefghi", [], 0),
        ("a", ["abcdefgh"], 0),
        ("abcd", ["abcd"], 0),
        ("abcde", ["abcd"], 4),
    ],
)
def test_whole_blocks_from_the_first_on_and_never_all(impl, prompt, cached, hit):
    assert impl.predicted_hit(prompt, cached, 4) == hit


@pytest.mark.task(3)
@examples(40)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=1, max_size=5),
    st.integers(1, 5),
)
def test_as_the_engine_finds_it(impl, prompts, block_size):
    steps = impl.serve(prompts, 100, block_size)
    [last] = steps[-1].scheduled_new_reqs
    hit = impl.predicted_hit(prompts[-1], prompts[:-1], block_size)
    assert hit == last.num_computed_tokens


# ---------------------------------------------------------------- task 4: enough


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("prompts", "blocks"),
    [
        (["abcdefghi"], 4),
        (["abcdefgh"], 3),
        (["abc"], 2),
        (["abcdefghi", "vwxyvwxyv"], 7),
        (["abcdefghi", "abcdvwxyv"], 6),
        (["abcdefghi", "vwxyefghi"], 7),
        (["abcdabcdabcda"], 5),
        (["abcdefghi", "abcxefghi"], 7),
        (["abcdefghi", "abcdefghi"], 5),
        (["abcdefgh", "abcdefghi"], 5),
    ],
)
def test_each_block_that_can_be_found_once(impl, prompts, blocks):
    assert impl.enough_blocks(prompts, 4) == blocks


@pytest.mark.task(4)
@examples(40)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=13), min_size=1, max_size=5),
    st.integers(1, 4),
)
def test_enough_is_enough(impl, prompts, block_size):
    pool = impl.enough_blocks([[*prompt] for prompt in prompts], block_size)
    steps = impl.serve(prompts * 3, pool, block_size)
    for step, prompt in list(zip(steps, prompts * 3, strict=True))[len(prompts) :]:
        [new] = step.scheduled_new_reqs
        assert new.num_computed_tokens == (len(prompt) - 1) // block_size * block_size


@pytest.mark.task(4)
def test_behind_the_cliff(impl, truth):
    r"""In turn, what is needed next is what was used longest ago, and so what is overwritten."""
    prompts = [list(range(1_000 * n, 1_000 * n + 33)) for n in range(3)] * 3
    enough = impl.enough_blocks(prompts[:3], 16)
    found = [[step.scheduled_new_reqs[0].num_computed_tokens for step in impl.serve(prompts, size)]
             for size in (enough, enough - 3)]  # fmt: skip
    truth("one-less", found[1][-1])
    assert found[0][3:] == [32] * 6
    assert sum(found[1][6:]) < 96


# ---------------------------------------------------------------- task 5: the edge


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("enough", "least", "pool", "asked"),
    [
        (9, 2, 6, [9, 8, 7, 6, 5]),
        (6, 2, 6, [6, 5]),
        (9, 6, 6, [9, 8, 7, 6]),
        (9, 7, 7, [9, 8, 7]),
        (9, 9, 9, [9]),
        (4, 2, 4, [4, 3]),
    ],
)
def test_down_to_the_first_loss(impl, enough, least, pool, asked):
    saved = {9: 80, 8: 80, 7: 81, 6: 80, 5: 79, 4: 80, 3: 10, 2: 10}
    played = []

    def saved_with(size):
        played.append(size)
        return saved[size]

    assert impl.smallest_pool(saved_with, enough, least) == pool
    assert sorted(played, reverse=True) == asked, "each once, and none below the first loss"


@pytest.mark.task(1, 4, 5)
def test_the_edge_of_the_traffic_in_turn(impl):
    prompts = impl.in_turn(tenants=4, rounds=5)
    least = 1 + -(-84 // 16)
    played = {}

    def saved_with(size):
        found = impl.savings(impl.serve(prompts, size))
        return played.setdefault(size, sum(saved for _, saved in found.values()))

    enough = impl.enough_blocks(prompts, 16)
    edge = impl.smallest_pool(saved_with, enough, least)
    assert played[edge] == 16 * 64 > played[edge - 1]
    assert saved_with(edge - 4) == 0, "four blocks less, and nothing is ever found"
