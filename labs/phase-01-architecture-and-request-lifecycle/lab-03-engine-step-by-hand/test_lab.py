r"""Lab 03: what a right step does, whoever wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.observe.audit import Audit
from mini_vllm.sampling_params import SamplingParams

from labkit.engines import request, scripted_engine
from labkit.properties import examples
from labkit.workloads import workloads

# ---------------------------------------------------------------- task 1: say who may sample


def arrive(scheduler, req_id, prompt, **params):
    scheduler.add_request(Request.from_engine_core_request(request(req_id, prompt, **params)))


def finish_step(scheduler, orders, ready, token=7):
    r"""Take the results in, as if the model had answered everyone in `ready` with `token`."""
    req_ids = list(orders.num_scheduled_tokens)
    sampled = [[token] if req_id in ready else [] for req_id in req_ids]
    index = {req_id: place for place, req_id in enumerate(req_ids)}
    return scheduler.update_from_output(orders, ModelRunnerOutput(req_ids, index, sampled))


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("num_prompt_tokens", "silent_steps"), [(1, 0), (7, 0), (8, 0), (9, 1), (16, 1), (17, 2)]
)
def test_a_prompt_samples_in_the_step_that_reaches_its_end(impl, num_prompt_tokens, silent_steps):
    scheduler = scripted_engine(budget=8).scheduler
    arrive(scheduler, "a", range(num_prompt_tokens))
    for _ in range(silent_steps):
        orders = scheduler.schedule()
        assert set(impl.may_sample(scheduler, orders)) == set()
        finish_step(scheduler, orders, ready=())
    assert set(impl.may_sample(scheduler, scheduler.schedule())) == {"a"}


@pytest.mark.task(1)
def test_a_decode_samples_beside_a_chunk_that_does_not(impl):
    scheduler = scripted_engine(budget=8).scheduler
    arrive(scheduler, "decoding", range(3))
    finish_step(scheduler, scheduler.schedule(), ready={"decoding"})
    arrive(scheduler, "long", range(100, 120))
    orders = scheduler.schedule()
    assert orders.num_scheduled_tokens == {"decoding": 1, "long": 7}
    assert set(impl.may_sample(scheduler, orders)) == {"decoding"}


@pytest.mark.task(1)
def test_a_preempted_answer_is_read_again_in_silence(impl):
    r"""After a preemption the answer so far is computed again, and may be cut like a prompt."""
    scheduler = scripted_engine(budget=8, seats=2, blocks=9, prefix_caching=False).scheduler
    for name in ("first", "second"):
        arrive(scheduler, name, range(4), max_tokens=20)
    silent = []
    while "second" in scheduler.requests:
        orders = scheduler.schedule()
        ready = set(impl.may_sample(scheduler, orders))
        second = scheduler.requests["second"]
        if "second" in orders.num_scheduled_tokens and "second" not in ready:
            silent.append((second.num_computed_tokens, second.num_tokens))
        finish_step(scheduler, orders, ready)
    assert second.num_preemptions == 1
    # Its prompt has 4 tokens. A rule that looks at the prompt alone lets it sample both times.
    assert silent == [(8, 17), (16, 17)]


@pytest.mark.task(1)
@examples(60)
@given(workload=workloads())
def test_the_rule_agrees_with_the_model_runner_in_every_step(impl, workload):
    engine = workload.engine()
    scheduler, runner = engine.scheduler, engine.executor.model_runner

    def step():
        orders = scheduler.schedule()
        output = runner.forward(orders)
        expected = {r for r, ok in zip(output.req_ids, output.needs_sample) if ok}
        before = {r: (q.num_computed_tokens, q.num_tokens) for r, q in scheduler.requests.items()}
        assert set(impl.may_sample(scheduler, orders)) == expected
        after = {r: (q.num_computed_tokens, q.num_tokens) for r, q in scheduler.requests.items()}
        assert after == before, "may_sample changed a counter"
        rows = dict(zip(output.req_ids, output.logits))
        sampled = [[rows[r].argmax()] if r in expected else [] for r in output.req_ids]
        runner.record_sampled_tokens(output.req_ids, sampled)
        index = {r: place for place, r in enumerate(output.req_ids)}
        return scheduler.update_from_output(
            orders, ModelRunnerOutput(output.req_ids, index, sampled)
        )

    workload.play(engine, step)


# ---------------------------------------------------------------- task 2: draw from those rows


class CountingSampler:
    r"""Draws token 10 from row "A", 11 from "B"; remembers every call."""

    def __init__(self):
        self.calls = []

    def __call__(self, rows):
        self.calls.append(list(rows))
        return [10 + ord(row) - ord("A") for row in rows]


def rows_of(impl, req_ids):
    return impl.Rows(list(req_ids), [name.upper() for name in req_ids])


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("ready", "drawn_from", "sampled"),
    [
        ({"b"}, ["B"], [[], [11], []]),
        ({"a", "c"}, ["C", "A"], [[12], [], [10]]),
        (["a", "b", "c"], ["C", "B", "A"], [[12], [11], [10]]),
    ],
)
def test_only_ready_rows_are_drawn_from_in_the_models_order(impl, ready, drawn_from, sampled):
    sampler = CountingSampler()
    output = impl.draw(rows_of(impl, "cba"), ready, sampler)
    assert sampler.calls == [drawn_from]
    assert output.req_ids == ["c", "b", "a"]
    assert output.sampled_token_ids == sampled
    assert output.req_id_to_index == {"c": 0, "b": 1, "a": 2}


@pytest.mark.task(2)
def test_nobody_ready_nothing_drawn(impl):
    sampler = CountingSampler()
    output = impl.draw(rows_of(impl, "ab"), set(), sampler)
    assert sampler.calls == []
    assert output.sampled_token_ids == [[], []]
    assert output.req_id_to_index == {"a": 0, "b": 1}


@pytest.mark.task(2)
def test_token_0_is_a_token(impl):
    output = impl.draw(rows_of(impl, "ab"), {"b"}, lambda rows: [0] * len(rows))
    assert output.sampled_token_ids == [[], [0]]


@pytest.mark.task(2)
def test_an_empty_step_has_an_empty_output(impl):
    output = impl.draw(impl.Rows([], []), set(), CountingSampler())
    assert (output.req_ids, output.req_id_to_index, output.sampled_token_ids) == ([], {}, [])


@pytest.mark.task(2)
def test_no_two_requests_share_a_list(impl):
    output = impl.draw(rows_of(impl, "abc"), {"b"}, CountingSampler())
    output.sampled_token_ids[0].append(99)
    assert output.sampled_token_ids == [[99], [11], []]


# ---------------------------------------------------------------- task 3: run the four stages


def stages_of(engine):
    r"""The model runner's own two halves, as `step` wants them."""

    def execute(orders):
        engine.executor.execute_model(orders)
        return orders

    def sample(orders, rows):
        assert rows is orders, "sample must be given the step's orders and what execute returned"
        return engine.executor.sample_tokens()

    return execute, sample


