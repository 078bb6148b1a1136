r"""Lab 06: immortal requests, and two ways to be rid of them. `test_door.py` has the third."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.stopping import check_stop as our_engines_ladder
from mini_vllm.sampling_params import RepetitionDetectionParams, SamplingParams

from labkit.engines import request, scripted_engine
from labkit.properties import examples

EOS = 2
LADDER = "mini_vllm.core.scheduler.check_stop"
# Nothing below needs more than a few dozen steps to end, if it ends at all.
FOR_EVER = 200


def life(num_prompt_tokens, max_model_len, *, script=lambda place: 5, **params):
    r"""Run one request; its tokens and finish reason, or `None` if it is still there at the end."""
    engine = scripted_engine({"r": script}, max_model_len=max_model_len)
    engine.add_request(request("r", range(num_prompt_tokens), eos_token_id=EOS, **params))
    tokens = []
    for _ in range(FOR_EVER):
        for output in engine.step():
            tokens += output.new_token_ids
            if output.finished:
                return tokens, str(output.finish_reason)
    return None


# ---------------------------------------------------------------- task 1: say which never end


@pytest.mark.task(1)
@pytest.mark.parametrize("num_prompt_tokens", [1, 4, 9, 10, 11])
def test_you_foresee_what_happens_with_the_pins_ladder(impl, monkeypatch, num_prompt_tokens):
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    for min_tokens in range(14):
        lived = life(num_prompt_tokens, 12, min_tokens=min_tokens, max_tokens=14)
        foreseen = impl.never_ends(num_prompt_tokens, min_tokens, 12)
        assert foreseen is (lived is None), f"min_tokens={min_tokens}: {lived}"


@pytest.mark.task(1)
def test_no_end_helps_that_the_model_says_too_early(impl, monkeypatch):
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    assert impl.never_ends(20, 50, 32)
    assert life(20, 32, script=lambda place: EOS, min_tokens=50, max_tokens=50) is None


@pytest.mark.task(1)
def test_the_smallest_min_tokens_that_is_too_much(impl, monkeypatch, truth):
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    immortal = [n for n in range(51) if life(20, 32, min_tokens=n, max_tokens=50) is None]
    truth("smallest", min(immortal))
    assert [n for n in range(51) if impl.never_ends(20, n, 32)] == immortal


# ---------------------------------------------------------------- task 2: find one


def watched(impl, engine, steps):
    r"""Step an engine; who was called stuck in each step."""
    found, plan = [], engine.scheduler.schedule

    def planned():
        orders = plan()
        before = [(r.status, r.num_computed_tokens) for r in engine.scheduler.requests.values()]
        found.append(set(impl.stuck(engine.scheduler, orders)))
        after = [(r.status, r.num_computed_tokens) for r in engine.scheduler.requests.values()]
        assert after == before, "stuck changed a request"
        return orders

    engine.scheduler.schedule = planned
    for _ in range(steps):
        engine.step()
    return found


@pytest.mark.task(2)
def test_an_immortal_is_found_from_the_first_step_without_work(impl, monkeypatch, truth):
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    engine = scripted_engine(max_model_len=32)
    engine.add_request(request("immortal", range(20), min_tokens=50, max_tokens=50))
    found = watched(impl, engine, FOR_EVER)
    truth("computed", engine.scheduler.requests["immortal"].num_computed_tokens)
    # Twelve steps bring twelve tokens. From the thirteenth on there is nothing to compute.
    assert found == [set()] * 12 + [{"immortal"}] * (FOR_EVER - 12)


@pytest.mark.task(2)
def test_those_around_it_are_well(impl, monkeypatch):
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    engine = scripted_engine(max_model_len=16, seats=3, budget=8)
    engine.add_request(request("immortal", range(14), min_tokens=9, max_tokens=9))
    engine.add_request(request("mortal", range(50, 56), max_tokens=10))
    engine.add_request(request("mortal too", range(70, 82), max_tokens=4))
    engine.add_request(request("waits", range(90, 94), max_tokens=2))
    found = watched(impl, engine, 40)
    assert {name for step in found for name in step} == {"immortal"}
    assert found[-1] == {"immortal"}


@pytest.mark.task(2)
def test_a_request_that_ends_at_the_limit_is_never_called_stuck(impl):
    engine = scripted_engine(max_model_len=16, prefix_caching=False)
    for name, num_prompt_tokens in (("a", 14), ("b", 15), ("c", 3)):
        engine.add_request(request(name, range(num_prompt_tokens), max_tokens=60))
    assert not any(watched(impl, engine, 30))
    assert not engine.scheduler.has_requests()


@pytest.mark.task(2)
@pytest.mark.parametrize("steps_before", [1, 8])
def test_who_is_passed_over_is_not_stuck(impl, steps_before):
    r"""A budget of 2 and three that decode: one gets nothing, be it one step before its end."""
    engine = scripted_engine(max_model_len=10, budget=3, seats=3)
    for name in "abc":
        engine.add_request(request(name, [ord(name)], max_tokens=9))
    for _ in range(steps_before):
        engine.step()
    engine.scheduler.max_num_scheduled_tokens = 2
    assert not any(watched(impl, engine, 8))


@pytest.mark.task(2)
def test_who_steps_back_is_not_stuck(impl):
    engine = scripted_engine(max_model_len=32, seats=2, blocks=9, prefix_caching=False)
    for name in "ab":
        engine.add_request(request(name, range(4), max_tokens=24))
    assert not any(watched(impl, engine, 80))


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("budget", "stuck_before", "stuck_again"),
    [
        # Read again in one step: all 16 tokens are computed, and a 17th is drawn.
        (64, [3, 4, 5, 6], 13),
        # Read again in three steps: the scheduler holds it at 15.
        (6, [5, 6], 15),
    ],
)
def test_an_immortal_that_steps_back(impl, monkeypatch, budget, stuck_before, stuck_again):
    r"""In step 7 it loses its blocks to the other; while it waits and is read it is not stuck."""
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    engine = scripted_engine(
        max_model_len=16, seats=2, blocks=7, budget=budget, prefix_caching=False
    )
    engine.add_request(request("mortal", range(50, 52), max_tokens=12))
    engine.add_request(request("immortal", range(13), min_tokens=20, max_tokens=20))
    found = watched(impl, engine, 30)
    assert [step for step, names in enumerate(found) if names] == [
        *stuck_before,
        *range(stuck_again, 30),
    ]
    assert set().union(*found) == {"immortal"}


@pytest.mark.task(2)
def test_an_immortal_that_is_read_again_and_passed_over(impl, monkeypatch):
    r"""It has its 16 tokens and runs, 5 are computed, and the budget is another's for two steps."""
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    engine = scripted_engine(max_model_len=16, seats=3, blocks=10, budget=6, prefix_caching=False)
    engine.add_request(request("mortal", range(50, 52), max_tokens=12))
    engine.add_request(request("mortal too", range(70, 72), max_tokens=9))
    engine.add_request(request("immortal", range(13), min_tokens=20, max_tokens=20))
    found = list(watched(impl, engine, 10))
    immortal = engine.scheduler.requests["immortal"]
    assert (immortal.num_computed_tokens, immortal.num_tokens) == (5, 16)
    engine.scheduler.max_num_scheduled_tokens = 1
    found += watched(impl, engine, 20)
    assert [step for step, names in enumerate(found) if names] == [6, *range(22, 30)]


