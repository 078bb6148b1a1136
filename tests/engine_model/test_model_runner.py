"""The runner by hand: orders in, scores and tokens out; and peers' bugs on these floors."""

from __future__ import annotations

import pytest
import torch

from mini_vllm.config import CacheConfig
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.errors import ConfigError, MiniVllmError
from mini_vllm.sampling_params import SamplingParams
from mini_vllm.worker.model_runner import ModelRunner

BLOCK = 4


@pytest.fixture
def runner(make_checkpoint, tools):
    """A runner on the small Llama, with 60 blocks of 4 tokens and no scheduler."""
    runner = ModelRunner(tools.config(make_checkpoint("llama"), block_size=BLOCK))
    runner.initialize_kv_cache(60)
    return runner


def greedy(**more):
    return SamplingParams(temperature=0.0, max_tokens=50, ignore_eos=True, **more)


def new(req_id, prompt, blocks, computed=0, params=None):
    return NewRequestData(req_id, list(prompt), params or greedy(), list(blocks), computed)


def cached(**columns):
    """Columns by request: `a=(num_computed, new_blocks or None)`."""
    ids = list(columns)
    return CachedRequestData(
        req_ids=ids,
        new_token_ids=[[] for _ in ids],
        num_computed_tokens=[columns[i][0] for i in ids],
        new_block_ids=[columns[i][1] for i in ids],
        num_output_tokens=[0 for _ in ids],
    )


def orders(counts, new_reqs=(), cached_reqs=None, finished=(), preempted=()):
    return SchedulerOutput(
        list(new_reqs),
        cached_reqs or CachedRequestData(),
        counts,
        sum(counts.values()),
        set(finished),
        set(preempted),
    )


def step(runner, *args, **kwargs):
    runner.execute_model(orders(*args, **kwargs))
    return runner.sample_tokens()


def tokens_of(output, req_id):
    return output.sampled_token_ids[output.req_id_to_index[req_id]]


PROMPT = [7, 11, 13, 17, 19, 23, 29, 31, 37, 41]
OTHER = [5, 3, 2, 9, 8]


class TestByHand:
    def test_a_prompt_then_decodes(self, runner, oracle):
        answer = tokens_of(step(runner, {"a": 10}, [new("a", PROMPT, [3, 1, 2])]), "a")
        for computed in range(10, 14):
            blocks = [9] if computed == 12 else None
            output = step(runner, {"a": 1}, cached_reqs=cached(a=(computed, blocks)))
            answer += tokens_of(output, "a")
        assert answer == oracle("llama").generate(PROMPT, 5)

    def test_a_chunk_has_a_row_and_must_not_be_sampled(self, runner, oracle):
        """`needs_sample` is about reaching the end, not about kind."""
        first = runner.forward(
            orders({"a": 4, "b": 5}, [new("a", PROMPT, [1, 2, 3]), new("b", OTHER, [4, 5])])
        )
        assert first.req_ids == ["a", "b"]
        assert first.needs_sample == [False, True]
        assert first.logits.shape == (2, 320)
        exact = oracle("llama").logits(PROMPT)[3], oracle("llama").logits(OTHER)[4]
        torch.testing.assert_close(first.logits, torch.stack(exact), atol=1e-4, rtol=1e-4)
        # The chunk's row predicts the token at position 4, which the prompt already has.
        assert int(first.logits[0].argmax()) != PROMPT[4]

    def test_a_chunk_yields_an_empty_list(self, runner, oracle):
        output = step(runner, {"a": 6}, [new("a", PROMPT, [1, 2, 3])])
        assert output.sampled_token_ids == [[]]
        output = step(runner, {"a": 4}, cached_reqs=cached(a=(6, None)))
        assert tokens_of(output, "a") == oracle("llama").generate(PROMPT, 1)

    def test_organs_by_hand_equal_the_two_halves(self, runner, oracle):
        output = runner.forward(orders({"a": 10}, [new("a", PROMPT, [1, 2, 3])]))
        drawn = runner.sampler(output.logits, runner.sampling_metadata(output.req_ids))
        runner.record_sampled_tokens(["a"], [drawn.token_ids.tolist()])
        after = step(runner, {"a": 1}, cached_reqs=cached(a=(10, None)))
        answer = [*drawn.token_ids.tolist(), *tokens_of(after, "a")]
        assert answer == oracle("llama").generate(PROMPT, 2)

    def test_a_step_of_nothing_frees_rows(self, runner):
        step(runner, {"a": 10}, [new("a", PROMPT, [1, 2, 3])])
        output = step(runner, {}, finished=["a"])
        assert output.req_ids == []
        assert output.sampled_token_ids == []
        assert runner.requests == {}
        assert runner.input_batch.num_reqs == 0

    def test_the_order_of_calls_is_checked(self, runner):
        with pytest.raises(MiniVllmError, match="without execute_model"):
            runner.sample_tokens()
        runner.execute_model(orders({}))
        with pytest.raises(MiniVllmError, match="twice without sample_tokens"):
            runner.execute_model(orders({}))

    def test_no_cache_no_step(self, make_checkpoint, tools):
        runner = ModelRunner(tools.config(make_checkpoint("llama")))
        with pytest.raises(MiniVllmError, match="call initialize_kv_cache first"):
            runner.forward(orders({"a": 1}, [new("a", [4], [1])]))