@pytest.mark.task(3)
def test_one_request_says_what_its_script_says(impl):
    engine = scripted_engine({"a": [31, 32, 33]}, budget=4)
    engine.add_request(request("a", range(10), max_tokens=3))
    news = [impl.step(engine.scheduler, *stages_of(engine)) for _ in range(5)]
    assert [[output.new_token_ids for output in step] for step in news] == [
        *([], []),  # 4 tokens of the prompt, and 4 more
        [[31]],  # the other 2: the row of the last one says what comes next
        [[32]],
        [[33]],
    ]
    assert [output.finished for step in news for output in step] == [False, False, True]


@pytest.mark.task(3)
def test_an_idle_engine_disturbs_nobody(impl):
    def nobody(*arguments):
        raise AssertionError("there was nothing to do")

    assert impl.step(scripted_engine().scheduler, nobody, nobody) == []


@pytest.mark.task(3)
def test_the_step_after_the_last_token_tells_the_model_who_left(impl):
    engine = scripted_engine({"a": [31]})
    engine.add_request(request("a", range(3), max_tokens=1))
    runner = engine.executor.model_runner
    impl.step(engine.scheduler, *stages_of(engine))
    assert "a" in runner.requests
    assert impl.step(engine.scheduler, *stages_of(engine)) == []
    assert "a" not in runner.requests
    assert not engine.scheduler.has_requests()


@pytest.mark.task(3)
@examples(40)
@given(workload=workloads())
def test_your_stages_do_what_the_engines_step_does(impl, workload):
    mine, theirs = workload.engine(), workload.engine()
    news = workload.play(mine, lambda: impl.step(mine.scheduler, *stages_of(mine)))
    assert news == workload.play(theirs, theirs.step)


# ---------------------------------------------------------------- task 4: steps to the first token


def measured(num_prompt_tokens, *, budget, num_decoding=0, shared=0):
    r"""Run it: the step of the first token, and how many prompt tokens the cache held."""
    engine = scripted_engine(budget=budget, seats=16, blocks=600, max_model_len=700)
    if shared:
        engine.add_request(request("before", range(shared), max_tokens=1))
        while engine.scheduler.has_requests():
            engine.step()
    for number in range(num_decoding):
        engine.add_request(request(f"decoding-{number}", [5000 + number], max_tokens=600))
    if num_decoding:
        engine.step()
    engine.add_request(request("new", range(num_prompt_tokens), max_tokens=2))
    for step in range(1, 700):
        for output in engine.step():
            if output.request_id == "new":
                return step, output.num_cached_tokens
    raise AssertionError("the first token never came")


