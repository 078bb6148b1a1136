"""Bugs that other small engines had, one test each, named by the thread that reported it.

Each runs the whole engine under audit, on a scripted model whose cache notices corruption; so
"the answer is right" is checked as well as "it did not crash".
"""

from __future__ import annotations

import pytest

from mini_vllm.core.request import RequestStatus
from mini_vllm.errors import RequestError
from mini_vllm.observe.audit import Audit
from mini_vllm.sampling_params import SamplingParams


def ids(start: int, count: int) -> dict[str, list[int]]:
    return {"prompt_token_ids": list(range(start, start + count))}


def counting(first: int):
    """A script that answers first, first + 1, ...: a dropped or doubled token shows."""
    return lambda place: first + place


def test_nano_vllm_274_one_request_outgrows_the_pool(make_engine, run) -> None:
    """nano-vllm #274: an assertion in the middle of a run. Refused on arrival, with the numbers."""
    engine = make_engine(default=counting(100), block_size=4, num_gpu_blocks=4)
    with pytest.raises(RequestError, match="need 7 blocks of 4 tokens; the KV cache has 3"):
        engine.add_request("a", ids(0, 6), SamplingParams(max_tokens=20))
    engine.add_request("b", ids(0, 6), SamplingParams(max_tokens=7))
    assert len(run(engine)["b"].outputs[0].token_ids) == 7


def test_nano_vllm_277_trying_again_does_not_loop_for_ever(make_engine, run) -> None:
    """nano-vllm #277: the proposed fix for #274 retried the allocation without end."""
    engine = make_engine(default=counting(100), block_size=2, num_gpu_blocks=6)
    for name in "abc":
        engine.add_request(name, ids(ord(name) * 10, 4), SamplingParams(max_tokens=6))
    ends = run(engine, max_steps=100)
    assert all(end.outputs[0].token_ids == [*range(100, 106)] for end in ends.values())


@pytest.mark.parametrize("num_tokens", [8, 9])
def test_nano_vllm_211_and_233_a_prefix_hit_after_a_preemption(
    make_engine, run, num_tokens: int
) -> None:
    """nano-vllm #211, #233: resumed with a hit, the block table was indexed past its end."""
    engine = make_engine(default=counting(100), block_size=4, num_gpu_blocks=8)
    for name in "ab":
        engine.add_request(name, ids(ord(name) * 50, num_tokens), SamplingParams(max_tokens=11))
    with Audit(engine) as audit:
        ends = run(engine)
    resumed = [
        row
        for step in audit.records
        for row in step.requests.values()
        if row.admitted and row.status_before == RequestStatus.PREEMPTED.name
    ]
    assert any(row.num_cached_tokens for row in resumed)
    assert all(end.outputs[0].token_ids == [*range(100, 111)] for end in ends.values())


def test_nano_vllm_217_a_second_prefill_keeps_the_token_it_had_drawn(make_engine, run) -> None:
    """nano-vllm #217: after a preemption the last drawn token was lost, and the answer shifted."""
    engine = make_engine(
        default=counting(100), block_size=1, num_gpu_blocks=12, enable_prefix_caching=False
    )
    for name in "ab":
        engine.add_request(name, ids(ord(name) * 50, 3), SamplingParams(max_tokens=8))
    with Audit(engine) as audit:
        ends = run(engine)
    assert any(step.preempted_req_ids for step in audit.records)
    assert all(end.outputs[0].token_ids == [*range(100, 108)] for end in ends.values())