class TestStates:
    def test_preempted_and_resumed_with_other_blocks(self, runner, oracle):
        answer = tokens_of(step(runner, {"a": 10}, [new("a", PROMPT, [1, 2, 3])]), "a")
        answer += tokens_of(step(runner, {"a": 1}, cached_reqs=cached(a=(10, None))), "a")
        # "b" takes over two of its blocks; "a" has no row meanwhile, but keeps its tokens.
        theirs = tokens_of(step(runner, {"b": 5}, [new("b", OTHER, [2, 3])], preempted=["a"]), "b")
        assert runner.input_batch.req_ids == ["b"]
        back = cached(a=(0, [8, 9, 10]), b=(5, None))
        back.resumed_req_ids = {"a"}
        back.all_token_ids = {"a": PROMPT + answer}
        output = step(runner, {"a": 12, "b": 1}, cached_reqs=back)
        answer += tokens_of(output, "a")
        theirs += tokens_of(output, "b")
        output = step(runner, {"b": 1}, cached_reqs=cached(b=(6, None)), finished=["a"])
        theirs += tokens_of(output, "b")
        assert answer == oracle("llama").generate(PROMPT, 3)
        assert theirs == oracle("llama").generate(OTHER, 3)

    def test_skipped_for_a_step_and_back_without_preemption(self, runner, oracle):
        answer = tokens_of(step(runner, {"a": 10}, [new("a", PROMPT, [1, 2, 3])]), "a")
        step(runner, {"b": 5}, [new("b", OTHER, [4, 5])])
        answer += tokens_of(
            step(runner, {"a": 1}, cached_reqs=cached(a=(10, None)), finished=["b"]), "a"
        )
        assert answer == oracle("llama").generate(PROMPT, 2)

    def test_an_id_that_ends_and_begins_in_one_step(self, runner, oracle):
        step(runner, {"a": 10}, [new("a", PROMPT, [1, 2, 3])])
        output = step(runner, {"a": 5}, [new("a", OTHER, [4, 5])], finished=["a"])
        assert tokens_of(output, "a") == oracle("llama").generate(OTHER, 1)

    def test_given_lists_are_not_held_on_to(self, runner):
        """The scheduler's lists grow after the call; the runner must have copied them."""
        blocks = [1, 2, 3]
        step(runner, {"a": 10}, [new("a", PROMPT, blocks)])
        request = new("b", OTHER, [4, 5])
        step(runner, {"b": 5}, [request], finished=["a"])
        request.block_ids.append(99)
        request.prompt_token_ids.append(99)
        assert runner.requests["b"].block_ids == [4, 5]
        assert runner.requests["b"].prompt_token_ids == OTHER


