"""Token for token what transformers says, whatever the engine does to get there."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest
import torch

from mini_vllm.attention.selector import priorities
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.errors import ConfigError
from mini_vllm.kernels.selector import CHOICES, select_kernels
from mini_vllm.worker.model_runner import ModelRunner


def load(name):
    qualified = f"engine_model_{name}"
    if qualified not in sys.modules:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(qualified, path)
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


grid, checkpoints, oracles = load("parity_grid"), load("checkpoints"), load("oracle")
ALL = list(checkpoints.ARCHITECTURES)
GRID = grid.full_grid()
NUM_TOKENS = grid.NUM_TOKENS
KERNELS = [name for name in CHOICES if name != "auto"]


def need_kernels(name, dtype):
    """Skip, with the reason, where this machine cannot run this set of kernels in this type."""
    try:
        select_kernels(torch.device("cpu"), dtype, name)
    except ConfigError as obstacle:
        pytest.skip(str(obstacle))


@pytest.mark.parametrize("case", GRID, ids=str)
def test_every_combination(case, make_checkpoint, oracle, parity, tools):
    """The whole product of the axes, on one model."""
    prompts = case.prompts()
    run = tools.run(
        make_checkpoint("llama"), prompts, tools.greedy(NUM_TOKENS), **case.settings(prompts)
    )
    parity.check(oracle("llama"), prompts, run, str(case), "llama")
    if case.must_preempt:
        assert run.num_preemptions > 0, "the pool was meant to be too small"
    if case.must_hit:
        assert run.num_hit_tokens > 0, "prompts share their beginnings; something should have hit"
    if not case.enable_prefix_caching:
        assert run.num_hit_tokens == 0


@pytest.mark.parametrize("name", ALL)
def test_every_architecture(name, make_checkpoint, oracle, parity, tools):
    """Three places of the grid for each model, others for the next."""
    for case in GRID[ALL.index(name) :: len(GRID) // 3]:
        prompts = case.prompts()
        run = tools.run(
            make_checkpoint(name), prompts, tools.greedy(NUM_TOKENS), **case.settings(prompts)
        )
        parity.check(oracle(name), prompts, run, f"{name} {case}", name)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("backend", priorities("cpu"))
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2-windows", "qwen3"])
def test_every_backend_and_kernel_set(
    name, backend, kernels, make_checkpoint, oracle, parity, tools
):
    """Each attention backend over each set of kernels, in two pools that are too small."""
    need_kernels(kernels, torch.float32)
    pressed = [c for c in GRID if c.must_preempt and c.enable_prefix_caching and c.block_size < 60]
    for case in pressed[backend == "cpu_numba" :: 5][:2]:
        prompts = case.prompts()
        run = tools.run(
            make_checkpoint(name),
            prompts,
            tools.greedy(NUM_TOKENS),
            attention_backend=backend,
            kernels=kernels,
            **case.settings(prompts),
        )
        label = f"{name} {backend} {kernels} {case}"
        parity.check(oracle(name), prompts, run, label, f"{backend} over {kernels} kernels")


def test_a_dynamic_clock_past_its_trained_length(tmp_path, parity, tools):
    """One clock for the whole run, the published one for a text of `max_model_len` tokens.

    transformers turns the keys of one text by several clocks as it grows, which no cache can
    follow; so its clock is stopped at that length, and then the two must agree from start to end.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    longest = 100
    dynamic = checkpoints.rope("dynamic", factor=4.0) | {"max_position_embeddings": 32}
    checkpoints.write_checkpoint(tmp_path, "LlamaConfig", dynamic)
    oracle = oracles.Oracle.load(tmp_path)
    rotary = oracle.model.model.rotary_emb
    plain = rotary.inv_freq.clone()
    rotary.inv_freq, _ = ROPE_INIT_FUNCTIONS["dynamic"](oracle.model.config, None, seq_len=longest)
    rotary.rope_type = "default"
    assert not torch.allclose(plain, rotary.inv_freq)
    prompts = [*grid.short_prompts(seed=4, count=8), list(range(2, 61))]
    run = tools.run(tmp_path, prompts, tools.greedy(40), max_model_len=longest, block_size=8)
    assert any(len(p) + 40 > 3 * 32 for p in prompts)
    parity.check(oracle, prompts, run, "dynamic, stretched", "llama-rope-dynamic")


