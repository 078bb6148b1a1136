r"""Lab 01: what a request's trace says, whoever wrote it down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.probe import Probe
from mini_vllm.sampling_params import SamplingParams

from labkit.properties import examples
from labkit.workloads import workloads


def engine_of(requests, *, budget=64, blocks=65, seats=8):
    r"""An engine with requests waiting in it: `{"a": (prompt tokens, answer tokens)}`."""
    engine = LLMEngine.from_scripted(
        default=lambda place: 1000 + place,
        block_size=4,
        num_gpu_blocks=blocks,
        max_model_len=128,
        max_num_batched_tokens=budget,
        max_num_seqs=min(seats, budget),
        enable_prefix_caching=False,
    )
    for request_id, (num_prompt_tokens, max_tokens) in requests.items():
        prompt = {"prompt_token_ids": list(range(1, num_prompt_tokens + 1))}
        engine.add_request(request_id, prompt, SamplingParams(temperature=0, max_tokens=max_tokens))
    return engine


def probed(impl, engine, request_id):
    r"""The trace of a request as the project's own probe sees it."""
    request = engine.engine_core.scheduler.requests[request_id]
    arrival = impl.Moment(0, "WAITING", 0, request.num_tokens)
    with Probe(engine) as probe:
        while not request.is_finished():
            engine.step()
    rows = [row for _, row in probe.trace.of_request(request_id)]
    return [
        arrival,
        *(
            impl.Moment(step, row.status, row.num_computed_tokens, row.num_tokens)
            for step, row in enumerate(rows, start=1)
        ),
    ]


def squeezed():
    r"""Two requests in a pool that holds 32 tokens: the second has to step back once."""
    return engine_of({"first": (4, 20), "second": (4, 20)}, blocks=9)


# ---------------------------------------------------------------- task 1: write down one moment


@pytest.mark.task(1)
@pytest.mark.parametrize("status", RequestStatus)
def test_a_moment_is_the_status_and_two_counters(impl, status):
    request = Request("a", [1, 2, 3], SamplingParams())
    request.append_output_token_ids([7, 8])
    request.status, request.num_computed_tokens = status, 4
    assert impl.moment_of(9, request) == (9, str(status), 4, 5)


@pytest.mark.task(1)
def test_a_moment_does_not_change_when_the_request_does(impl):
    request = Request("a", [1, 2, 3], SamplingParams())
    written = impl.moment_of(0, request)
    request.status, request.num_computed_tokens = RequestStatus.RUNNING, 3
    request.append_output_token_ids(7)
    assert written == (0, "WAITING", 0, 3)


# ---------------------------------------------------------------- task 2: follow it to its end


def tuple_of(step, request):
    return step, str(request.status), request.num_computed_tokens, request.num_tokens


@pytest.mark.task(2)
def test_from_arrival_to_the_end_nothing_left_out(impl):
    assert impl.trace(engine_of({"a": (10, 3)}), "a", tuple_of) == [
        (0, "WAITING", 0, 10),
        (1, "RUNNING", 10, 11),
        (2, "RUNNING", 11, 12),
        (3, "FINISHED_LENGTH_CAPPED", 12, 13),
    ]


@pytest.mark.task(2)
def test_a_request_that_waits_is_followed_while_the_others_run(impl):
    engine = engine_of({"early": (3, 2), "late": (3, 1)}, seats=1)
    assert impl.trace(engine, "late", tuple_of) == [
        (0, "WAITING", 0, 3),
        (1, "WAITING", 0, 3),
        (2, "WAITING", 0, 3),
        (3, "FINISHED_LENGTH_CAPPED", 3, 4),
    ]


@pytest.mark.task(2)
def test_following_one_request_leaves_the_others_where_they_are(impl):
    engine = engine_of({"short": (3, 1), "long": (3, 9)})
    assert len(impl.trace(engine, "short", tuple_of)) == 2
    assert engine.engine_core.scheduler.requests["long"].num_output_tokens == 1


@pytest.mark.task(2)
def test_an_unknown_request_is_refused_by_name(impl):
    engine = engine_of({"a": (3, 1)})
    with pytest.raises(LookupError, match="no-such-request"):
        impl.trace(engine, "no-such-request", tuple_of)
    assert engine.engine_core.scheduler.requests["a"].num_computed_tokens == 0


@pytest.mark.task(2)
@examples(40)
@given(workload=workloads(), pick=st.integers(0, 4))
def test_the_trace_is_what_a_probe_sees(impl, workload, pick):
    followed = f"r{pick % len(workload.arrivals)}"
    expected = probed(impl, workload.llm_engine(), followed)
    assert impl.trace(workload.llm_engine(), followed, tuple_of) == expected