@pytest.mark.task(2)
def test_what_it_costs_the_others(impl, monkeypatch, truth):
    r"""Immortals take seat after seat, until nobody is served."""
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    engine = scripted_engine(max_model_len=16, seats=4, budget=64, prefix_caching=False)
    for number in range(30):
        kind = {"min_tokens": 20, "max_tokens": 20} if number % 3 == 2 else {"max_tokens": 2}
        engine.add_request(request(f"r{number}", range(10), **kind))
    found = watched(impl, engine, FOR_EVER)
    served = [number for number in range(30) if f"r{number}" not in engine.scheduler.requests]
    truth("served", len(served))
    assert found[-1] == {"r2", "r5", "r8", "r11"}
    assert len(engine.scheduler.waiting) == 30 - len(served) - 4


@pytest.mark.task(2)
def test_real_vllm_did_the_same_step_for_step(impl, monkeypatch, lab):
    r"""`capture.json` was recorded on vLLM 0.22.1; our engine takes the same steps."""
    monkeypatch.setattr(LADDER, impl.check_stop_at_the_pin)
    capture = json.loads((lab.folder / "capture.json").read_text(encoding="utf-8"))
    prompt, least = range(capture["request"]["num_prompt_tokens"]), capture["request"]["min_tokens"]
    engine = scripted_engine(max_model_len=capture["request"]["max_model_len"], block_size=16)
    engine.add_request(request("r", prompt, min_tokens=least, max_tokens=least))
    asked, plan = engine.scheduler.requests["r"], engine.scheduler.schedule
    called_stuck = []

    def planned():
        orders = plan()
        called_stuck.append("r" in impl.stuck(engine.scheduler, orders))
        return orders

    engine.scheduler.schedule = planned
    for step in capture["steps"]:
        engine.step()
        assert called_stuck[-1] is (step["scheduled"] == 0)
        assert asked.status.name == step["status"]
        assert (asked.num_computed_tokens, asked.num_tokens) == (step["computed"], step["tokens"])