@pytest.mark.parametrize(("num_tokens", "computed"), [(8, 4), (9, 1), (12, 4), (5, 1), (4, 4)])
def test_nano_vllm_144_and_199_a_prompt_that_is_all_in_the_cache(
    make_engine, run, num_tokens: int, computed: int
) -> None:
    """nano-vllm #144, #199: a full hit scheduled zero tokens, and a query of length zero."""
    engine = make_engine(default=counting(100), block_size=4)
    engine.add_request("first", ids(0, num_tokens), SamplingParams(max_tokens=1))
    run(engine)
    engine.add_request("again", ids(0, num_tokens), SamplingParams(max_tokens=2))
    with Audit(engine) as audit:
        ends = run(engine)
    assert audit.records[0].requests["again"].num_scheduled_tokens == computed
    assert ends["again"].num_cached_tokens == num_tokens - computed
    assert ends["again"].outputs[0].token_ids == [100, 101]


def test_nano_vllm_163_an_overwritten_block_is_not_found_by_its_old_name(make_engine, run) -> None:
    """nano-vllm #163: the name outlived the contents, and a hit read another request's cache."""
    engine = make_engine(default=counting(100), block_size=4, num_gpu_blocks=5)
    for name, start in (("a", 0), ("b", 500), ("c", 0)):
        engine.add_request(name, ids(start, 14), SamplingParams(max_tokens=2))
        end = run(engine)[name]
        # "b" has overwritten all of "a", so "c" finds nothing.
        assert end.num_cached_tokens == 0
        assert end.outputs[0].token_ids == [100, 101]


def test_nano_vllm_219_twins_in_one_step(make_engine, run) -> None:
    """nano-vllm #219: equal prompts admitted in one step took twice the blocks."""
    engine = make_engine(default=counting(100), block_size=4)
    for name in "abc":
        engine.add_request(name, ids(0, 9), SamplingParams(max_tokens=3))
    with Audit(engine) as audit:
        ends = run(engine)
    tables = [audit.records[0].requests[name].block_ids for name in "abc"]
    assert tables[0][:2] == tables[1][:2] == tables[2][:2]
    assert len({table[2] for table in tables}) == 3
    assert all(end.outputs[0].token_ids == [100, 101, 102] for end in ends.values())


def test_nano_vllm_73_arrivals_do_not_starve_an_answer(make_engine) -> None:
    """nano-vllm #73: prompts went first, and a decode got no token in forty observed steps."""
    engine = make_engine(
        default=counting(100),
        num_gpu_blocks=4000,
        max_model_len=4096,
        max_num_batched_tokens=512,
        max_num_seqs=64,
    )
    engine.add_request("reader", ids(0, 8), SamplingParams(max_tokens=41))
    engine.step()
    with Audit(engine) as audit:
        for step in range(40):
            if step % 2 == 0:
                engine.add_request(
                    f"p{step}", ids(1000 + 40 * step, 2048), SamplingParams(max_tokens=1)
                )
            engine.step()
    drawn = [step.requests["reader"].sampled_token_ids for step in audit.records]
    assert drawn == [[token] for token in range(101, 141)]
    assert all(step.total_num_scheduled_tokens == 512 for step in audit.records)


def test_nano_vllm_an_empty_prompt_and_temperature_zero(make_engine, run) -> None:
    """Seen by running it: an empty prompt was an IndexError, temperature 0 an assertion."""
    engine = make_engine(default=counting(100))
    with pytest.raises(RequestError, match="no tokens"):
        engine.add_request("empty", ids(0, 0), SamplingParams())
    engine.add_request("greedy", ids(0, 3), SamplingParams(temperature=0, max_tokens=1))
    assert run(engine)["greedy"].outputs[0].token_ids == [100]


def test_mini_sglang_47_the_budget_holds_for_a_batch_of_prompts(make_engine, run) -> None:
    """mini-sglang #47: several prompts in a step exceeded the budget together."""
    engine = make_engine(default=counting(100), max_num_batched_tokens=16, max_num_seqs=16)
    for i in range(12):
        engine.add_request(f"r{i}", ids(i * 100, 7 + i), SamplingParams(max_tokens=2))
    with Audit(engine) as audit:
        run(engine)
    totals = [step.total_num_scheduled_tokens for step in audit.records]
    assert max(totals) == 16


