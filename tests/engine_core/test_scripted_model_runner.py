"""The stand-in is only worth something if it notices what a real model would not."""

from __future__ import annotations

import pytest

from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.engine.scripted_model_runner import ScriptedModelRunner, ScriptError
from mini_vllm.errors import EngineDeadError, InvariantError, MiniVllmError
from mini_vllm.sampling_params import SamplingParams


def prompt(*token_ids: int) -> dict[str, list[int]]:
    return {"prompt_token_ids": list(token_ids)}


def test_answers_come_from_the_script(make_engine, run) -> None:
    engine = make_engine({"a": [5, 6, 7], "b": lambda place: 100 + place})
    engine.add_request("a", prompt(1), SamplingParams(max_tokens=3))
    engine.add_request("b", prompt(1), SamplingParams(max_tokens=2))
    ends = run(engine)
    assert ends["a"].outputs[0].token_ids == [5, 6, 7]
    assert ends["b"].outputs[0].token_ids == [100, 101]


def steps(engine, count: int) -> None:
    for _ in range(count):
        engine.step()


@pytest.mark.parametrize(
    ("scripts", "message"),
    [({"a": [5]}, "has 1 tokens; the engine asks for one more"), ({}, "no script for request 'a'")],
)
def test_a_script_that_ends_too_early_is_an_error(make_engine, scripts, message: str) -> None:
    engine = make_engine(scripts)
    engine.add_request("a", prompt(1), SamplingParams(max_tokens=2))
    with pytest.raises(ScriptError, match=message):
        steps(engine, 2)
    with pytest.raises(EngineDeadError, match="an earlier step failed with ScriptError"):
        engine.step()


def test_log_probabilities_can_be_scripted(make_engine, run) -> None:
    engine = make_engine({"a": [{5: -0.5, 6: -1.5, 7: -2.5}, {8: -0.25}]})
    engine.add_request("a", prompt(1), SamplingParams(max_tokens=2, logprobs=2))
    answer = run(engine)["a"].outputs[0]
    assert answer.token_ids == [5, 8]
    assert answer.cumulative_logprob == -0.75
    assert [list(position) for position in answer.logprobs] == [[5, 6], [8]]
    assert [(p.logprob, p.rank) for p in answer.logprobs[0].values()] == [(-0.5, 1), (-1.5, 2)]


def test_the_organs_by_hand_do_what_the_engine_does(make_engine, run) -> None:
    """Schedule, forward, sample, update: with the rule that only caught-up requests may sample."""

    def build():
        engine = make_engine(
            {"a": [5, 6, 7], "b": [8, 9]}, block_size=4, max_num_batched_tokens=6, max_num_seqs=4
        )
        engine.add_request("a", prompt(1, 2, 3), SamplingParams(max_tokens=3))
        engine.add_request("b", prompt(*range(10, 20)), SamplingParams(max_tokens=2))
        return engine

    expected = {name: end.outputs[0].token_ids for name, end in run(build()).items()}

    core = build().engine_core
    scheduler, runner = core.scheduler, core.executor.model_runner
    answers: dict[str, list[int]] = {}
    while scheduler.has_unfinished_requests():
        orders = scheduler.schedule()
        output = runner.forward(orders)
        assert [row.req_id for row in output.logits] == output.req_ids
        tokens = runner.sampler(output.logits)
        sampled = [[t] if ok else [] for t, ok in zip(tokens, output.needs_sample, strict=True)]
        runner.record_sampled_tokens(output.req_ids, sampled)
        index = {req_id: i for i, req_id in enumerate(output.req_ids)}
        for news in scheduler.update_from_output(
            orders, ModelRunnerOutput(output.req_ids, index, sampled)
        ):
            answers.setdefault(news.request_id, []).extend(news.new_token_ids)
    assert answers == expected


def test_a_chunk_has_a_row_and_it_says_what_the_prompt_says(make_engine) -> None:
    engine = make_engine({"a": [5]}, max_num_batched_tokens=2, max_num_seqs=1)
    engine.add_request("a", prompt(1, 2, 3), SamplingParams(max_tokens=1))
    core = engine.engine_core
    output = core.executor.model_runner.forward(core.scheduler.schedule())
    assert output.needs_sample == [False]
    assert [row.argmax() for row in output.logits] == [3]


def test_execute_and_sample_alternate() -> None:
    runner = ScriptedModelRunner()
    with pytest.raises(MiniVllmError, match="without execute_model"):
        runner.sample_tokens()


class TestTheCacheNotices:
    def start(self, make_engine):
        engine = make_engine(default=lambda place: 7, block_size=2, num_gpu_blocks=20)
        for name in "ab":
            engine.add_request(
                name, prompt(*range(ord(name), ord(name) + 5)), SamplingParams(max_tokens=9)
            )
        engine.step()
        return engine, engine.engine_core.scheduler.kv_cache_manager

    def test_a_block_that_two_requests_hold(self, make_engine) -> None:
        engine, manager = self.start(make_engine)
        runner = engine.engine_core.executor.model_runner
        runner.requests["a"].block_ids[0] = manager.get_block_ids("b")[0]
        with pytest.raises(InvariantError, match="request 'a' reads position 1 from block 4"):
            engine.step()

    def test_a_block_that_was_freed_too_early(self, make_engine) -> None:
        engine, manager = self.start(make_engine)
        manager.block_pool.free_blocks(manager.req_to_blocks["a"][:1])
        engine.add_request("c", prompt(*range(200, 228)), SamplingParams(max_tokens=1))
        with pytest.raises(InvariantError, match="reads position 1"):
            steps(engine, 9)

    def test_a_block_that_is_found_by_a_wrong_name(self, make_engine) -> None:
        engine, manager = self.start(make_engine)
        twin = engine.engine_core.scheduler.requests["a"]
        wrong = manager.req_to_blocks["b"][1]
        right = manager.req_to_blocks["a"][1]
        manager.block_pool.cached_block_hash_to_block.pop(right.block_hash, right)
        manager.block_pool.cached_block_hash_to_block.insert(twin.block_hashes[1], wrong)
        engine.add_request("c", prompt(*range(97, 102)), SamplingParams(max_tokens=1))
        with pytest.raises(InvariantError, match="request 'c' reads position 3"):
            engine.step()

    def test_a_row_that_was_not_told_of_its_new_block(self, make_engine) -> None:
        engine, _ = self.start(make_engine)
        schedule = engine.engine_core.scheduler.schedule

        def forgetful():
            orders = schedule()
            cached = orders.scheduled_cached_reqs
            cached.new_block_ids = [None] * len(cached.new_block_ids)
            return orders

        engine.engine_core.scheduler.schedule = forgetful
        with pytest.raises((InvariantError, IndexError)):
            steps(engine, 3)

    def test_a_counter_that_ran_ahead(self, make_engine) -> None:
        engine, _ = self.start(make_engine)
        engine.engine_core.scheduler.requests["a"].num_computed_tokens += 1
        engine.engine_core.scheduler.requests["a"]._all_token_ids.append(7)
        with pytest.raises(InvariantError, match="up to position 6 and has 6 tokens"):
            engine.step()
