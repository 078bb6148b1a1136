"""Are steps that run as CUDA graphs the steps that they were without?

Not run yet: written where there was no device, against the stand-in's tests
(`tests/compilation/test_engine.py`). Marked `gpu`: `nox -s labs_gpu`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mini_vllm import LLM, SamplingParams  # noqa: E402
from mini_vllm.errors import ConfigError, GraphError  # noqa: E402

CHECKPOINT = str(Path(__file__).parents[2] / "book" / "model" / "checkpoint")
PROMPTS = ["def schedule(self", "import torch\nfrom torch import nn\n", "        return self.", "#"]
#: Between the oracle's two best log-probabilities: nearer ones may change places, since a padded
#: product may round in another way.
EPSILON = 1e-3
SIZES = [1, 2, 4, 8, 16, 32]

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nox -s labs_gpu on a machine that has one")


def engine(compilation: dict[str, Any] | None, backend: str, **settings: Any) -> LLM:
    settings = {"num_gpu_blocks_override": 256, "max_num_seqs": 8, **settings}
    return LLM(
        model=CHECKPOINT,
        dtype="float32",
        max_model_len=256,
        device="cuda",
        attention_backend=backend,
        compilation_config=compilation,
        **settings,
    )


def answers(llm: LLM) -> list[Any]:
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, logprobs=2)
    return [out.outputs[0] for out in llm.generate(PROMPTS, params)]


def runner(llm: LLM) -> Any:
    return llm.llm_engine.engine_core.executor.model_runner.graph_runner


@pytest.fixture(scope="module")
def eager() -> list[Any]:
    return answers(engine(None, "torch_reference"))


def assert_same(found: list[Any], oracle: list[Any]) -> None:
    for ours, theirs in zip(found, oracle, strict=True):
        for place, (a, b) in enumerate(zip(ours.token_ids, theirs.token_ids, strict=True)):
            if a != b:
                best, second = sorted(e.logprob for e in theirs.logprobs[place].values())[-2:][::-1]
                assert best - second < EPSILON, f"token {place}: {a} instead of {b}"
                break


@pytest.mark.parametrize("budget", [16, 2048], ids=["chunks", "whole prompts"])
@pytest.mark.parametrize("compiled", [False, True], ids=["as it is", "compiled"])
@pytest.mark.parametrize("backend", ["torch_static", "triton"])
@pytest.mark.parametrize("mode", ["PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"])
def test_the_same_tokens(mode, backend, compiled, budget, eager, tmp_path) -> None:
    if backend == "triton":
        pytest.importorskip("triton")
    settings: dict[str, Any] = {"cudagraph_mode": mode}
    settings["cudagraph_capture_sizes"] = [size for size in SIZES if size <= budget]
    if compiled:
        settings |= {"mode": "VLLM_COMPILE", "cache_dir": str(tmp_path)}
    llm = engine(settings, backend, max_num_batched_tokens=budget)
    assert_same(answers(llm), eager)
    stats = runner(llm).stats
    assert stats.num_replays > 0
    assert stats.num_bytes > 0


def test_a_step_is_one_launch_and_takes_less_time() -> None:
    """Of a small model, decoding: most of an eager step is the asking."""
    times = {}
    for name, compilation in (("eager", None), ("graph", {"cudagraph_mode": "FULL"})):
        llm = engine(compilation, "torch_static")
        answers(llm)
        core = llm.llm_engine
        params = SamplingParams(temperature=0, max_tokens=100, ignore_eos=True)
        for index, prompt in enumerate(PROMPTS):
            core.add_request(str(index), prompt, params)
        for _ in range(10):
            core.step()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(50):
            core.step()
        end.record()
        torch.cuda.synchronize()
        times[name] = begin.elapsed_time(end) / 50
        while core.has_unfinished_requests():
            core.step()
    assert times["graph"] < times["eager"]


def test_an_unknown_shape_is_refused() -> None:
    llm = engine({"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [4, 16]}, "torch_static")
    graphs = runner(llm)
    graphs.whole.entries.clear()
    with pytest.raises(GraphError, match="no graph was captured"):
        answers(llm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_a_borrowed_tensor_is_the_memory_and_does_not_hold_it(dtype) -> None:
    from mini_vllm.compilation.cuda_graph import tensor_at

    torch.cuda.empty_cache()
    held = torch.arange(1 << 20, device="cuda").view(1024, 1024).to(dtype)[1:, ::2]
    before = torch.cuda.memory_allocated()
    borrowed = tensor_at(held)
    assert torch.cuda.memory_allocated() == before
    assert (borrowed.data_ptr(), borrowed.stride()) == (held.data_ptr(), held.stride())
    assert torch.equal(borrowed, held)
    held.zero_()
    assert not borrowed.any()
    del held
    assert torch.cuda.memory_allocated() < before


def test_more_sizes_take_little_more_memory() -> None:
    """One pool: the largest step's results are room enough for every other's."""
    kept = []
    # The first one loads libraries, whose memory is not the graphs'.
    for sizes in ([512], [512], [*range(16, 513, 16)]):
        llm = engine(
            {"cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": sizes}, "torch_static"
        )
        kept.append(runner(llm).stats.num_bytes)
        del llm
    assert kept[2] < 2 * kept[1] + (32 << 20)


def test_a_run_before_a_capture_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="cudagraph_num_of_warmups=0"):
        engine({"cudagraph_mode": "FULL", "cudagraph_num_of_warmups": 0}, "torch_static")
