"""Peers' bugs that need a model to show: weights, norms, rotations, samplers, shapes.

The list of all threads is in `tests/engine_core/test_peer_bugs.py`. As there, every test is also
run on an engine that has the bug, and must fail.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mini_vllm.loader
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.errors import CheckpointError, MiniVllmError
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.embedding import OutputHead
from mini_vllm.layers.linear import Linear
from mini_vllm.loader import load_model, resolve_checkpoint
from mini_vllm.models.registry import decoder_config
from mini_vllm.sample.kernels import TorchSamplingKernels
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.sampler import Sampler
from mini_vllm.sample.top_k_top_p import apply_top_k_top_p
from mini_vllm.sampling_params import SamplingParams
from mini_vllm.worker.block_table import BlockTable
from mini_vllm.worker.input_batch import InputBatch
from mini_vllm.worker.model_runner import ModelRunner

PROMPTS = [[7, 11, 13, 17, 19, 23, 29, 31, 37, 41], [5, 3, 2, 9, 8], [6]]


def scores(checkpoint, prompts, tools, **settings):
    """The scores after each prompt, all in one step of one runner."""
    with tools.kernels_by_name("torch"):
        runner = ModelRunner(tools.config(checkpoint, block_size=4, **settings))
    runner.initialize_kv_cache(40)
    blocks = iter(range(1, 40))
    new = [
        NewRequestData(
            str(i), p, tools.greedy(4), [next(blocks) for _ in range(-(-len(p) // 4))], 0
        )
        for i, p in enumerate(prompts)
    ]
    counts = {str(i): len(p) for i, p in enumerate(prompts)}
    total = sum(counts.values())
    orders = SchedulerOutput(new, CachedRequestData(), counts, total, set(), set())
    return runner.forward(orders).logits


def exact(oracle, name):
    return torch.stack([oracle(name).logits(p)[-1] for p in PROMPTS])


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_nano_vllm_17_a_bias_is_loaded(make_checkpoint, oracle, tools):
    """nano-vllm #17: a bias that was a plain tensor, invisible to the loader."""
    for name in ("llama-biases", "qwen2"):
        close(scores(make_checkpoint(name), PROMPTS, tools), exact(oracle, name))


def test_nano_vllm_62_no_accelerator_library_is_needed(make_checkpoint, oracle):
    """nano-vllm #62: without flash-attn and the right GPU, the very import failed.

    Here every optional library is made impossible to import, numba with them, in a process of its
    own; the answer is still the oracle's.
    """
    code = (
        "import sys\n"
        "for name in sys.argv[2].split(','): sys.modules[name] = None\n"
        "from mini_vllm import LLM, SamplingParams\n"
        "llm = LLM(sys.argv[1], dtype='float32', skip_tokenizer_init=True, device='cpu',\n"
        "          num_gpu_blocks_override=20)\n"
        "params = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False)\n"
        "(out,) = llm.generate([{'prompt_token_ids': [7, 11, 13]}], params, use_tqdm=False)\n"
        "print(list(out.outputs[0].token_ids))\n"
    )
    blocked = "flash_attn,flashinfer,xformers,triton,numba,llvmlite,vllm"
    done = subprocess.run(
        [sys.executable, "-c", code, str(make_checkpoint("llama")), blocked],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer == oracle("llama").generate([7, 11, 13], 4)


def test_nano_vllm_97_what_is_no_checkpoint_is_an_error(make_checkpoint, tmp_path):
    """nano-vllm #97: a model id instead of a path matched no file, and noise was generated."""
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        resolve_checkpoint("./qwen/not-here")
    config = json.loads((make_checkpoint("llama") / "config.json").read_text())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match=r"no \.safetensors file"):
        load_model(
            decoder_config(config),
            empty,
            max_position=16,
            device=torch.device("cpu"),
            dtype=torch.float32,
        )


def test_nano_vllm_170_fp32_is_as_right_as_any_type(make_checkpoint, oracle, tools):
    """nano-vllm #170 (and PRs #171, #205): a norm in place spoilt the residual, in fp32 only."""
    close(scores(make_checkpoint("qwen3"), PROMPTS, tools), exact(oracle, "qwen3"))


