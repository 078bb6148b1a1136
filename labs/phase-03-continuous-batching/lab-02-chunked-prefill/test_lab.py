r"""Lab 02: what a budget makes of a prompt, counted on the engine and computed without it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mini_vllm.core.scheduler import Scheduler as EngineScheduler
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.executor import Executor
from mini_vllm.engine.scripted_model_runner import ScriptedModelRunner

from labkit.engines import engine_config, request
from labkit.properties import examples

HUGE = 10**30


def first_token(steps, name, num_prompt_tokens):
    r"""The step in which a request of these grants has gone through its whole prompt."""
    done = 0
    for number, step in enumerate(steps, start=1):
        done += step.get(name, 0)
        if done == num_prompt_tokens:
            return number
    raise AssertionError(f"{name} never came to the end of its prompt")


def read_by_the_engine(impl, num_prompt_tokens, budget, num_decoding=0, threshold=0):
    r"""The pieces in which the engine's own scheduler reads a prompt beside some decodes."""
    answers = num_prompt_tokens + 9
    steps = impl.grants(
        [
            *((1, f"d{n}", 1, answers) for n in range(num_decoding)),
            (2, "p", num_prompt_tokens, 1),
        ],
        budget=budget,
        max_num_seqs=max(num_decoding + 1, 1),
        max_model_len=num_prompt_tokens + answers + 2,
        threshold=threshold,
        kind=EngineScheduler,
    )
    assert all(sum(step.values()) <= budget for step in steps)
    return [step["p"] for step in steps if "p" in step]


# ---------------------------------------------------------------- task 1: those who run


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("missing", "left", "threshold", "share"),
    [
        (1, 10, 0, 1),
        (500, 10, 0, 10),
        (10, 10, 0, 10),
        (9, 10, 0, 9),
        (500, 64, 8, 8),
        (500, 5, 8, 5),
        (500, 8, 8, 8),
        (7, 64, 8, 7),
        (7, 3, 8, 3),
        (1, 64, 8, 1),
        (4, 64, 1, 1),
        (4, 0, 0, 0),
        (4, 0, 2, 0),
        (0, 4, 0, 0),
        (0, 4, 2, 0),
    ],
)
def test_no_more_than_is_missing_is_left_and_is_allowed(impl, missing, left, threshold, share):
    assert impl.share_of_running(missing, left, threshold) == share


@pytest.mark.task(1)
def test_without_being_told_there_is_no_threshold(impl):
    assert impl.share_of_running(500, 64) == 64


# ---------------------------------------------------------------- task 2: those who come in


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("missing", "left", "threshold", "cut", "uncut"),
    [
        (500, 64, 0, 64, None),
        (65, 64, 0, 64, None),
        (64, 64, 0, 64, 64),
        (63, 64, 0, 63, 63),
        (1, 1, 0, 1, 1),
        (500, 64, 8, 8, 8),
        (500, 8, 8, 8, 8),
        (500, 7, 8, 7, None),
        (7, 7, 8, 7, 7),
        (7, 6, 8, 6, None),
        (6, 64, 8, 6, 6),
        (500, 3, 1, 1, 1),
    ],
)
def test_cut_it_or_leave_it_outside(impl, missing, left, threshold, cut, uncut):
    assert impl.share_of_newcomer(missing, left, threshold, True) == cut
    assert impl.share_of_newcomer(missing, left, threshold, False) == uncut


@pytest.mark.task(2)
def test_a_newcomer_may_be_cut_unless_one_says_otherwise(impl):
    assert impl.share_of_newcomer(500, 64) == 64
    assert impl.share_of_newcomer(500, 64, may_cut=False) is None


# ---------------------------------------------------------------- task 3: the chunks


SITUATIONS = [
    *product((1, 7, 8, 9, 15, 16, 17, 40), (8, 16), (0, 3), (0, 4)),
    (40, 16, 15, 0),
    (40, 16, 15, 1),
    (40, 16, 8, 8),
    (40, 16, 8, 9),
    (41, 16, 0, 16),
    (41, 16, 0, 100),
]


