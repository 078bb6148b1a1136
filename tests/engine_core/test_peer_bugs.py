"""Bugs that other small engines had, one test each, named by the thread that reported it.

Each runs the whole engine under audit, on a scripted model whose cache notices corruption; so
"the answer is right" is checked as well as "it did not crash". Those that need a real model are in
`tests/engine_model/test_peer_bugs_on_the_model.py`.

`THREADS` is the list of all, and the book prints it. Behind each test stands a mutant: the bug, put
into this engine by replacing one function, and a test here runs the thread's test against it and
insists that it fails. A regression test that has never failed is a guess.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import FinishReason, Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.stopping import check_stop
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.engine.scripted_model_runner import ScriptedModelRunner
from mini_vllm.entrypoints.llm import LLM
from mini_vllm.errors import MiniVllmError, RequestError
from mini_vllm.observe.audit import Audit
from mini_vllm.sampling_params import SamplingParams, SamplingType

#: thread -> (what went wrong there, the tests here that keep it out). A literal: the book reads it.
#: A test is a function of this file, or `file::function` with a file of tests/engine_model.
THREADS: dict[str, tuple[str, tuple[str, ...]]] = {
    "nano-vllm #17": (
        "a bias that was no parameter was never loaded",
        ("test_peer_bugs_on_the_model.py::test_nano_vllm_17_a_bias_is_loaded",),
    ),
    "nano-vllm #62": (
        "no GPU of the right kind, no flash-attn, so not even an import",
        ("test_peer_bugs_on_the_model.py::test_nano_vllm_62_no_accelerator_library_is_needed",),
    ),
    "nano-vllm #73": (
        "prompts first: an answer under way got nothing while prompts kept coming",
        ("test_nano_vllm_73_arrivals_do_not_starve_an_answer",),
    ),
    "nano-vllm #97": (
        "a model id instead of a path: nothing was loaded, and garbage was printed",
        ("test_peer_bugs_on_the_model.py::test_nano_vllm_97_what_is_no_checkpoint_is_an_error",),
    ),
    "nano-vllm #144": (
        "a prompt wholly in the cache: a query of length zero",
        ("test_nano_vllm_144_and_199_a_prompt_that_is_all_in_the_cache",),
    ),
    "nano-vllm #163": (
        "a block kept its old name after it was overwritten",
        ("test_nano_vllm_163_an_overwritten_block_is_not_found_by_its_old_name",),
    ),
    "nano-vllm #170": (
        "in fp32 a norm worked in place and overwrote the residual: every answer wrong",
        ("test_peer_bugs_on_the_model.py::test_nano_vllm_170_fp32_is_as_right_as_any_type",),
    ),
    "nano-vllm #199": (
        "as #144, met again",
        ("test_nano_vllm_144_and_199_a_prompt_that_is_all_in_the_cache",),
    ),
    "nano-vllm #211": (
        "resumed after a preemption with a prefix hit: index out of range",
        ("test_nano_vllm_211_and_233_a_prefix_hit_after_a_preemption",),
    ),
    "nano-vllm #217": (
        "the second prefill lost the token that had been drawn",
        ("test_nano_vllm_217_a_second_prefill_keeps_the_token_it_had_drawn",),
    ),
    "nano-vllm #219": (
        "equal prompts of one step each took blocks of their own",
        ("test_nano_vllm_219_twins_in_one_step",),
    ),
    "nano-vllm #233": (
        "as #211, met again",
        ("test_nano_vllm_211_and_233_a_prefix_hit_after_a_preemption",),
    ),
    "nano-vllm PR #249": (
        "temperature 0 was an assertion error",
        ("test_nano_vllm_249_an_empty_prompt_and_temperature_zero",),
    ),
    "nano-vllm PR #260": (
        "top-p dropped the token that crosses the line",
        (
            "test_peer_bugs_on_the_model.py::test_nano_vllm_260_the_token_that_crosses_the_line_is_kept",
        ),
    ),
    "nano-vllm #274": (
        "one request outgrew the pool: an assertion in the middle of a run",
        ("test_nano_vllm_274_one_request_outgrows_the_pool",),
    ),
    "nano-vllm #277": (
        "the proposed fix for #274 tried again for ever",
        ("test_nano_vllm_277_trying_again_does_not_loop_for_ever",),
    ),
    "mini-sglang #16": (
        "an answer that nobody reads kept its seat",
        ("test_mini_sglang_16_a_client_that_hangs_up_frees_its_blocks",),
    ),
    "mini-sglang #44": (
        "the prefix cache offered pages that were never written",
        ("test_mini_sglang_44_and_46_an_abort_leaves_the_prefix_cache_clean",),
    ),
    "mini-sglang #46": (
        "as #44, by another road",
        ("test_mini_sglang_44_and_46_an_abort_leaves_the_prefix_cache_clean",),
    ),
    "mini-sglang #47": (
        "several prompts in a step exceeded the budget together",
        ("test_mini_sglang_47_the_budget_holds_for_a_batch_of_prompts",),
    ),
    "mini-sglang #68": (
        "a number outgrew its type, or its table",
        ("test_peer_bugs_on_the_model.py::test_mini_sglang_68_numbers_and_tables_are_wide_enough",),
    ),
    "mini-sglang #80": (
        "pages of more than one token, and eviction among them",
        ("test_mini_sglang_80_pages_of_many_tokens_under_eviction",),
    ),
    "mini-sglang #88": (
        "the sampler had no seed",
        ("test_peer_bugs_on_the_model.py::test_mini_sglang_88_a_seed_decides",),
    ),
    "mini-sglang #98": (
        "scores of the wrong shape as soon as two requests shared a batch",
        ("test_peer_bugs_on_the_model.py::test_mini_sglang_98_a_row_of_scores_for_each_request",),
    ),
    "mini-sglang #103": (
        "a race between a prompt's chunk and a neighbour's end",
        ("test_mini_sglang_103_a_chunked_prompt_beside_a_finishing_one",),
    ),
    "mini-sglang PR #142": (
        "a twin's pages were in the free list while it still read them",
        ("test_mini_sglang_142_twins_in_one_step_do_not_free_each_others_blocks",),
    ),
    "mini-sglang, read: a silent drop": (
        "a prompt that is too long was logged as dropped, and its client waited for ever",
        ("test_mini_sglang_a_prompt_that_is_too_long_gets_an_answer",),
    ),
    "mini-sglang, read: finish_reason": (
        "every answer ended with `stop`, also those cut at `max_tokens`",
        ("test_mini_sglang_an_answer_says_why_it_ended",),
    ),
    "mini-sglang, read: ignored parameters": (
        "parameters that were accepted and had no effect",
        ("test_mini_sglang_what_cannot_be_honoured_is_refused_by_name",),
    ),
    "gpt-fast #69": (
        "prompts of different lengths could not share a batch",
        (
            "test_peer_bugs_on_the_model.py::test_gpt_fast_69_prompts_of_different_lengths_share_a_batch",
        ),
    ),
    "gpt-fast #209": (
        "batching changed the shape of the scores, and speculation broke for every model",
        (
            "test_peer_bugs_on_the_model.py::test_gpt_fast_209_scores_have_two_axes_for_one_and_for_many",
        ),
    ),
    "tiny-vllm #4": (
        "rotary pairs were neighbours instead of halves: fluent, and wrong",
        ("test_peer_bugs_on_the_model.py::test_tiny_vllm_4_pairs_are_halves",),
    ),
    "vLLM at the pin": (
        "`min_tokens` beyond the model's limit schedules zero tokens for ever",
        ("test_the_request_that_never_ended",),
    ),
}

#: Threads of the same lists that no test here can answer, and why.
NOT_HERE: dict[str, str] = {
    "nano-vllm #137": "tensor parallelism: one process, one device",
    "nano-vllm #245": "speed: `mini_vllm bench` records machine and versions with every figure",
    "MinivLLM #35": "speed: `mini_vllm bench` measures beside vLLM and transformers",
    "mini-sglang #58": "overlap scheduling: a step ends here before the next is planned",
    "mini-sglang #51": "a server's reply without a stream: the tests of the server",
    "gpt-fast #12": "int4 weights: quantized checkpoints are refused",
    "gpt-fast #217": "GPTQ: quantized checkpoints are refused",
}

#: What the survey of peers listed for regression tests. Nothing on it may be missing above.
LISTED = """
nano-vllm 17 62 97 144 163 170 199 211 217 219 233 260 274
mini-sglang 44 46 47 68 80 88 98 103 142
gpt-fast 69 209
tiny-vllm 4
"""


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


def test_nano_vllm_249_an_empty_prompt_and_temperature_zero(make_engine, run) -> None:
    """nano-vllm PR #249: temperature 0 was an assertion. (An empty prompt, an IndexError.)"""
    engine = make_engine(default=counting(100))
    with pytest.raises(RequestError, match="no tokens"):
        engine.add_request("empty", ids(0, 0), SamplingParams())
    engine.add_request("greedy", ids(0, 3), SamplingParams(temperature=0, max_tokens=1))
    assert run(engine)["greedy"].outputs[0].token_ids == [100]
    assert SamplingParams(temperature=0).sampling_type.name == "GREEDY"


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