# ---------------------------------------------------------------- tasks 3 and 4: two repairs

STOPPED = RequestStatus.FINISHED_STOPPED
CAPPED = RequestStatus.FINISHED_LENGTH_CAPPED
REPEATS = RequestStatus.FINISHED_REPETITION
GOES_ON = RequestStatus.RUNNING
CIRCLES = RepetitionDetectionParams(max_pattern_size=1, min_pattern_size=1, min_count=3)


def answered(*token_ids, num_prompt_tokens=4, **params):
    prompt = list(range(100, 100 + num_prompt_tokens))
    made = Request("r", prompt, SamplingParams(**params), eos_token_id=EOS)
    made.status = GOES_ON
    made.append_output_token_ids(list(token_ids))
    return made


# Case, request, what the later releases say, what the contained repair says.
CASES = [
    ("an ordinary token", answered(5), GOES_ON, GOES_ON),
    ("the end", answered(5, EOS), STOPPED, STOPPED),
    ("a stop token", answered(7, stop_token_ids=[7]), STOPPED, STOPPED),
    ("max_tokens", answered(5, 6, max_tokens=2), CAPPED, CAPPED),
    ("end and max_tokens", answered(5, EOS, max_tokens=2), STOPPED, STOPPED),
    ("the limit", answered(5, num_prompt_tokens=31), CAPPED, CAPPED),
    ("the limit below min_tokens", answered(5, num_prompt_tokens=31, min_tokens=2), CAPPED, CAPPED),
    ("one before it", answered(5, num_prompt_tokens=30, min_tokens=2), GOES_ON, GOES_ON),
    ("the end below min_tokens", answered(EOS, min_tokens=2), STOPPED, GOES_ON),
    ("stop token below it", answered(7, min_tokens=2, stop_token_ids=[7]), STOPPED, GOES_ON),
    ("the end at min_tokens", answered(5, EOS, min_tokens=2), STOPPED, STOPPED),
    (
        "the end at the limit, below min_tokens",
        answered(EOS, num_prompt_tokens=31, min_tokens=2),
        STOPPED,
        CAPPED,
    ),
    ("circles", answered(5, 5, 5, repetition_detection=CIRCLES), REPEATS, REPEATS),
    (
        "circles below min_tokens",
        answered(5, 5, 5, min_tokens=4, repetition_detection=CIRCLES),
        GOES_ON,
        GOES_ON,
    ),
    (
        "circles at min_tokens",
        answered(5, 5, 5, min_tokens=3, repetition_detection=CIRCLES),
        REPEATS,
        REPEATS,
    ),
    (
        "circles at the limit",
        answered(5, 5, 5, num_prompt_tokens=29, repetition_detection=CIRCLES),
        CAPPED,
        CAPPED,
    ),
]


