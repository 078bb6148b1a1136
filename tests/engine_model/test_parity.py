"""Token for token what transformers says, whatever the engine does to get there."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ALL = [
    "llama",
    "llama-tied-wide-heads",
    "llama-one-kv-head",
    "llama-biases",
    "llama-rope-linear",
    "llama-rope-dynamic",
    "llama-rope-llama3",
    "llama-rope-yarn",
    "qwen2",
    "qwen2-windows",
    "qwen3",
    "mistral",
    "mistral-no-window",
]
NUM_TOKENS = 12

# (prefix caching, token budget, block size, pool, batch): every value of one axis meets every
# value of every other that it can meet (a budget below the batch is not a legal config).
GRID = [
    (True, 1, 1, "ample", 1),
    (False, 1, 16, "tight", 1),
    (True, 1, 128, "tight", 1),
    (False, 1, 3, "ample", 1),
    (True, 7, 3, "tight", 4),
    (False, 7, 1, "tight", 4),
    (False, 7, 128, "ample", 4),
    (True, 7, 16, "ample", 1),
    (True, 64, 16, "tight", 64),
    (False, 64, 1, "ample", 64),
    (True, 64, 3, "ample", 64),
    (False, 64, 128, "tight", 4),
    (True, 100_000, 1, "tight", 64),
    (False, 100_000, 3, "tight", 64),
    (True, 100_000, 128, "ample", 64),
    (False, 100_000, 16, "ample", 4),
    (True, 100_000, 16, "tight", 1),
]


def prompts_for(seed: int, count: int = 14, vocab_size: int = 320) -> list[list[int]]:
    """Prompts of 1 to 60 tokens; half of them begin like another, some are equal."""
    rng = random.Random(seed)
    stems = [[rng.randrange(2, vocab_size) for _ in range(n)] for n in (24, 40)]
    prompts = [[rng.randrange(2, vocab_size)], stems[0], stems[0], stems[1][:32]]
    while len(prompts) < count:
        tail = [rng.randrange(2, vocab_size) for _ in range(rng.randrange(1, 20))]
        prompts.append(rng.choice([[], *stems]) + tail)
    return prompts


def pool_size(prompts, block_size: int, pool: str) -> int:
    """Tight: the longest request and a little more, so that others must be preempted."""
    longest = max(len(p) for p in prompts) + NUM_TOKENS
    needed = -(-longest // block_size)
    return 1 + (needed + max(1, needed // 3) if pool == "tight" else needed * len(prompts))


def engine_settings(prompts, caching, budget, block_size, pool, batch):
    return {
        "enable_prefix_caching": caching,
        "max_num_batched_tokens": budget,
        "block_size": block_size,
        "num_gpu_blocks": pool_size(prompts, block_size, pool),
        "max_num_seqs": batch,
    }


@pytest.mark.parametrize("name", ALL)
def test_every_architecture(name, make_checkpoint, oracle, parity, tools):
    """A slice of the grid for each, another slice for the next."""
    prompts = prompts_for(seed=ALL.index(name))
    for case in GRID[ALL.index(name) % 4 :: 4]:
        run = tools.run(
            make_checkpoint(name),
            prompts,
            tools.greedy(NUM_TOKENS),
            **engine_settings(prompts, *case),
        )
        parity.check(oracle(name), prompts, run.token_ids, f"{name} {case}")


@pytest.mark.parametrize("case", GRID, ids=str)
def test_every_combination(case, make_checkpoint, oracle, parity, tools):
    prompts = prompts_for(seed=99)
    run = tools.run(
        make_checkpoint("llama"),
        prompts,
        tools.greedy(NUM_TOKENS),
        **engine_settings(prompts, *case),
    )
    parity.check(oracle("llama"), prompts, run.token_ids, str(case))
    caching, budget, block_size, pool, batch = case
    if pool == "tight" and batch > 1 and budget >= 64 and block_size <= 16:
        assert run.num_preemptions > 0, "the pool was meant to be too small"
    if caching and pool == "ample" and block_size <= 16:
        assert run.num_hit_tokens > 0, "prompts share stems; something should have hit"
    if not caching:
        assert run.num_hit_tokens == 0


@given(
    caching=st.booleans(),
    budget=st.integers(8, 150),
    block_size=st.integers(1, 40),
    pool=st.sampled_from(["ample", "tight"]),
    batch=st.integers(1, 8),
    threshold=st.sampled_from([0, 0, 5]),
    seed=st.integers(0, 3),
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_combinations(
    caching,
    budget,
    block_size,
    pool,
    batch,
    threshold,
    seed,
    make_checkpoint,
    oracle,
    parity,
    tools,
):
    prompts = prompts_for(seed, count=8)
    run = tools.run(
        make_checkpoint("qwen3"),
        prompts,
        tools.greedy(NUM_TOKENS),
        long_prefill_token_threshold=threshold,
        **engine_settings(prompts, caching, budget, block_size, pool, batch),
    )
    parity.check(oracle("qwen3"), prompts, run.token_ids, "random")


@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3"])
def test_the_reference_backend_as_well(name, make_checkpoint, oracle, parity, tools):
    prompts = prompts_for(seed=7, count=8)
    for case in (GRID[4], GRID[8]):
        run = tools.run(
            make_checkpoint(name),
            prompts,
            tools.greedy(NUM_TOKENS),
            attention_backend="torch_reference",
            **engine_settings(prompts, *case),
        )
        parity.check(oracle(name), prompts, run.token_ids, f"{name} reference {case}")


def test_sharded_and_single_file_give_the_same(make_checkpoint, oracle, parity, tools):
    sharded = make_checkpoint("llama", shard_size="60KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    prompts = prompts_for(seed=5, count=6)
    run = tools.run(sharded, prompts, tools.greedy(NUM_TOKENS))
    parity.check(oracle("llama"), prompts, run.token_ids, "sharded")


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
    parity.check(oracle("llama"), prompts, run.token_ids, "resumed")


def test_preemption_at_the_edge_of_a_big_block(make_checkpoint, oracle, parity, tools):
    """Three requests of one block each grow into their second, and there is room for one."""
    rng = random.Random(8)
    prompts = [[rng.randrange(2, 320) for _ in range(n)] for n in (118, 121, 124)]
    run = tools.run(
        make_checkpoint("llama"), prompts, tools.greedy(16), block_size=128, num_gpu_blocks=5
    )
    assert run.num_preemptions > 0
    parity.check(oracle("llama"), prompts, run.token_ids, "big blocks")


def test_sixty_four_requests_up_to_the_longest_text(make_checkpoint, oracle, parity, tools):
    """Answers that run into max_model_len, at every block size that divides it and some not."""
    rng = random.Random(3)
    prompts = [[rng.randrange(2, 320) for _ in range(rng.randrange(1, 90))] for _ in range(64)]
    run = tools.run(
        make_checkpoint("llama-tied-wide-heads"),
        prompts,
        tools.greedy(100),
        max_model_len=96,
        max_num_seqs=64,
        num_gpu_blocks=300,
    )
    assert [len(p) + len(a) for p, a in zip(prompts, run.token_ids)] == [96] * 64
    parity.check(oracle("llama-tied-wide-heads"), prompts, run.token_ids, "full length")


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral", "llama-rope-yarn"])
def test_bfloat16_is_as_close_as_transformers_is(name, make_checkpoint, oracle, tools):
    """In bfloat16 tokens may differ, so logits are compared: both against fp32.

    The bound: no further from fp32 than 1.2 times what transformers is in bfloat16.
    """
    import transformers

    from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
    from mini_vllm.worker.model_runner import ModelRunner

    tokens = prompts_for(seed=11, count=14)[-1] + prompts_for(seed=12)[1]
    exact = oracle(name).logits(tokens)
    half = transformers.AutoModelForCausalLM.from_pretrained(
        make_checkpoint(name), dtype=torch.bfloat16
    ).eval()
    theirs = half(torch.tensor([tokens])).logits[0].float()

    runner = ModelRunner(tools.config(make_checkpoint(name), dtype="bfloat16"))
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
    our_error = (torch.stack(ours) - exact).square().mean().sqrt().item()
    their_error = (theirs - exact).square().mean().sqrt().item()
    print(f"{name}: rms error {our_error:.4f}, transformers {their_error:.4f}")
    assert our_error < 1.2 * their_error