@pytest.mark.parametrize("block_size", [1, 2, 3, 7])
def test_mini_sglang_80_pages_of_many_tokens_under_eviction(
    make_engine, run, block_size: int
) -> None:
    """mini-sglang #80: with pages of more than one token, eviction and hits miscounted.

    A stream of prompts that share beginnings of every length goes through a pool that holds two of
    them: nearly every admission hits something and evicts something.
    """
    engine = make_engine(
        default=counting(100), block_size=block_size, num_gpu_blocks=1 + -(-40 // block_size)
    )
    stem = list(range(12))
    hits = 0
    for i in range(12):
        tail = range(1000 + 50 * i, 1000 + 50 * i + i % 5)
        prompt = {"prompt_token_ids": [*stem[: 1 + i % 12], *tail, *stem[:3]]}
        engine.add_request(f"r{i}", prompt, SamplingParams(max_tokens=1 + i % 4))
        if i % 3 == 2:
            ends = run(engine)
            hits += sum(end.num_cached_tokens for end in ends.values())
            assert all(end.num_cached_tokens % block_size == 0 for end in ends.values())
            assert all(
                end.outputs[0].token_ids == [*range(100, 101 + int(name[1:]) % 4)]
                for name, end in ends.items()
            )
    assert hits > 0
    assert engine.engine_core.scheduler.kv_cache_manager.usage == 0


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


def test_mini_sglang_an_answer_says_why_it_ended(make_engine, run) -> None:
    """mini-sglang, by reading: `finish_reason` was always "stop"."""
    engine = make_engine(default=counting(100))
    engine.add_request("long", ids(0, 3), SamplingParams(max_tokens=2))
    engine.add_request("done", ids(9, 3), SamplingParams(max_tokens=9, stop_token_ids=[103]))
    ends = run(engine)
    assert [ends[name].outputs[0].finish_reason for name in ("long", "done")] == ["length", "stop"]
    assert ends["done"].outputs[0].stop_reason == 103


def test_mini_sglang_what_cannot_be_honoured_is_refused_by_name() -> None:
    """mini-sglang, by reading: the API accepted parameters and ignored them; so did nano-vllm's."""
    with pytest.raises(RequestError, match="prompt_logprobs"):
        SamplingParams(prompt_logprobs=3)
    with pytest.raises(TypeError, match="logit_bias"):
        SamplingParams(logit_bias={3: 1.0})  # type: ignore[call-arg]
    with pytest.raises(MiniVllmError, match="tensor_parallel_size"):
        LLM("no-such-model", tensor_parallel_size=2)


# ------------------------------------------------------------------ the bugs, put in


def _refuses_nothing(scheduler: Scheduler, request: Any) -> None:
    pass


def _prompts_first(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(scheduler: Scheduler, plan: Any) -> None:
        scheduler._schedule_waiting(plan)
        admitted = plan.new + plan.resumed
        waiting_their_turn = [r for r in scheduler.running if r not in admitted]
        scheduler.running[:] = waiting_their_turn
        original(scheduler, plan)
        scheduler.running.extend(admitted)

    return mutant


def _hits_all_of_it(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(manager: KVCacheManager, request: Any) -> Any:
        blocks = []
        for name in request.block_hashes:
            block = manager.block_pool.get_cached_block(name)
            if block is None:
                break
            blocks.append(block)
        return blocks, len(blocks) * manager.block_size

    return mutant


def _name_outlives_contents(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(pool: BlockPool, num_blocks: int) -> Any:
        blocks = pool.free_block_queue.popleft_n(num_blocks)
        for block in blocks:
            block.block_hash = None
            block.ref_cnt = 1
        return blocks

    return mutant


def _resumes_without_its_hits(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(scheduler: Scheduler, plan: Any) -> Any:
        output = original(scheduler, plan)
        cached = output.scheduled_cached_reqs
        block_size = scheduler.kv_cache_manager.block_size
        for i, req_id in enumerate(cached.req_ids):
            if req_id in cached.resumed_req_ids:
                hits = cached.num_computed_tokens[i] // block_size
                cached.new_block_ids[i] = cached.new_block_ids[i][hits:]
        return output

    return mutant


def _forgets_the_last_token(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(scheduler: Scheduler, plan: Any) -> Any:
        output = original(scheduler, plan)
        cached = output.scheduled_cached_reqs
        for req_id in cached.resumed_req_ids:
            # As if it were a new prompt: the token drawn last is not computed again.
            output.num_scheduled_tokens[req_id] -= output.num_scheduled_tokens[req_id] > 1
        return output

    return mutant


def _finds_free_blocks_only(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(pool: BlockPool, name: bytes) -> Any:
        block = original(pool, name)
        return None if block is None or block.ref_cnt else block

    return mutant


def _preempts_and_keeps_the_blocks(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(scheduler: Scheduler, plan: Any) -> Any:
        manager = scheduler.kv_cache_manager
        manager.free = lambda request: None  # type: ignore[method-assign]
        try:
            return original(scheduler, plan)
        finally:
            del manager.free

    return mutant


def _names_half_full_blocks(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(manager: KVCacheManager, request: Any, *rest: Any, **more: Any) -> Any:
        new = original(manager, request, *rest, **more)
        held = manager.req_to_blocks.get(request.request_id, [])
        done = manager.num_cached_block.get(request.request_id, 0)
        end = min(len(held), len(request.block_hashes))
        if new is not None and end > done:
            manager.block_pool.cache_full_blocks(held, request.block_hashes, done, end)
            manager.num_cached_block[request.request_id] = end
        return new

    return mutant


def _budget_for_each_kind(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(scheduler: Scheduler, plan: Any) -> None:
        plan.token_budget = scheduler.max_num_scheduled_tokens
        original(scheduler, plan)

    return mutant


def _draws_for_chunks(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(runner: ScriptedModelRunner, orders: Any) -> Any:
        output = original(runner, orders)
        output.needs_sample[:] = [True] * len(output.needs_sample)
        return output

    return mutant


def _frees_for_everybody(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(pool: BlockPool, blocks: Any) -> None:
        blocks = list(blocks)
        for block in blocks:
            if not block.is_linked:
                block.ref_cnt = 1
        original(pool, [block for block in blocks if not block.is_linked])

    return mutant


def _a_hit_stays_in_the_free_queue(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(pool: BlockPool, blocks: Any) -> None:
        for block in blocks:
            block.ref_cnt += 1

    return mutant


def _never(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: []


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda original: function


def _drops_what_is_refused(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(engine: LLMEngine, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(RequestError):
            original(engine, *args, **kwargs)

    return mutant


def _always_stop(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda request: FinishReason.STOP


def _not_greedy(original: Callable[..., Any]) -> Any:
    return property(lambda params: SamplingType.RANDOM)


def _min_tokens_beat_the_limit(original: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(request: Any, max_model_len: int) -> bool:
        if request.num_output_tokens < request.sampling_params.min_tokens:
            return False
        return original(request, max_model_len)

    return mutant


#: thread's test -> (where, what, the function that makes the mutant of it).
MUTANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "test_nano_vllm_73_arrivals_do_not_starve_an_answer": (
        Scheduler,
        "_schedule_running",
        _prompts_first,
    ),
    "test_nano_vllm_144_and_199_a_prompt_that_is_all_in_the_cache": (
        KVCacheManager,
        "get_computed_blocks",
        _hits_all_of_it,
    ),
    "test_nano_vllm_163_an_overwritten_block_is_not_found_by_its_old_name": (
        BlockPool,
        "get_new_blocks",
        _name_outlives_contents,
    ),
    "test_nano_vllm_211_and_233_a_prefix_hit_after_a_preemption": (
        Scheduler,
        "_make_output",
        _resumes_without_its_hits,
    ),
    "test_nano_vllm_217_a_second_prefill_keeps_the_token_it_had_drawn": (
        Scheduler,
        "_make_output",
        _forgets_the_last_token,
    ),
    "test_nano_vllm_219_twins_in_one_step": (
        BlockPool,
        "get_cached_block",
        _finds_free_blocks_only,
    ),
    "test_nano_vllm_249_an_empty_prompt_and_temperature_zero": (
        SamplingParams,
        "sampling_type",
        _not_greedy,
    ),
    "test_nano_vllm_274_one_request_outgrows_the_pool": (
        Scheduler,
        "_check_fits",
        _constant(_refuses_nothing),
    ),
    "test_nano_vllm_277_trying_again_does_not_loop_for_ever": (
        Scheduler,
        "_preempt_one",
        _preempts_and_keeps_the_blocks,
    ),
    "test_mini_sglang_16_a_client_that_hangs_up_frees_its_blocks": (
        Scheduler,
        "finish_requests",
        _never,
    ),
    "test_mini_sglang_44_and_46_an_abort_leaves_the_prefix_cache_clean": (
        KVCacheManager,
        "allocate_slots",
        _names_half_full_blocks,
    ),
    "test_mini_sglang_47_the_budget_holds_for_a_batch_of_prompts": (
        Scheduler,
        "_schedule_waiting",
        _budget_for_each_kind,
    ),
    "test_mini_sglang_80_pages_of_many_tokens_under_eviction": (
        BlockPool,
        "touch",
        _a_hit_stays_in_the_free_queue,
    ),
    "test_mini_sglang_103_a_chunked_prompt_beside_a_finishing_one": (
        ScriptedModelRunner,
        "forward",
        _draws_for_chunks,
    ),
    "test_mini_sglang_142_twins_in_one_step_do_not_free_each_others_blocks": (
        BlockPool,
        "free_blocks",
        _frees_for_everybody,
    ),
    "test_mini_sglang_a_prompt_that_is_too_long_gets_an_answer": (
        LLMEngine,
        "add_request",
        _drops_what_is_refused,
    ),
    "test_mini_sglang_an_answer_says_why_it_ended": (
        Request,
        "get_finished_reason",
        _always_stop,
    ),
    "test_mini_sglang_what_cannot_be_honoured_is_refused_by_name": (
        SamplingParams,
        "_verify_supported",
        _never,
    ),
    "test_the_request_that_never_ended": (
        "mini_vllm.core.scheduler",
        "check_stop",
        _min_tokens_beat_the_limit,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_test_fails_when_the_bug_is_put_in(
    name: str, make_engine, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread's test passes here and fails on the engine that has the bug."""
    where, what, mutate = MUTANTS[name]
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{what}", mutate(check_stop))
    else:
        monkeypatch.setattr(where, what, mutate(inspect.getattr_static(where, what)))
    assert _fails(globals()[name], {"make_engine": make_engine, "run": run})


def _fails(test: Callable[..., None], fixtures: dict[str, Any]) -> bool:
    """Whether a test fails, for one of its parameters at least."""
    marks = [m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"]
    rows: list[dict[str, Any]] = [{}]
    if marks:
        names, values = marks[0].args
        names = [names] if isinstance(names, str) else list(names)
        rows = [dict(zip(names, v if len(names) > 1 else (v,), strict=True)) for v in values]
    wanted = inspect.signature(test).parameters
    for row in rows:
        try:
            test(**row, **{k: v for k, v in fixtures.items() if k in wanted})
        except (AssertionError, MiniVllmError, ValueError, IndexError, pytest.fail.Exception):
            return True
    return False


# ------------------------------------------------------------------ the table


def test_nothing_on_the_list_is_missing() -> None:
    for line in LISTED.strip().splitlines():
        peer, *numbers = line.split()
        for number in numbers:
            spellings = {f"{peer} #{number}", f"{peer} PR #{number}"}
            assert spellings & THREADS.keys(), f"{peer} #{number} has no test"
    assert not THREADS.keys() & NOT_HERE.keys()


def test_the_table_names_tests_that_exist_and_each_has_a_mutant() -> None:
    folder = Path(__file__).parents[1] / "engine_model"
    known: dict[str, tuple[set[str], set[str]]] = {}
    for thread, (_, tests) in THREADS.items():
        assert tests, thread
        for test in tests:
            file, _, name = test.rpartition("::")
            if not file:
                assert callable(globals()[name]), test
                assert name in MUTANTS, f"{name} was never seen to fail"
                continue
            if file not in known:
                known[file] = _functions_and_mutants(folder / file)
            functions, mutants = known[file]
            assert name in functions, f"{test} does not exist"
            assert name in mutants, f"{test} was never seen to fail"


def test_each_test_of_a_thread_is_in_the_table() -> None:
    """And says the number of its thread in its name or its docstring."""
    listed = {test for _, tests in THREADS.values() for test in tests}
    for thread, (_, tests) in THREADS.items():
        number = re.search(r"#(\d+)", thread)
        for test in tests:
            text = test + (inspect.getdoc(globals()[test]) or "" if "::" not in test else "")
            assert number is None or number[1] in text, (thread, test)
    for name in globals():
        if re.match(r"test_(nano_vllm|mini_sglang|gpt_fast|tiny_vllm)_", name):
            assert name in listed, f"{name} is not in the table"


def _functions_and_mutants(file: Path) -> tuple[set[str], set[str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    mutants: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "MUTANTS":
            mutants = {ast.literal_eval(key) for key in node.value.keys}
    return functions, mutants
