"""The engine on a device that is not the CPU: the same answers, and how often it waits for them.

With plain torch operations; what Triton's kernels do there is tested where they are interpreted,
in `tests/triton/interpreted/test_engine_on_another_device.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from other_device import OtherDevice, Remote, engines_run_there

pytest.importorskip("transformers")

import mini_vllm.worker.model_runner as model_runner
from mini_vllm import LLM, SamplingParams
from mini_vllm.kernels.selector import KernelChoice
from mini_vllm.kernels.torch_kernels import TorchKernels

CHECKPOINT = str(Path(__file__).parents[2] / "book" / "model" / "checkpoint")
PROMPTS = [[5, 9, 33, 7, 8, 100, 3], [*range(40, 60)], [*range(40, 57), 7, 8]]
GREEDY = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in (5, 4, 6)]
#: Every rule of sampling, and generators of their own.
DRAWING = [
    SamplingParams(temperature=0.9, top_p=0.8, seed=3, max_tokens=5, logprobs=2),
    SamplingParams(temperature=1.3, top_k=20, min_p=0.01, seed=4, max_tokens=4, min_tokens=3),
    SamplingParams(temperature=0, presence_penalty=1.5, repetition_penalty=1.2, max_tokens=4),
]


@pytest.fixture(autouse=True)
def plain_kernels(monkeypatch) -> None:
    """No compiled loops on the CPU's side: compiling them takes longer than these tests."""
    choice = KernelChoice(TorchKernels(), "for these tests")
    monkeypatch.setattr(model_runner, "select_kernels", lambda *asked: choice)


def run(params: list[SamplingParams], backend: str, **settings: Any) -> tuple[list[Any], Any]:
    settings = {"device": "cpu", "max_num_seqs": 4, "max_num_batched_tokens": 16} | settings
    llm = LLM(
        model=CHECKPOINT,
        dtype="float32",
        max_model_len=64,
        block_size=4,
        num_gpu_blocks_override=64,
        attention_backend=backend,
        skip_tokenizer_init=True,
        **settings,
    )
    params = [p.clone() for p in params]
    for one in params:
        one.detokenize = False
    requests = [{"prompt_token_ids": ids} for ids in PROMPTS]
    outputs = [out.outputs[0] for out in llm.generate(requests, params, use_tqdm=False)]
    return outputs, llm.llm_engine.engine_core.executor.model_runner


def tokens(outputs: list[Any]) -> list[list[int]]:
    return [list(output.token_ids) for output in outputs]


@pytest.mark.parametrize("params", [GREEDY, DRAWING], ids=["greedy", "drawing"])
def test_the_same_answers(params) -> None:
    expected, _ = run(params, "torch_reference")
    with engines_run_there():
        found, runner = run(params, "torch_reference")
        assert isinstance(runner.kv_caches[0], Remote)
        assert all(isinstance(p, Remote) for p in runner.model.parameters())
    assert tokens(found) == tokens(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.logprobs is None) == (theirs.logprobs is None)
        for here, there in zip(ours.logprobs or (), theirs.logprobs or (), strict=True):
            assert {k: v.logprob for k, v in here.items()} == pytest.approx(
                {k: v.logprob for k, v in there.items()}, abs=1e-5
            )


@pytest.mark.parametrize("mode", ["PIECEWISE", "FULL", "FULL_AND_PIECEWISE"])
def test_graphs_there_hold_nothing_that_a_device_could_not_capture(mode) -> None:
    expected, _ = run(GREEDY, "torch_reference")
    compilation = {"cudagraph_mode": mode, "cudagraph_capture_sizes": [1, 3, 16]}
    with engines_run_there() as device:
        found, runner = run(GREEDY, "torch_static", compilation_config=compilation)
        assert runner.graph_runner.stats.num_replays > 0
        assert tokens(found) == tokens(expected)
        # A greedy step waits for its tokens and for nothing else.
        steps = runner.graph_runner.stats.num_steps.total()
        assert device.reads == {"tolist": device.reads["tolist"]}
        assert device.reads["tolist"] <= steps


def test_a_step_that_reads_in_the_middle_is_found(monkeypatch) -> None:
    """The check checks: one `.item()` in attention, and no graph can be made."""
    from mini_vllm.attention.torch_static import TorchStaticBackend

    forward = TorchStaticBackend.forward

    def curious(self, layer, query, *rest):
        assert float(query.abs().sum()) >= 0
        return forward(self, layer, query, *rest)

    monkeypatch.setattr(TorchStaticBackend, "forward", curious)
    compilation = {"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [3]}
    with engines_run_there(), pytest.raises(RuntimeError, match="in a capture"):
        run(GREEDY, "torch_static", compilation_config=compilation)
    assert not OtherDevice._active