# ---------------------------------------------------------------- task 3: name what each step did


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("requests", "sizes", "words"),
    [
        ({"a": (10, 3)}, {}, ["last chunk", "decode", "decode"]),
        ({"a": (10, 1)}, {}, ["last chunk"]),
        ({"a": (1, 2)}, {}, ["last chunk", "decode"]),
        ({"a": (10, 2)}, {"budget": 4}, ["chunk", "chunk", "last chunk", "decode"]),
        ({"a": (9, 2)}, {"budget": 4}, ["chunk", "chunk", "last chunk", "decode"]),
        ({"b": (3, 2), "a": (3, 2)}, {"seats": 1}, ["waited", "waited", "last chunk", "decode"]),
    ],
)
def test_one_rule_has_many_names(impl, requests, sizes, words):
    assert impl.name_steps(probed(impl, engine_of(requests, **sizes), "a")) == words


@pytest.mark.task(3)
def test_after_a_preemption_the_answer_is_read_like_a_prompt(impl):
    names = impl.name_steps(probed(impl, squeezed(), "second"))
    assert names[:14] == ["last chunk", *["decode"] * 12, "preempted"]
    rest = names[14:]
    assert rest[: rest.index("last chunk")] == ["waited"] * rest.index("last chunk")
    assert set(rest[rest.index("last chunk") + 1 :]) == {"decode"}


@pytest.mark.task(3)
def test_chunks_of_an_old_answer(impl):
    r"""A prompt of 4, an answer of 4; preempted, and read again in two chunks."""
    counters = [(0, 4), (4, 5), (5, 6), (6, 7), (0, 7), (0, 7), (5, 7), (7, 8), (8, 9)]
    moments = [impl.Moment(step, "", *pair) for step, pair in enumerate(counters)]
    words = "last chunk,decode,decode,preempted,waited,chunk,last chunk,decode"
    assert impl.name_steps(moments) == words.split(",")


@pytest.mark.task(3)
def test_a_last_chunk_of_one_prompt_token_is_no_decode(impl):
    counters = [(0, 5), (4, 5), (5, 6), (6, 7)]
    moments = [impl.Moment(step, "RUNNING", *pair) for step, pair in enumerate(counters)]
    assert impl.name_steps(moments) == ["chunk", "last chunk", "decode"]


@pytest.mark.task(3)
def test_no_step_no_name(impl):
    assert impl.name_steps([impl.Moment(0, "WAITING", 0, 5)]) == []


# ---------------------------------------------------------------- task 4: measure the waits


@pytest.mark.task(4)
def test_alone_the_first_token_comes_in_step_1_and_then_one_a_step(impl, truth):
    moments = probed(impl, engine_of({"a": (10, 4)}), "a")
    truth("first-token", next(m.step for m in moments if m.num_tokens > 10))
    truth("computed-at-the-end", moments[-1].num_computed_tokens)
    assert impl.latency(moments) == (1, [1, 1, 1])


@pytest.mark.task(4)
def test_a_prompt_over_the_budget_is_read_in_silence(impl, truth):
    moments = probed(impl, engine_of({"a": (10, 4)}, budget=4), "a")
    truth("silent-steps", sum(m.num_tokens == 10 for m in moments[1:]))
    assert impl.latency(moments) == (3, [1, 1, 1])


@pytest.mark.task(4)
def test_a_preemption_is_one_long_gap(impl, truth):
    moments = probed(impl, squeezed(), "second")
    [lost, *_] = [m for m in moments if m.status == "PREEMPTED"]
    truth("computed-after-preemption", lost.num_computed_tokens)
    measured = impl.latency(moments)
    assert measured.first_token == 1
    assert sorted(set(measured.gaps)) == [1, max(measured.gaps)]
    assert measured.gaps.index(max(measured.gaps)) == 12
    assert sum(measured.gaps) + measured.first_token == moments[-1].step


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([5, 5, 5], (None, [])),
        ([5], (None, [])),
        ([5, 5, 6], (2, [])),
        ([5, 6, 6, 6, 7, 8], (1, [3, 1])),
    ],
)
def test_gaps_are_counted_from_token_to_token(impl, tokens, expected):
    moments = [impl.Moment(step, "RUNNING", 0, count) for step, count in enumerate(tokens)]
    assert impl.latency(moments) == expected


# ---------------------------------------------------------------- task 5: which traces cannot be