@pytest.mark.task(4)
def test_alone_and_uncached_at_every_length_around_the_budget(impl, truth):
    found = {n: measured(n, budget=64)[0] for n in range(1, 131)}
    truth("longest-one-step-prompt", max(n for n, steps in found.items() if steps == 1))
    assert {n: impl.steps_to_first_token(n, 0, 64) for n in found} == found


@pytest.mark.task(4)
@pytest.mark.parametrize("num_prompt_tokens", [40, 64, 65, 100])
@pytest.mark.parametrize("shared", [8, 39, 40, 64])
def test_what_the_cache_holds_is_not_computed(impl, num_prompt_tokens, shared):
    steps, num_cached = measured(num_prompt_tokens, budget=16, shared=shared)
    assert num_cached > 0
    assert impl.steps_to_first_token(num_prompt_tokens, num_cached, 16) == steps


@pytest.mark.task(4)
@pytest.mark.parametrize("num_decoding", [1, 4, 15])
@pytest.mark.parametrize("num_prompt_tokens", [1, 12, 13, 61])
def test_decodes_are_served_from_the_same_budget_first(impl, num_decoding, num_prompt_tokens):
    steps, _ = measured(num_prompt_tokens, budget=16, num_decoding=num_decoding)
    assert impl.steps_to_first_token(num_prompt_tokens, 0, 16, num_decoding) == steps


@pytest.mark.task(4)
def test_a_long_prompt_among_four_decodes(impl, truth):
    steps, _ = measured(601, budget=64, num_decoding=4)
    truth("long-prompt", steps)
    assert impl.steps_to_first_token(601, 0, 64, 4) == steps


@pytest.mark.task(4)
@pytest.mark.parametrize("num_decoding", [16, 17])
def test_a_budget_with_no_rest_is_refused(impl, num_decoding):
    with pytest.raises(ValueError):
        impl.steps_to_first_token(10, 0, 16, num_decoding)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3)
@examples(60)
@given(workload=workloads())
def test_the_hand_wired_engine_is_the_engine_token_for_token(impl, workload):
    theirs, mine = workload.engine(), workload.engine()
    by_hand = impl.HandWiredEngine(mine.scheduler, mine.executor.model_runner)
    expected = workload.play(theirs, theirs.step)
    with Audit(mine):  # every invariant of the engine, twice a step
        assert workload.play(mine, by_hand.step) == expected


@pytest.mark.task(1, 2, 3)
def test_a_cut_prompt_is_not_continued_with_its_own_words(impl, truth):
    r"""The row of a half-read prompt says the prompt's next token. Nobody may hear it."""
    engine = scripted_engine({"talks": [1] * 20, "asks": [42, 43]}, budget=64, max_model_len=256)
    by_hand = impl.HandWiredEngine(engine.scheduler, engine.executor.model_runner)
    rows, counted = [], by_hand.execute
    by_hand.execute = lambda orders: rows.append(counted(orders)) or rows[-1]
    engine.add_request(request("talks", [9], max_tokens=20))
    by_hand.step()
    engine.add_request(request("asks", range(100, 190), max_tokens=2))
    drawn_beside_the_chunk = by_hand.step()
    truth("rows", len(rows[-1].req_ids))
    truth("drawn", len(drawn_beside_the_chunk))
    answer = []
    while engine.scheduler.has_requests():
        answer += [o.new_token_ids for o in by_hand.step() if o.request_id == "asks"]
    assert [output.request_id for output in drawn_beside_the_chunk] == ["talks"]
    assert answer == [[42], [43]]


@pytest.mark.model
@pytest.mark.task(1, 2, 3)
def test_by_hand_a_real_model_says_what_it_says_in_the_engine(impl):
    from labkit.real_model import Organs, real_engine

    def fill(engine):
        for index, num_prompt_tokens in enumerate([5, 30, 17]):
            prompt = {"prompt_token_ids": [7 * index + n for n in range(1, num_prompt_tokens + 1)]}
            params = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
            engine.add_request(f"r{index}", prompt, params)

    theirs, mine = real_engine(budget=12), real_engine(budget=12)
    fill(theirs)
    fill(mine)
    core = mine.engine_core
    by_hand = impl.HandWiredEngine(core.scheduler, Organs(core.executor.model_runner))
    while theirs.engine_core.scheduler.has_requests():
        assert by_hand.step() == theirs.engine_core.step()
    assert not core.scheduler.has_requests()