def test_mini_sglang_142_twins_in_one_step_do_not_free_each_others_blocks(make_engine, run) -> None:
    """mini-sglang #142: one twin's pages were in the free list while it still read them."""
    engine = make_engine(default=counting(100), block_size=4, num_gpu_blocks=12)
    engine.add_request("short", ids(0, 9), SamplingParams(max_tokens=1))
    engine.add_request("long", ids(0, 9), SamplingParams(max_tokens=12))
    # Each newcomer takes all that is free, so a block that was freed too early is overwritten.
    for i in range(4):
        engine.add_request(f"n{i}", ids(1000 + 100 * i, 16), SamplingParams(max_tokens=2))
    ends = run(engine)
    assert ends["long"].outputs[0].token_ids == [*range(100, 112)]


@pytest.mark.parametrize("when", range(1, 8))
def test_mini_sglang_44_and_46_an_abort_leaves_the_prefix_cache_clean(
    make_engine, run, when: int
) -> None:
    """mini-sglang #44, #46: a cache entry remained whose pages were never written."""
    engine = make_engine(
        default=counting(100),
        block_size=2,
        num_gpu_blocks=16,
        max_num_batched_tokens=3,
        max_num_seqs=3,
    )
    engine.add_request("a", ids(0, 12), SamplingParams(max_tokens=6))
    with Audit(engine):
        for _ in range(when):
            engine.step()
        engine.abort_request("a")
    engine.add_request("again", ids(0, 12), SamplingParams(max_tokens=6))
    assert run(engine)["again"].outputs[0].token_ids == [*range(100, 106)]


def test_mini_sglang_103_a_chunked_prompt_beside_a_finishing_one(make_engine, run) -> None:
    """mini-sglang #103: a race between a chunk and a neighbour's end confused their rows."""
    engine = make_engine(
        default=counting(100), block_size=2, max_num_batched_tokens=4, max_num_seqs=4
    )
    engine.add_request("brief", ids(0, 2), SamplingParams(max_tokens=3))
    engine.add_request("long", ids(50, 15), SamplingParams(max_tokens=3))
    engine.add_request("later", ids(90, 5), SamplingParams(max_tokens=3))
    ends = run(engine)
    assert ends.keys() == {"brief", "long", "later"}
    assert all(end.outputs[0].token_ids == [100, 101, 102] for end in ends.values())


def test_mini_sglang_a_prompt_that_is_too_long_gets_an_answer(make_engine) -> None:
    """Seen by reading it: the prompt was logged as dropped, and its client waited for ever."""
    engine = make_engine(default=counting(100), max_model_len=16)
    with pytest.raises(RequestError, match="16 tokens; with max_model_len=16"):
        engine.add_request("a", ids(0, 16), SamplingParams())
    assert not engine.has_unfinished_requests()


def test_mini_sglang_16_a_client_that_hangs_up_frees_its_blocks(make_engine, run) -> None:
    """mini-sglang #16: an answer nobody reads kept its seat until max_tokens."""
    engine = make_engine(default=counting(100), max_num_seqs=1)
    engine.add_request("gone", ids(0, 4), SamplingParams(max_tokens=500))
    engine.add_request("next", ids(50, 4), SamplingParams(max_tokens=1))
    engine.step()
    engine.abort_request("gone")
    (end,) = engine.step()
    assert end.request_id == "next"
    assert engine.engine_core.scheduler.kv_cache_manager.usage == 0


def test_the_request_that_never_ended(make_engine, run) -> None:
    """VLLM at the pin: `min_tokens` beyond the model's limit schedules zero tokens for ever."""
    engine = make_engine(default=counting(100), max_model_len=32)
    engine.add_request("a", ids(0, 20), SamplingParams(max_tokens=50, min_tokens=50))
    end = run(engine, max_steps=40)["a"]
    assert (len(end.outputs[0].token_ids), end.outputs[0].finish_reason) == (12, "length")