def test_nano_vllm_260_the_token_that_crosses_the_line_is_kept():
    """nano-vllm PR #260: an earlier patch's top-p dropped the boundary token."""
    probs = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    for p, kept in [(0.4, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.951, 4)]:
        logits = apply_top_k_top_p(probs.log(), None, torch.tensor([p]))
        assert int(logits.isfinite().sum()) == kept, p


def test_mini_sglang_68_numbers_and_tables_are_wide_enough():
    """mini-sglang #68: overflow. A slot of a big pool exceeds 31 bits; a row ends where it ends."""
    table = BlockTable(block_size=128, max_num_reqs=2, max_model_len=300)
    table.add_row(1, [2**25, 7])
    slots = table.slot_mapping(np.array([1, 1]), np.array([127, 128]))
    assert slots.tolist() == [2**32 + 127, 7 * 128]
    table.append_row(1, [9])
    with pytest.raises(IndexError, match="4 blocks in a row of at most 3"):
        table.append_row(1, [10])
    batch = InputBatch(max_num_reqs=1, max_model_len=4, block_size=4, vocab_size=9)
    assert batch.token_ids.shape == (1, 4)


def test_mini_sglang_88_a_seed_decides(make_checkpoint, tools):
    """mini-sglang #88: two runs with one seed gave two answers."""
    params = [SamplingParams(temperature=1.5, seed=5, max_tokens=12, ignore_eos=True)] * 3
    one, same = (tools.run(make_checkpoint("llama"), PROMPTS, params) for _ in range(2))
    assert one.token_ids == same.token_ids
    assert len({token for answer in one.token_ids for token in answer}) > 12
    unseeded = SamplingParams(temperature=1.5, max_tokens=12, ignore_eos=True)
    one, same, other = (
        tools.run(make_checkpoint("llama"), PROMPTS, unseeded, seed=s).token_ids for s in (1, 1, 2)
    )
    assert one == same != other


def test_mini_sglang_98_a_row_of_scores_for_each_request(make_checkpoint, oracle, tools):
    """mini-sglang #98: the last token was picked wrongly for more than one request."""
    close(scores(make_checkpoint("llama"), PROMPTS, tools), exact(oracle, "llama"))
    output = Sampler()(torch.randn(5, 30), SamplingMetadata(rows=list(range(5))))
    assert output.token_ids.shape == (5,)


def test_gpt_fast_69_prompts_of_different_lengths_share_a_batch(make_checkpoint, oracle, tools):
    """gpt-fast #69: a rectangular batch wants padding, and padding was attended to."""
    run = tools.run(make_checkpoint("llama"), PROMPTS, tools.greedy(8), kernels="torch")
    assert run.token_ids == [oracle("llama").generate(p, 8) for p in PROMPTS]


def test_gpt_fast_209_scores_have_two_axes_for_one_and_for_many(make_checkpoint, oracle, tools):
    """gpt-fast #209: `logits[0, -1]` became `logits[:, -1]`; a caller that relied on one of them
    broke for every model, and no test ran it. (This engine has no speculation yet.)
    """
    many = scores(make_checkpoint("llama"), PROMPTS, tools)
    assert many.shape == (3, 320)
    for i, prompt in enumerate(PROMPTS):
        one = scores(make_checkpoint("llama"), [prompt], tools)
        assert one.shape == (1, 320)
        close(one[0], many[i])


def test_tiny_vllm_4_pairs_are_halves(make_checkpoint, oracle, tools):
    """tiny-vllm #4: pairs of neighbours. Position 0 is not turned, so a single token is right."""
    close(scores(make_checkpoint("llama"), PROMPTS, tools), exact(oracle, "llama"))


# ------------------------------------------------------------------ the bugs, put in


def _bias_is_forgotten(original):
    return lambda layer, x: layer.kernels.linear(x, layer.weight, None)


def _numba_is_imported_at_once(original):
    def mutant(command, **more):
        command[2] = "import sys\nsys.modules['numba'] = None\nimport numba\n" + command[2]
        return original(command, **more)

    return mutant


def _whatever_fits_is_loaded(original):
    return lambda model, directory: None