def test_sharded_and_single_file_give_the_same(make_checkpoint, oracle, parity, tools):
    sharded = make_checkpoint("llama", shard_size="60KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    prompts = grid.short_prompts(seed=5, count=6)
    run = tools.run(sharded, prompts, tools.greedy(NUM_TOKENS))
    parity.check(oracle("llama"), prompts, run, "sharded", "llama")


def test_a_resumed_request_hits_its_own_blocks__nano_vllm_217_233(
    make_checkpoint, oracle, parity, tools
):
    """Peers lost the last sampled token when a prompt was computed again, or ran off its table.

    A preempted request comes back with its answer so far, finds part of that in the prefix cache,
    and must go on exactly where it stopped.
    """
    rng = random.Random(21)
    prompts = [[rng.randrange(2, 320) for _ in range(rng.randrange(6, 14))] for _ in range(6)]
    run = tools.run(
        make_checkpoint("llama"),
        prompts,
        tools.greedy(40),
        block_size=4,
        num_gpu_blocks=34,
        max_num_batched_tokens=16,
        max_num_seqs=6,
    )
    assert run.num_preemptions > 0
    assert run.num_resumed_hits > 0
    assert [len(answer) for answer in run.token_ids] == [40] * 6
    parity.check(oracle("llama"), prompts, run, "resumed", "llama")


def test_preemption_at_the_edge_of_a_big_block(make_checkpoint, oracle, parity, tools):
    """Three requests of one block each grow into their second, and there is room for one."""
    rng = random.Random(8)
    prompts = [[rng.randrange(2, 320) for _ in range(n)] for n in (118, 121, 124)]
    run = tools.run(
        make_checkpoint("llama"), prompts, tools.greedy(16), block_size=128, num_gpu_blocks=5
    )
    assert run.num_preemptions > 0
    parity.check(oracle("llama"), prompts, run, "big blocks", "llama")


def test_sixty_four_requests_up_to_the_longest_text(make_checkpoint, oracle, parity, tools):
    """Answers that run into max_model_len, at every block size that divides it and some not."""
    rng = random.Random(3)
    prompts = [[rng.randrange(2, 320) for _ in range(rng.randrange(1, 60))] for _ in range(64)]
    run = tools.run(
        make_checkpoint("llama-tied-wide-heads"),
        prompts,
        tools.greedy(100),
        max_model_len=64,
        max_num_seqs=64,
        num_gpu_blocks=300,
    )
    assert [len(p) + len(a) for p, a in zip(prompts, run.token_ids)] == [64] * 64
    parity.check(
        oracle("llama-tied-wide-heads"), prompts, run, "full length", "llama-tied-wide-heads"
    )


def test_a_prompt_alone_and_in_company_is_the_same(make_checkpoint, parity, oracle, tools):
    """Twice through one engine: the second time its prefix is found, and it says the same."""
    prompts = grid.short_prompts(seed=17, count=5)
    twice = [*prompts, *prompts, *reversed(prompts)]
    run = tools.run(make_checkpoint("qwen3"), twice, tools.greedy(NUM_TOKENS), max_num_seqs=3)
    assert run.num_hit_tokens > 0
    assert run.token_ids[:5] == run.token_ids[5:10] == run.token_ids[:9:-1]
    parity.check(oracle("qwen3"), twice, run, "twice", "qwen3")


#: How far one of our fp32 logits may be from the oracle's. Measured: 2e-5 at most.
FP32_TOLERANCE = 5e-5


def scores_of_every_prefix(directory, tokens, tools, **settings):
    """Our logits after each position of `tokens`, `[len(tokens), vocab_size]`."""
    with tools.kernels_by_name(settings.pop("kernels", "auto")):
        runner = ModelRunner(tools.config(directory, **settings))
    runner.initialize_kv_cache(17)
    blocks = list(range(1, 17))
    ours, params = [], tools.greedy(1)
    for end in range(1, len(tokens) + 1):
        # One request per prefix, so that each position's scores are those of a last token.
        new = NewRequestData(str(end), tokens[:end], params, blocks, 0)
        orders = SchedulerOutput(
            [new], CachedRequestData(), {str(end): end}, end, {str(end - 1)}, set()
        )
        ours.append(runner.forward(orders).logits[0])
    return torch.stack(ours)


def text_for_logits():
    return grid.short_prompts(seed=11)[-1] + grid.short_prompts(seed=12)[1]


@pytest.mark.parametrize("name", ALL)
def test_fp32_logits(name, make_checkpoint, oracle, parity, tools):
    """The bound from which the epsilon of near-ties follows: each of two logits off by this."""
    tokens = text_for_logits()
    exact = oracle(name).logits(tokens)
    ours = scores_of_every_prefix(make_checkpoint(name), tokens, tools)
    error = (ours - exact).abs().max().item()
    scale = exact.std().item()
    parity.logits.setdefault(name, {})["fp32_max_error"] = error
    parity.logits[name]["std"] = scale
    assert error < FP32_TOLERANCE
    assert 2 * FP32_TOLERANCE == oracles.EPSILON


@pytest.mark.parametrize(
    ("dtype", "kernels"), [*(("bfloat16", k) for k in KERNELS), ("float16", "torch")]
)
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral", "llama-rope-yarn"])
def test_half_precision_is_as_close_as_transformers_is(
    name, dtype, kernels, make_checkpoint, oracle, parity, tools
):
    """In half precision tokens may differ, so logits are compared, ours and theirs, to fp32's.

    The bound: an rms error of no more than 1.2 times what transformers has in that type. It
    rounds after every operation and so do we, at other places: neither is the right one, and
    errors of some 150 roundings add up to nearly the same size. And the two stay near each other:
    no further apart than two independent errors of that size, 1.5 times to be safe.
    """
    need_kernels(kernels, getattr(torch, dtype))
    tokens = text_for_logits()
    exact = oracle(name).logits(tokens)
    theirs = oracles.Oracle.load(make_checkpoint(name), getattr(torch, dtype)).logits(tokens)
    ours = scores_of_every_prefix(
        make_checkpoint(name), tokens, tools, dtype=dtype, kernels=kernels
    )

    def rms(x):
        return x.square().mean().sqrt().item()

    our_error, their_error, apart = rms(ours - exact), rms(theirs - exact), rms(ours - theirs)
    parity.logits.setdefault(name, {}).update(
        {
            f"{dtype}_rms_error, {kernels} kernels": our_error,
            f"{dtype}_rms_error_of_transformers": their_error,
        }
    )
    assert our_error < 1.2 * their_error
    assert apart < 1.5 * 2**0.5 * their_error


@pytest.mark.parametrize("kernels", KERNELS)
def test_the_kernels_that_parity_names_are_those_that_run(kernels, make_checkpoint, tools):
    need_kernels(kernels, torch.float32)
    with tools.kernels_by_name(kernels):
        runner = ModelRunner(tools.config(make_checkpoint("llama")))
    assert runner.kernel_choice.kernels.name == kernels
    assert runner.model.model.layers[0].mlp.kernels.name == kernels