@pytest.mark.task(3)
def test_the_chunks_are_those_of_the_engine(impl):
    for situation in SITUATIONS:
        expected = read_by_the_engine(impl, *situation)
        assert impl.chunks(*situation) == expected, f"prompt, budget, decodes, cap: {situation}"


@pytest.mark.task(3)
@examples(80)
@given(
    prompt=st.integers(1, 400),
    budget=st.integers(1, 70),
    decoding=st.integers(0, 69),
    threshold=st.integers(0, 40),
)
def test_chunks_add_up_and_keep_the_budget(impl, prompt, budget, decoding, threshold):
    assume(decoding < budget)
    found = impl.chunks(prompt, budget, decoding, threshold)
    most = min(budget - decoding, threshold or budget)
    assert sum(found) == prompt
    assert all(piece == most for piece in found[:-1])
    assert 1 <= found[-1] <= most, "a chunk of nothing is a step without it"


@pytest.mark.task(3)
@pytest.mark.parametrize("num_decoding", [16, 17])
@pytest.mark.parametrize("threshold", [0, 4])
def test_decodes_that_take_the_whole_budget_leave_no_chunk(impl, num_decoding, threshold):
    with pytest.raises(ValueError):
        impl.chunks(40, 16, num_decoding, threshold)


# ---------------------------------------------------------------- task 4: the first token


@pytest.mark.task(4)
def test_the_first_token_comes_when_it_comes_in_the_engine(impl, truth):
    for situation in SITUATIONS:
        expected = len(read_by_the_engine(impl, *situation))
        found = impl.step_of_first_token(*situation)
        assert found == expected, f"prompt, budget, decodes, cap: {situation}"
    truth("beside-decodes", len(read_by_the_engine(impl, 500, 64, 14)))


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("prompt", "budget", "decoding", "threshold", "step"),
    [
        (HUGE, 1, 0, 0, HUGE),
        (HUGE + 1, 10, 0, 0, HUGE // 10 + 1),
        (HUGE, 12, 2, 0, HUGE // 10),
        (HUGE, HUGE, 0, 10, HUGE // 10),
        (HUGE, HUGE, 0, 0, 1),
        (HUGE, HUGE, 1, 0, 2),
    ],
)
def test_it_is_a_formula_and_exact(impl, prompt, budget, decoding, threshold, step):
    assert impl.step_of_first_token(prompt, budget, decoding, threshold) == step


@pytest.mark.task(4)
@pytest.mark.parametrize("num_decoding", [16, 17])
@pytest.mark.parametrize("threshold", [0, 4])
def test_decodes_that_take_the_whole_budget_leave_no_first_token(impl, num_decoding, threshold):
    with pytest.raises(ValueError):
        impl.step_of_first_token(40, 16, num_decoding, threshold)


# ---------------------------------------------------------------- task 5: the budget


@pytest.mark.task(5)
@pytest.mark.parametrize("num_decoding", [0, 3])
@pytest.mark.parametrize("prompt", [1, 20, 21, 39, 40])
def test_with_it_the_token_is_in_time_and_with_one_less_it_is_not(impl, prompt, num_decoding):
    for num_steps in (1, 2, 3, 7):
        budget = impl.smallest_budget(prompt, num_steps, num_decoding)
        assert len(read_by_the_engine(impl, prompt, budget, num_decoding)) <= num_steps
        if budget - 1 > num_decoding:
            assert len(read_by_the_engine(impl, prompt, budget - 1, num_decoding)) > num_steps
        else:
            assert budget == num_decoding + 1, "it must at least be able to move"


@pytest.mark.task(5)
def test_the_smallest_budget_is_a_formula_and_exact(impl):
    assert impl.smallest_budget(HUGE, 10) == HUGE // 10
    assert impl.smallest_budget(HUGE + 1, 10, 7) == HUGE // 10 + 8
    assert impl.smallest_budget(40, HUGE, 7) == 8


@pytest.mark.task(5)
@pytest.mark.parametrize("num_steps", [0, -1])
def test_a_promise_that_no_budget_keeps(impl, num_steps):
    with pytest.raises(ValueError):
        impl.smallest_budget(40, num_steps)


# ---------------------------------------------------------------- all together: in the engine


LOADS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 6)), min_size=1, max_size=6
)