def _norm_in_place(original):
    def mutant(kernels, x, weight, eps):
        wide = x.float()
        wide.mul_(torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps))
        return (wide * weight.float()).to(x.dtype)

    return mutant


def _boundary_is_dropped(original):
    def mutant(ordered, top_p):
        keep = ordered.cumsum(dim=-1) <= top_p.unsqueeze(1)
        keep[:, 0] = True
        return keep

    return mutant


def _narrow_slots(original):
    def mutant(table, rows, positions):
        blocks = table.block_ids[rows, positions // table.block_size]
        return blocks * np.int32(table.block_size) + (positions % table.block_size).astype(np.int32)

    return mutant


def _no_seed(original):
    def mutant(kernels, scores, waits):
        return torch.multinomial(scores.softmax(-1), 1, generator=_UNSEEDED).squeeze(1)

    return mutant


_UNSEEDED = torch.Generator()
_UNSEEDED.seed()


def _last_row_for_everyone(original):
    return lambda head, hidden: original(head, hidden[-1:].expand_as(hidden))


def _one_row_is_no_batch(original):
    return lambda head, hidden: original(head, hidden).squeeze(0)


def _everyone_is_as_long_as_the_first(original):
    def mutant(runner, num_scheduled):
        token_ids, positions, metadata = original(runner, num_scheduled)
        if num_scheduled.max() > 1:
            positions = positions.clone()
            longest = int(num_scheduled.max())
            # Left padding without its mask: every prompt ends at the same position.
            shift = np.repeat(longest - num_scheduled, num_scheduled)
            positions += torch.from_numpy(shift)
        return token_ids, positions, metadata

    return mutant


def _neighbours(original):
    def mutant(x, cos, sin):
        even, odd = x[..., ::2].float(), x[..., 1::2].float()
        turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
        return turned.flatten(-2).to(x.dtype)

    return mutant


#: test -> (where, what, the function that makes the mutant of it).
MUTANTS: dict[str, tuple] = {
    "test_nano_vllm_17_a_bias_is_loaded": (Linear, "forward", _bias_is_forgotten),
    "test_nano_vllm_62_no_accelerator_library_is_needed": (
        subprocess,
        "run",
        _numba_is_imported_at_once,
    ),
    "test_nano_vllm_97_what_is_no_checkpoint_is_an_error": (
        mini_vllm.loader,
        "load_weights",
        _whatever_fits_is_loaded,
    ),
    "test_nano_vllm_170_fp32_is_as_right_as_any_type": (TorchKernels, "rms_norm", _norm_in_place),
    "test_nano_vllm_260_the_token_that_crosses_the_line_is_kept": (
        sys.modules[apply_top_k_top_p.__module__],
        "_crosses",
        _boundary_is_dropped,
    ),
    "test_mini_sglang_68_numbers_and_tables_are_wide_enough": (
        BlockTable,
        "slot_mapping",
        _narrow_slots,
    ),
    "test_mini_sglang_88_a_seed_decides": (TorchSamplingKernels, "race", _no_seed),
    "test_mini_sglang_98_a_row_of_scores_for_each_request": (
        OutputHead,
        "forward",
        _last_row_for_everyone,
    ),
    "test_gpt_fast_69_prompts_of_different_lengths_share_a_batch": (
        ModelRunner,
        "_prepare_inputs",
        _everyone_is_as_long_as_the_first,
    ),
    "test_gpt_fast_209_scores_have_two_axes_for_one_and_for_many": (
        OutputHead,
        "forward",
        _one_row_is_no_batch,
    ),
    "test_tiny_vllm_4_pairs_are_halves": (
        sys.modules[TorchKernels.__module__],
        "rotate",
        _neighbours,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_test_fails_when_the_bug_is_put_in(name, request, monkeypatch):
    where, what, mutate = MUTANTS[name]
    test = globals()[name]
    fixtures = {f: request.getfixturevalue(f) for f in inspect.signature(test).parameters}
    monkeypatch.setattr(where, what, mutate(inspect.getattr_static(where, what)))
    with pytest.raises((AssertionError, MiniVllmError, IndexError, pytest.fail.Exception)):
        test(**fixtures)
