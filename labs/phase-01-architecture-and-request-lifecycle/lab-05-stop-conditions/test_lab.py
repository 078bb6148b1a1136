r"""Lab 05: how a right engine ends an answer, whoever wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.stopping import check_stop as engines_check_stop
from mini_vllm.sampling_params import RepetitionDetectionParams, SamplingParams

from labkit.engines import request, scripted_engine
from labkit.properties import examples

EOS = 2
END_OF_TURN = 3

# ---------------------------------------------------------------- task 1: fill in the stops


@pytest.mark.task(1)
@pytest.mark.parametrize("ignore_eos", [False, True])
@pytest.mark.parametrize(
    ("callers", "further", "stop_token_ids"),
    [
        ([], [], []),
        ([7], [], [7]),
        ([7], [END_OF_TURN], [7, END_OF_TURN]),
        ([END_OF_TURN, 7], [END_OF_TURN, 9], [END_OF_TURN, 7, 9]),
        ([7], [EOS, END_OF_TURN], [7, END_OF_TURN]),
        ([EOS], [END_OF_TURN], [EOS, END_OF_TURN]),
        ([EOS], [EOS], [EOS]),
    ],
)
def test_which_tokens_stop_and_which_are_masked(impl, callers, further, stop_token_ids, ignore_eos):
    params = SamplingParams(stop_token_ids=callers, ignore_eos=ignore_eos)
    filled = impl.fill_in_stops(params, EOS, further)
    assert filled.eos_token_id == (None if ignore_eos else EOS)
    assert filled.stop_token_ids == (callers if ignore_eos else stop_token_ids)
    assert filled.all_stop_token_ids == {EOS, *callers, *further}


@pytest.mark.task(1)
def test_a_model_without_an_end_has_none(impl):
    filled = impl.fill_in_stops(SamplingParams(stop_token_ids=[7]), None)
    assert filled.eos_token_id is None
    assert filled.stop_token_ids == [7]
    assert filled.all_stop_token_ids == {7}


@pytest.mark.task(1)
@pytest.mark.parametrize("ignore_eos", [False, True])
def test_the_callers_object_is_not_touched(impl, ignore_eos):
    params = SamplingParams(stop_token_ids=[7], ignore_eos=ignore_eos, max_tokens=5)
    filled = impl.fill_in_stops(params, EOS, [END_OF_TURN])
    assert params == SamplingParams(stop_token_ids=[7], ignore_eos=ignore_eos, max_tokens=5)
    assert filled.max_tokens == 5
    filled.stop_token_ids.append(99)
    assert params.stop_token_ids == [7]


# ---------------------------------------------------------------- task 2: the five questions


def answered(*token_ids, num_prompt_tokens=4, eos_token_id=EOS, **params):
    r"""A running request whose answer so far is `token_ids`."""
    prompt = list(range(100, 100 + num_prompt_tokens))
    made = Request("r", prompt, SamplingParams(**params), eos_token_id=eos_token_id)
    made.status = RequestStatus.RUNNING
    made.append_output_token_ids(list(token_ids))
    return made


STOPPED = RequestStatus.FINISHED_STOPPED
CAPPED = RequestStatus.FINISHED_LENGTH_CAPPED
REPEATS = RequestStatus.FINISHED_REPETITION
GOES_ON = RequestStatus.RUNNING
CIRCLES = RepetitionDetectionParams(max_pattern_size=1, min_pattern_size=1, min_count=3)

LADDER = {
    "an ordinary token": (answered(5), GOES_ON, None),
    "the end": (answered(5, EOS), STOPPED, None),
    "the end, earlier": (answered(EOS, 5), GOES_ON, None),
    "no end is known": (answered(5, EOS, eos_token_id=None), GOES_ON, None),
    "a stop token": (answered(5, 7, stop_token_ids=[9, 7]), STOPPED, 7),
    "a stop token, earlier": (answered(7, 5, stop_token_ids=[7]), GOES_ON, None),
    "stop token 0": (answered(5, 0, stop_token_ids=[0]), STOPPED, 0),
    "the end is a stop token": (answered(EOS, stop_token_ids=[EOS]), STOPPED, None),
    "ignore_eos": (answered(EOS, ignore_eos=True), GOES_ON, None),
    "ignore_eos, listed": (answered(EOS, ignore_eos=True, stop_token_ids=[EOS]), STOPPED, EOS),
    "max_tokens": (answered(5, 6, max_tokens=2), CAPPED, None),
    "one before max_tokens": (answered(5, 6, max_tokens=3), GOES_ON, None),
    "no max_tokens": (answered(*range(10, 30), max_tokens=None), GOES_ON, None),
    "the model's limit": (answered(5, num_prompt_tokens=31), CAPPED, None),
    "one before the limit": (answered(5, num_prompt_tokens=30), GOES_ON, None),
    "tie: end and max_tokens": (answered(5, EOS, max_tokens=2), STOPPED, None),
    "tie, ignore_eos": (answered(5, EOS, max_tokens=2, ignore_eos=True), CAPPED, None),
    "tie: stop and max_tokens": (answered(5, 7, max_tokens=2, stop_token_ids=[7]), STOPPED, 7),
    "tie: end and the limit": (answered(EOS, num_prompt_tokens=31), STOPPED, None),
    "the end below min_tokens": (answered(5, EOS, min_tokens=3), GOES_ON, None),
    "the end at min_tokens": (answered(5, EOS, min_tokens=2), STOPPED, None),
    "stop token below min_tokens": (answered(7, min_tokens=2, stop_token_ids=[7]), GOES_ON, None),
    "all three": (answered(5, 6, min_tokens=2, max_tokens=2), CAPPED, None),
    "circles": (answered(5, 5, 5, repetition_detection=CIRCLES), REPEATS, "repetition_detected"),
    "circles, not yet": (answered(6, 5, 5, repetition_detection=CIRCLES), GOES_ON, None),
    "circles, unasked": (answered(5, 5, 5, 5), GOES_ON, None),
    "circles below min_tokens": (
        answered(5, 5, 5, min_tokens=4, repetition_detection=CIRCLES),
        GOES_ON,
        None,
    ),
    "tie: circles and max_tokens": (
        answered(5, 5, 5, max_tokens=3, repetition_detection=CIRCLES),
        CAPPED,
        None,
    ),
    "tie: circles and the end": (
        answered(EOS, EOS, EOS, repetition_detection=CIRCLES),
        STOPPED,
        None,
    ),
}


@pytest.mark.task(2)
@pytest.mark.parametrize("case", LADDER)
def test_the_ladder(impl, case):
    asked, status, stop_reason = LADDER[case]
    asked.status, asked.stop_reason = RequestStatus.RUNNING, None
    before = (list(asked.prompt_token_ids), list(asked.output_token_ids))
    assert impl.check_stop(asked, max_model_len=32) is (status is not GOES_ON)
    assert (asked.status, asked.stop_reason) == (status, stop_reason)
    assert (list(asked.prompt_token_ids), list(asked.output_token_ids)) == before


def answer_of_the_engine(script, *, max_model_len=64, num_prompt_tokens=4, **params):
    r"""Let the engine answer from a script; its tokens, finish reason and stop reason."""
    engine = scripted_engine({"r": script}, max_model_len=max_model_len)
    engine.add_request(request("r", range(num_prompt_tokens), eos_token_id=EOS, **params))
    tokens = []
    for _ in range(200):
        for output in engine.step():
            tokens += output.new_token_ids
            if output.finished:
                return tokens, str(output.finish_reason), output.stop_reason
    raise AssertionError(f"no end after {len(tokens)} tokens")


@pytest.mark.task(2)
def test_your_ladder_in_the_engine(impl, monkeypatch, truth):
    monkeypatch.setattr("mini_vllm.core.scheduler.check_stop", impl.check_stop)
    tie = answer_of_the_engine([5, 6, EOS], max_tokens=3)
    tie_ignored = answer_of_the_engine([5, 6, EOS], max_tokens=3, ignore_eos=True)
    listed = answer_of_the_engine([5, EOS, 6], max_tokens=3, ignore_eos=True, stop_token_ids=[EOS])
    full = answer_of_the_engine([5] * 50, num_prompt_tokens=20, max_model_len=32, max_tokens=50)
    truth("tie", tie[1])
    truth("tie-ignore-eos", tie_ignored[1])
    truth("eos-as-stop-token", "yes" if listed[0] == [5, EOS] else "no")
    truth("tokens-at-the-limit", len(full[0]))
    assert tie == ([5, 6, EOS], "stop", None)
    assert tie_ignored == ([5, 6, EOS], "length", None)
    assert listed == ([5, EOS], "stop", EOS)
    assert full == ([5] * 12, "length", None)


@st.composite
def streams(draw):
    r"""A script over six tokens, two of which may end it, and parameters that go with it."""
    max_tokens = draw(st.integers(1, 12))
    params = {
        "max_tokens": max_tokens,
        "min_tokens": draw(st.integers(0, max_tokens)),
        "ignore_eos": draw(st.booleans()),
        "stop_token_ids": draw(st.lists(st.integers(0, 5), max_size=1)),
        "repetition_detection": draw(st.sampled_from([None, CIRCLES])),
    }
    script = draw(st.lists(st.integers(0, 5), min_size=12, max_size=12))
    # Reaching the model's limit below min_tokens is another lab's subject.
    limit = draw(st.integers(max(6, 4 + params["min_tokens"]), 20))
    return script, params, limit


@pytest.mark.task(2)
@examples(100)
@given(stream=streams())
def test_your_ladder_ends_where_the_engines_does(impl, stream):
    script, params, limit = stream
    mine, theirs = answered(**params), answered(**params)
    for token in script:
        for asked in (mine, theirs):
            asked.append_output_token_ids(token)
        ended = engines_check_stop(theirs, limit)
        assert impl.check_stop(mine, limit) is ended
        assert (mine.status, mine.stop_reason) == (theirs.status, theirs.stop_reason)
        if ended:
            break


# ---------------------------------------------------------------- task 3: the caller's words


@pytest.mark.task(3)
@pytest.mark.parametrize("status", RequestStatus)
def test_every_status_has_its_word(impl, status):
    reason = RequestStatus.get_finished_reason(status)
    assert impl.finish_reason(status) == (None if reason is None else str(reason))


@pytest.mark.task(3)
def test_there_are_five_words(impl):
    words = {impl.finish_reason(status) for status in RequestStatus} - {None}
    assert words == {"stop", "length", "abort", "error", "repetition"}


# ---------------------------------------------------------------- task 4: after the end


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("new", "last", "kept"),
    [
        ([5], 9, [5]),
        ([5, 6, 7], 9, [5, 6, 7]),
        ([5, 9, 7], 9, [5, 9]),
        ([9, 9], 9, [9]),
        ([5, 6, 9], 9, [5, 6, 9]),
        ([], 9, []),
    ],
)
def test_tokens_are_taken_up_to_the_one_that_ends(impl, new, last, kept):
    asked = answered(1)
    taken = impl.append_until_stop(asked, new, lambda r: r.output_token_ids[-1] == last)
    assert list(taken) == kept
    assert list(asked.output_token_ids) == [1, *kept]
    assert asked.num_tokens == 4 + 1 + len(kept)


@pytest.mark.task(4)
def test_the_check_sees_each_token_before_the_next_exists(impl):
    seen = []

    def check(asked):
        seen.append(list(asked.output_token_ids))
        return False

    impl.append_until_stop(answered(), [5, 6, 7], check)
    assert seen == [[5], [5, 6], [5, 6, 7]]


# ---------------------------------------------------------------- task 5: why it was cut off


def seen(impl, finish_reason, stop_reason=None, *, prompt=10, output=6, limit=100, max_tokens=8):
    return impl.Answer(finish_reason, stop_reason, prompt, output, max_tokens, limit)


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("cause", "reasons", "sizes"),
    [
        ("END_OF_SEQUENCE", ("stop", None), {}),
        ("END_OF_SEQUENCE", ("stop", None), {"output": 8}),
        ("STOP_TOKEN", ("stop", 7), {}),
        ("STOP_TOKEN", ("stop", 0), {}),
        ("STOP_STRING", ("stop", "\n\n"), {}),
        ("MAX_TOKENS", ("length", None), {"output": 8}),
        ("MAX_TOKENS", ("length", None), {"output": 8, "limit": 19}),
        ("MODEL_LIMIT", ("length", None), {"output": 8, "limit": 18}),
        ("MODEL_LIMIT", ("length", None), {"output": 6, "limit": 16}),
        ("MODEL_LIMIT", ("length", None), {"output": 6, "limit": 16, "max_tokens": None}),
        ("REPETITION", ("repetition", "repetition_detected"), {}),
        ("CLIENT_LEFT", ("abort", None), {}),
        ("ENGINE_ERROR", ("error", None), {}),
        ("NOT_FINISHED", (None, None), {}),
    ],
)
def test_the_cause_of_a_short_answer(impl, cause, reasons, sizes):
    assert impl.diagnose(seen(impl, *reasons, **sizes)) is impl.Cause[cause]


@pytest.mark.task(5)
@pytest.mark.parametrize("word", ["eos", "max_tokens", ""])
def test_an_unknown_word_is_refused_by_name(impl, word):
    with pytest.raises(ValueError) as refusal:
        impl.diagnose(seen(impl, word))
    assert word in str(refusal.value)


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("cause", "script", "sizes"),
    [
        ("END_OF_SEQUENCE", [5, EOS], {"max_tokens": 2}),
        ("STOP_TOKEN", [5, 7], {"max_tokens": 9, "stop_token_ids": [7]}),
        ("MAX_TOKENS", [5] * 30, {"max_tokens": 9}),
        ("MODEL_LIMIT", [5] * 30, {"max_tokens": 30, "max_model_len": 16}),
        ("MODEL_LIMIT", [5] * 30, {"max_tokens": 12, "max_model_len": 16}),
        ("REPETITION", [5] * 30, {"max_tokens": 9, "repetition_detection": CIRCLES}),
    ],
)
def test_the_cause_of_what_the_engine_really_answers(impl, cause, script, sizes):
    tokens, *reasons = answer_of_the_engine(script, **sizes)
    limit = sizes.get("max_model_len", 64)
    answer = impl.Answer(*reasons, 4, len(tokens), sizes["max_tokens"], limit)
    assert impl.diagnose(answer) is impl.Cause[cause]


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4)
@examples(60)
@given(stream=streams(), width=st.integers(1, 4), further=st.lists(st.integers(0, 5), max_size=2))
def test_an_answer_is_the_same_however_many_tokens_a_step_brings(impl, stream, width, further):
    script, params, limit = stream
    filled = SamplingParams(temperature=0.0, **params)
    filled.update_from_generation_config(further, EOS)
    engine = scripted_engine({"r": script}, max_model_len=limit)
    engine.add_request(EngineCoreRequest("r", [100, 101, 102, 103], filled, arrival_time=0.0))
    expected = []
    while engine.scheduler.has_unfinished_requests():
        [output] = engine.step()
        expected += output.new_token_ids

    asked = Request(
        "r",
        [100, 101, 102, 103],
        impl.fill_in_stops(SamplingParams(temperature=0.0, **params), EOS, further),
    )
    for start in range(0, len(script), width):
        if impl.finish_reason(asked.status) is None:
            new = script[start : start + width]
            impl.append_until_stop(asked, new, lambda r: impl.check_stop(r, limit))
    assert list(asked.output_token_ids) == expected
    assert impl.finish_reason(asked.status) == str(output.finish_reason)
    assert asked.stop_reason == output.stop_reason


@pytest.mark.model
@pytest.mark.task(1, 2)
def test_your_ladder_ends_a_real_models_answer(impl, monkeypatch):
    from labkit.real_model import real_engine

    def answer(eos_token_id, **params):
        core = real_engine().engine_core
        filled = impl.fill_in_stops(SamplingParams(temperature=0.0, **params), eos_token_id)
        core.add_request(EngineCoreRequest("r", [5, 6, 7, 8], filled, arrival_time=0.0))
        tokens = []
        while core.scheduler.has_unfinished_requests():
            [output] = core.step()
            tokens += output.new_token_ids
        return tokens, str(output.finish_reason), output.stop_reason

    monkeypatch.setattr("mini_vllm.core.scheduler.check_stop", impl.check_stop)
    whole, *_ = answer(None, max_tokens=12)
    end = whole[5]
    upto = whole.index(end) + 1
    assert answer(end, max_tokens=12) == (whole[:upto], "stop", None)
    assert answer(end, max_tokens=12, ignore_eos=True) == (whole, "length", None)
    assert answer(None, max_tokens=12, stop_token_ids=[end]) == (whole[:upto], "stop", end)