def settings_of(draw_budget, seats, threshold, may_cut):
    r"""Options that the engine accepts: no cutting needs a budget in which any prompt fits."""
    return {
        "budget": max(draw_budget, seats) if may_cut else 64,
        "max_num_seqs": seats,
        "threshold": threshold,
        "may_cut": may_cut,
    }


@pytest.mark.task(1, 2)
@examples(80)
@given(
    load=LOADS,
    budget=st.integers(1, 24),
    seats=st.integers(1, 4),
    threshold=st.sampled_from([0, 0, 1, 3, 9]),
    may_cut=st.booleans(),
)
def test_with_your_shares_the_engine_decides_as_ever(impl, load, budget, seats, threshold, may_cut):
    arrivals = [(step, str(n), *rest) for n, (step, *rest) in enumerate(load)]
    options = settings_of(budget, seats, threshold, may_cut)
    expected = impl.grants(arrivals, **options, kind=EngineScheduler)
    found = impl.grants(arrivals, **options)
    assert [list(step.items()) for step in found] == [list(step.items()) for step in expected]
    for _, name, prompt, answer in arrivals:
        assert sum(step.get(name, 0) for step in found) == prompt + answer - 1


def answers(impl, load, kind, options):
    r"""What the requests of a load are told, by an engine whose model checks what it reads."""
    config = engine_config(
        budget=options["budget"],
        seats=options["max_num_seqs"],
        blocks=400,
        block_size=4,
        max_model_len=64,
        prefix_caching=False,
        chunked_prefill=options["may_cut"],
        policy="fcfs",
    )
    limits = replace(config.scheduler_config, long_prefill_token_threshold=options["threshold"])
    config = replace(config, scheduler_config=limits)
    scripts = {str(n): (lambda place, n=n: 1_000_000 + 1000 * n + place) for n in range(len(load))}
    engine = EngineCore(config, Executor(config, ScriptedModelRunner(scripts, block_size=4)))
    engine.scheduler = kind(limits, config.cache_config, num_gpu_blocks=400)
    for n, (_, prompt, answer) in enumerate(load):
        engine.add_request(request(str(n), range(50 * n, 50 * n + prompt), max_tokens=answer))
    told = {str(n): [] for n in range(len(load))}
    for _ in range(400):
        for news in engine.step():
            told[news.request_id] += news.new_token_ids
    assert not engine.scheduler.has_unfinished_requests(), "still busy after 400 steps"
    return told


@pytest.mark.task(1, 2)
@examples(12)
@given(
    load=LOADS,
    budget=st.integers(1, 24),
    seats=st.integers(1, 4),
    threshold=st.sampled_from([0, 1, 3, 9]),
)
def test_a_prompt_in_pieces_is_answered_like_a_whole_one(impl, load, budget, seats, threshold):
    whole = answers(impl, load, EngineScheduler, settings_of(64, 1, 0, False))
    options = settings_of(max(budget, 4), seats, threshold, True)
    assert answers(impl, load, impl.ChunkingScheduler, options) == whole


@pytest.mark.task(1, 2)
def test_who_pays_for_a_threshold_and_who_for_the_switch(impl, truth):
    def both(arrivals, **options):
        expected = impl.grants(arrivals, **options, kind=EngineScheduler)
        assert impl.grants(arrivals, **options) == expected
        return {name: first_token(expected, name, prompt) for _, name, prompt, _ in arrivals}

    pair = [(1, "long", 64, 2), (1, "short", 4, 2)]
    plain = both(pair, budget=16, max_model_len=128)
    capped = both(pair, budget=16, max_model_len=128, threshold=8)
    truth("short-behind-long", plain["short"])
    truth("short-with-threshold", capped["short"])
    truth("long-with-threshold", capped["long"])
    three = [(1, "first", 40, 2), (1, "second", 30, 2), (1, "third", 4, 2)]
    truth("third-uncut", both(three, budget=64, may_cut=False)["third"])


@pytest.mark.task(1, 2)
def test_the_printed_loads_are_those_of_the_readme(impl, capsys):
    impl.main()
    picture = Path(__file__).with_name("cuts.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == picture
