"""What a GPU would run, whole: Triton's kernels, its attention, its sampler, in graphs, elsewhere.

`tests/other_device` has the device: one that is not the CPU, and keeps CUDA's rules. Here the
engine is there with the kernels that it has on CUDA, and no wrong device, no wait in a capture, no
kernel that a capture would have to compile goes by.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import mini_vllm.worker.model_runner as model_runner
from mini_vllm import LLM, SamplingParams
from mini_vllm.kernels.selector import select_kernels


def load(name: str, path: Path):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


TESTS = Path(__file__).parents[2]
there = load("other_device", TESTS / "other_device" / "other_device.py")
checkpoints = load("engine_model_checkpoints", TESTS / "engine_model" / "checkpoints.py")

PROMPTS = [[5, 9, 2, 7, 3, 11, 4, 8, 6, 10], [3, 3, 7], [2]]
GREEDY = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in (3, 4, 3)]
DRAWING = [
    SamplingParams(temperature=0.8, top_p=0.7, seed=3, max_tokens=2, logprobs=1),
    SamplingParams(temperature=1.2, top_k=9, seed=4, max_tokens=3),
    SamplingParams(temperature=0, max_tokens=2),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny model in which some layers have a window, and heads are normed."""
    folder = tmp_path_factory.mktemp("model")
    checkpoints.write_checkpoint(folder, *checkpoints.ARCHITECTURES["qwen2-windows"], seed=0)
    return str(folder)


@pytest.fixture
def on_the_device(monkeypatch):
    """The device, and on it the kernels that CUDA would get."""
    choose = model_runner.select_kernels

    def triton_where_cuda(device, dtype, *requested):
        if device == there.THERE and not requested:
            return select_kernels(device, dtype, "triton")
        return choose(device, dtype, *requested)

    monkeypatch.setattr(model_runner, "select_kernels", triton_where_cuda)
    with there.engines_run_there() as device:
        yield device


def run(checkpoint, params, backend, compilation=None, **settings):
    llm = LLM(
        model=checkpoint,
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=32,
        attention_backend=backend,
        num_gpu_blocks_override=32,
        block_size=4,
        max_num_batched_tokens=8,
        max_num_seqs=3,
        compilation_config=compilation,
        **settings,
    )
    params = [p.clone() for p in params]
    for one in params:
        one.detokenize = False
    requests = [{"prompt_token_ids": ids} for ids in PROMPTS]
    tokens = [out.outputs[0].token_ids for out in llm.generate(requests, params, use_tqdm=False)]
    return tokens, llm.llm_engine.engine_core.executor.model_runner


@pytest.fixture(scope="module")
def expected(checkpoint):
    """What the CPU says, by the oracle."""
    return {
        id(params): run(checkpoint, params, "torch_reference", device="cpu")[0]
        for params in (GREEDY, DRAWING)
    }


def test_eager(checkpoint, expected, on_the_device):
    found, runner = run(checkpoint, DRAWING, "triton")
    assert found == expected[id(DRAWING)]
    assert runner.sampler.kernels.name == runner.kernel_choice.kernels.name == "triton"
    assert {"top_k_top_p_kernel", "best_of_piece_kernel", "chosen_logprobs_kernel"} <= set(
        on_the_device.launched
    )
    # Nothing is waited for but what is handed out: tokens, and of rows that report three lists.
    assert set(on_the_device.reads) == {"tolist"}


@pytest.mark.parametrize("mode", ["FULL", "FULL_AND_PIECEWISE"])
def test_in_graphs(checkpoint, expected, on_the_device, mode):
    compilation = {"cudagraph_mode": mode, "cudagraph_capture_sizes": [3, 8]}
    found, runner = run(checkpoint, GREEDY, "triton", compilation)
    assert found == expected[id(GREEDY)]
    stats = runner.graph_runner.stats
    assert stats.num_steps["NONE"] == 0 < stats.num_replays
    # One wait a step, for its tokens; a step that ends no prompt has none.
    assert on_the_device.reads.keys() == {"tolist"}
    assert on_the_device.reads["tolist"] <= stats.num_steps.total()


def test_a_capture_without_a_run_before_it_is_found(checkpoint, on_the_device):
    """The check checks: without warming up, a kernel would be compiled in the capture."""
    compilation = {
        "cudagraph_mode": "FULL_DECODE_ONLY",
        "cudagraph_capture_sizes": [1],
        "cudagraph_num_of_warmups": 0,
    }
    with pytest.raises(RuntimeError, match="not compiled yet"):
        run(checkpoint, GREEDY, "triton", compilation)