class TestPrefixes:
    def test_a_full_hit_recomputes_one_token__nano_vllm_144_199(self, runner, oracle):
        """A prompt that is wholly cached has no token to compute; peers then took a query of none.

        The scheduler leaves the last token; the runner must then see one query of length 1 in the
        middle of a block, over keys that another request wrote.
        """
        step(runner, {"a": 10}, [new("a", PROMPT, [1, 2, 3])])
        same = new("b", PROMPT, [1, 2, 9], computed=8)
        output = step(runner, {"b": 2}, [same], cached_reqs=None)
        assert tokens_of(output, "b") == oracle("llama").generate(PROMPT, 1)
        aligned = PROMPT[:8]
        output = step(runner, {"c": 1}, [new("c", aligned, [1, 2], computed=7)], finished=["b"])
        assert tokens_of(output, "c") == oracle("llama").generate(aligned, 1)

    def test_twins_in_one_step_share_blocks_that_are_just_being_written__nano_vllm_219(
        self, runner, oracle
    ):
        """All keys of a step are stored before any is read, layer by layer."""
        twins = [new("a", PROMPT, [1, 2, 3]), new("b", PROMPT, [1, 2, 7], computed=8)]
        output = step(runner, {"a": 10, "b": 2}, twins)
        expected = oracle("llama").generate(PROMPT, 1)
        assert tokens_of(output, "a") == tokens_of(output, "b") == expected

    def test_prompts_of_different_lengths_in_one_batch__gpt_fast_69(self, runner, oracle):
        """A flat batch needs no padding, so lengths do not matter to each other."""
        prompts = {"a": PROMPT, "b": OTHER, "c": [6], "d": PROMPT + OTHER}
        blocks = iter(range(1, 60))
        request = [
            new(i, p, [next(blocks) for _ in range(-(-len(p) // BLOCK))])
            for i, p in prompts.items()
        ]
        output = step(runner, {i: len(p) for i, p in prompts.items()}, request)
        for req_id, prompt in prompts.items():
            assert tokens_of(output, req_id) == oracle("llama").generate(prompt, 1)


class TestSampling:
    def run_seeded(self, runner, neighbours=0, chunk=10):
        """Six tokens of a seeded request, its prompt cut at `chunk`, in some company."""
        params = SamplingParams(temperature=1.5, seed=42, max_tokens=6)
        company = [new(f"n{i}", OTHER, [20 + 2 * i, 21 + 2 * i]) for i in range(neighbours)]
        counts = {c.req_id: 5 for c in company}
        last = step(
            runner, {**counts, "s": chunk}, [*company, new("s", PROMPT, [1, 2, 3, 4], 0, params)]
        )
        done = [c.req_id for c in company]
        if chunk < 10:
            last = step(
                runner, {"s": 10 - chunk}, cached_reqs=cached(s=(chunk, None)), finished=done
            )
        tokens = list(tokens_of(last, "s"))
        for computed in range(10, 15):
            output = step(runner, {"s": 1}, cached_reqs=cached(s=(computed, None)), finished=done)
            tokens += tokens_of(output, "s")
            done = []
        step(runner, {}, finished=["s"])
        return tokens

    def test_a_seed_survives_company_and_chunks(self, runner):
        """Upstream draws for a chunk's row too, and must wind the generator back; here none is."""
        alone = self.run_seeded(runner)
        assert len(set(alone)) > 1
        assert self.run_seeded(runner, neighbours=3) == alone
        assert self.run_seeded(runner, chunk=3) == alone
        assert self.run_seeded(runner, neighbours=2, chunk=9) == alone

    def test_a_seed_survives_preemption(self, make_checkpoint, tools):
        prompts = [[i + 2, *PROMPT] for i in range(6)]
        params = [
            SamplingParams(temperature=1.2, top_p=0.95, seed=i, max_tokens=20, ignore_eos=True)
            for i in range(6)
        ]
        roomy = tools.run(make_checkpoint("llama"), prompts, params, block_size=4)
        tight = tools.run(
            make_checkpoint("llama"), prompts, params, block_size=4, num_gpu_blocks=14
        )
        assert tight.num_preemptions > 0
        assert roomy.num_preemptions == 0
        assert tight.token_ids == roomy.token_ids

    def test_logprobs_of_those_who_asked(self, runner, oracle):
        asking = new("a", PROMPT, [1, 2, 3], params=greedy(logprobs=3))
        output = step(runner, {"a": 10, "b": 5}, [asking, new("b", OTHER, [4, 5])])
        assert set(output.logprobs) == {"a"}
        (found,) = output.logprobs["a"]
        exact = oracle("llama").logits(PROMPT)[-1].log_softmax(-1)
        values, ids = exact.topk(3)
        assert found.token_ids == [int(ids[0]), *ids.tolist()]
        assert found.logprobs[1:] == pytest.approx(values.tolist(), abs=1e-4)
        assert found.rank == 1

    def test_min_tokens_masks_stops_until_there_are_enough(self, make_checkpoint, oracle, tools):
        expected = oracle("llama").generate(PROMPT, 6)
        stop = expected[2]
        at = expected.index(stop)
        params = SamplingParams(temperature=0.0, max_tokens=6, stop_token_ids=[stop])
        run = tools.run(make_checkpoint("llama"), [PROMPT], params)
        assert run.token_ids[0] == expected[: at + 1]
        params = SamplingParams(
            temperature=0.0, max_tokens=6, stop_token_ids=[stop], min_tokens=at + 2
        )
        run = tools.run(make_checkpoint("llama"), [PROMPT], params)
        assert stop not in run.token_ids[0][: at + 2]
        assert len(run.token_ids[0]) >= at + 2


class TestSizes:
    def test_bytes_per_block_are_what_the_cache_takes(self, runner):
        cache = sum(c.numel() * c.element_size() for c in runner.kv_caches)
        assert cache == 60 * runner.kv_cache_bytes_per_block

    def test_blocks_from_memory_or_from_need(self, make_checkpoint, tools):
        from dataclasses import replace

        config = tools.config(make_checkpoint("llama"), max_num_seqs=3, max_model_len=100)
        runner = ModelRunner(config)
        # 3 requests of 100 tokens take 7 blocks of 16 each; block 0 is never handed out.
        assert runner.determine_num_gpu_blocks() == 3 * 7 + 1
        budget = 10 * runner.kv_cache_bytes_per_block + 5
        runner.config = replace(config, cache_config=CacheConfig(kv_cache_memory_bytes=budget))
        assert runner.determine_num_gpu_blocks() == 10

    def test_a_dtype_that_does_not_exist(self, runner):
        with pytest.raises(ConfigError, match=r"'int8'; choose one of float32"):
            runner.platform.dtype("int8")

    def test_float16_runs_on_the_reference_backend(self, make_checkpoint, tools, oracle):
        runner = ModelRunner(tools.config(make_checkpoint("llama"), dtype="float16"))
        assert runner.attention_choice.backend.name == "torch_reference"
        assert runner.kernel_choice.kernels.name == "torch"
        runner.initialize_kv_cache(10)
        logits = runner.forward(orders({"a": 10}, [new("a", PROMPT, [1])])).logits[0]
        torch.testing.assert_close(logits, oracle("llama").logits(PROMPT)[-1], atol=0.1, rtol=0.02)


class TestPlatform:
    def test_an_unknown_device_lists_the_known(self):
        from mini_vllm.platforms import detect_platform

        with pytest.raises(ConfigError, match=r"'tpu'; choose auto, cpu or cuda"):
            detect_platform("tpu")
        assert detect_platform("cpu").name == "cpu"

    def test_cuda_is_refused_where_there_is_none(self, monkeypatch):
        from mini_vllm.platforms import detect_platform

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ConfigError, match="finds no CUDA device"):
            detect_platform("cuda")
        assert detect_platform("auto").name == "cpu"

    def test_cache_memory_is_bounded(self):
        from mini_vllm.platforms import detect_platform

        assert 0 < detect_platform("cpu").kv_cache_memory() <= 4 << 30


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fp32_is_as_right_as_any_type__nano_vllm_170(dtype, make_checkpoint, oracle, tools):
    """A peer's norm was right in bfloat16 and overwrote the residual in fp32: 0 of 8 prompts."""
    run = tools.run(
        make_checkpoint("qwen3"), [PROMPT, OTHER], tools.greedy(8), dtype=dtype, block_size=4
    )
    if dtype == "float32":
        assert run.token_ids == [oracle("qwen3").generate(p, 8) for p in (PROMPT, OTHER)]
    else:
        assert all(len(tokens) == 8 for tokens in run.token_ids)