@pytest.mark.task(3)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_ladder_of_the_later_releases(impl, case):
    _, asked, status, _ = case
    asked = copy.deepcopy(asked)
    assert impl.check_stop_later(asked, 32) is (status is not GOES_ON)
    assert asked.status is status


@pytest.mark.task(4)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_contained_repair(impl, case):
    _, asked, _, status = case
    asked = copy.deepcopy(asked)
    assert impl.check_stop_contained(asked, 32) is (status is not GOES_ON)
    assert asked.status is status


@st.composite
def streams(draw):
    max_tokens = draw(st.integers(1, 14))
    params = {
        "max_tokens": max_tokens,
        "min_tokens": draw(st.integers(0, max_tokens)),
        "stop_token_ids": draw(st.lists(st.integers(0, 5), max_size=1)),
        "repetition_detection": draw(st.sampled_from([None, CIRCLES])),
    }
    script = draw(st.lists(st.integers(0, 5), min_size=14, max_size=14))
    return script, params, draw(st.integers(6, 20))


def ended(check, stream):
    r"""Append token by token until the ladder says yes; how it ended, or `None` at the limit."""
    script, params, limit = stream
    asked = answered(**params)
    for token in script[: limit - asked.num_tokens]:
        asked.append_output_token_ids(token)
        if check(asked, limit):
            return asked.num_output_tokens, asked.status, asked.stop_reason
    return None


@pytest.mark.task(4)
@examples(150)
@given(stream=streams())
def test_who_ends_at_the_pin_ends_the_same_way(impl, stream):
    *_, limit = stream
    pinned = ended(impl.check_stop_at_the_pin, stream)
    expected = pinned or (limit - 4, CAPPED, None)
    assert ended(impl.check_stop_contained, stream) == expected
    assert ended(our_engines_ladder, stream) == expected


@pytest.mark.task(3)
@examples(150)
@given(stream=streams())
def test_in_the_later_releases_everybody_ends(impl, stream):
    _, params, _ = stream
    later = ended(impl.check_stop_later, stream)
    assert later is not None
    pinned = ended(impl.check_stop_at_the_pin, stream)
    if not params["min_tokens"]:
        assert later == pinned


@pytest.mark.task(3)
def test_the_later_ladder_in_the_engine(impl, monkeypatch):
    monkeypatch.setattr(LADDER, impl.check_stop_later)
    assert life(20, 32, min_tokens=50, max_tokens=50) == ([5] * 12, "length")
    early = life(20, 32, script=lambda place: EOS, min_tokens=3, max_tokens=50)
    assert early == ([EOS], "stop")


@pytest.mark.task(4)
def test_the_contained_ladder_in_the_engine(impl, monkeypatch):
    monkeypatch.setattr(LADDER, impl.check_stop_contained)
    assert life(20, 32, min_tokens=50, max_tokens=50) == ([5] * 12, "length")
    early = life(20, 32, script=lambda place: EOS, min_tokens=3, max_tokens=50)
    assert early == ([EOS] * 3, "stop")


@pytest.mark.task(1, 2)
@examples(40)
@given(requests=st.lists(st.tuples(st.integers(1, 14), st.integers(0, 16)), min_size=1, max_size=6))
def test_whom_you_foresee_is_whom_you_find(impl, requests):
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(LADDER, impl.check_stop_at_the_pin)
        engine = scripted_engine(max_model_len=16, prefix_caching=False)
        foreseen = set()
        for number, (num_prompt_tokens, min_tokens) in enumerate(requests):
            name, prompt = f"r{number}", range(num_prompt_tokens)
            engine.add_request(request(name, prompt, min_tokens=min_tokens, max_tokens=16))
            if impl.never_ends(num_prompt_tokens, min_tokens, 16):
                foreseen.add(name)
        found = watched(impl, engine, 60)
    assert set().union(*found) == foreseen == set(engine.scheduler.requests)