ARRIVAL = (0, "WAITING", 0, 5)
GOOD = {
    "only arrived": [ARRIVAL],
    "one step": [ARRIVAL, (1, "FINISHED_STOPPED", 5, 6)],
    "chunks": [
        ARRIVAL,
        (1, "RUNNING", 2, 5),
        (2, "RUNNING", 4, 5),
        (3, "RUNNING", 5, 6),
        (4, "FINISHED_LENGTH_CAPPED", 6, 7),
    ],
    "waited": [ARRIVAL, (1, "WAITING", 0, 5), (2, "RUNNING", 5, 6)],
    "aborted while waiting": [ARRIVAL, (1, "FINISHED_ABORTED", 0, 5)],
    "passed over": [ARRIVAL, (1, "RUNNING", 5, 6), (2, "RUNNING", 5, 6)],
    "preempted": [
        ARRIVAL,
        (1, "RUNNING", 5, 6),
        (2, "PREEMPTED", 0, 6),
        (3, "PREEMPTED", 0, 6),
        (4, "RUNNING", 4, 6),
        (5, "RUNNING", 6, 7),
    ],
    "preempted, back and done": [
        ARRIVAL,
        (1, "RUNNING", 5, 6),
        (2, "PREEMPTED", 0, 6),
        (3, "FINISHED_STOPPED", 6, 7),
    ],
    "aborted while preempted": [
        ARRIVAL,
        (1, "RUNNING", 5, 6),
        (2, "PREEMPTED", 0, 6),
        (3, "FINISHED_ABORTED", 0, 6),
    ],
}
BAD = {
    "1: arrives running": [(0, "RUNNING", 0, 5)],
    "1: arrives finished": [(0, "FINISHED_STOPPED", 0, 5)],
    "1: arrives computed": [(0, "WAITING", 2, 5), (1, "RUNNING", 5, 6)],
    "2: waits after running": [ARRIVAL, (1, "RUNNING", 5, 6), (2, "WAITING", 0, 6)],
    "2: preempted before it ran": [ARRIVAL, (1, "PREEMPTED", 0, 5)],
    "2: waits after preemption": [
        ARRIVAL,
        (1, "RUNNING", 5, 6),
        (2, "PREEMPTED", 0, 6),
        (3, "WAITING", 0, 6),
    ],
    "2: runs after the end": [ARRIVAL, (1, "FINISHED_STOPPED", 5, 6), (2, "RUNNING", 6, 7)],
    "2: ends twice": [ARRIVAL, (1, "FINISHED_STOPPED", 5, 6), (2, "FINISHED_STOPPED", 5, 6)],
    "3: waits with memory": [ARRIVAL, (1, "WAITING", 3, 5)],
    "3: preempted with memory": [ARRIVAL, (1, "RUNNING", 5, 6), (2, "PREEMPTED", 4, 6)],
    "4: nothing left to compute": [ARRIVAL, (1, "RUNNING", 5, 5)],
    "4: the last token was computed": [ARRIVAL, (1, "FINISHED_STOPPED", 6, 6)],
    "4: more computed than there is": [ARRIVAL, (1, "RUNNING", 7, 6)],
    "5: two tokens at once": [ARRIVAL, (1, "RUNNING", 5, 7)],
    "5: a token is taken away": [ARRIVAL, (1, "RUNNING", 3, 4)],
    "6: forgets what it computed": [ARRIVAL, (1, "RUNNING", 5, 6), (2, "RUNNING", 3, 6)],
    "6: ends behind itself": [ARRIVAL, (1, "RUNNING", 5, 6), (2, "FINISHED_STOPPED", 4, 7)],
}


@pytest.mark.task(5)
@pytest.mark.parametrize("name", GOOD)
def test_a_trace_that_can_be(impl, name):
    assert list(impl.impossible([impl.Moment(*moment) for moment in GOOD[name]])) == []


@pytest.mark.task(5)
@pytest.mark.parametrize("name", BAD)
def test_a_trace_that_cannot_be(impl, name):
    problems = list(impl.impossible([impl.Moment(*moment) for moment in BAD[name]]))
    assert problems
    assert all(isinstance(problem, str) and problem for problem in problems)


@pytest.mark.task(5)
@examples(40)
@given(workload=workloads(), pick=st.integers(0, 4))
def test_what_the_engine_does_is_possible(impl, workload, pick):
    followed = f"r{pick % len(workload.arrivals)}"
    assert list(impl.impossible(probed(impl, workload.llm_engine(), followed))) == []


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5)
@examples(40)
@given(workload=workloads(), pick=st.integers(0, 4))
def test_every_token_has_its_step(impl, workload, pick):
    index = pick % len(workload.arrivals)
    moments = impl.trace(workload.llm_engine(), f"r{index}")
    names, waits = impl.name_steps(moments), impl.latency(moments)
    num_tokens_out = workload.arrivals[index].max_tokens
    assert names.count("decode") + names.count("last chunk") == num_tokens_out
    assert waits.first_token == 1 + names.index("last chunk")
    assert len(waits.gaps) == num_tokens_out - 1
    assert waits.first_token + sum(waits.gaps) == moments[-1].step == len(names)
    assert list(impl.impossible(moments)) == []


@pytest.mark.model
@pytest.mark.task(1, 2)
def test_the_trace_does_not_depend_on_the_model(impl):
    r"""A real model says other words, in the same steps."""
    from labkit.real_model import real_engine

    requests = {"a": (10, 6), "b": (23, 4)}
    real = real_engine(budget=12)
    for start, (request_id, (num_prompt_tokens, max_tokens)) in enumerate(requests.items(), 1):
        prompt = {"prompt_token_ids": [100 * start + n for n in range(num_prompt_tokens)]}
        params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
        real.add_request(request_id, prompt, params)
    assert impl.trace(real, "b") == impl.trace(engine_of(requests, budget=12), "b")
