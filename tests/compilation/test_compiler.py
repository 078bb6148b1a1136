"""What `torch.compile` makes of the pieces: how often it is asked, and that nothing changes.

Most of it runs with the backend `eager`, which traces and compiles nothing; one small piece goes
through the real compiler.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.compilation import graph_cache  # noqa: E402
from mini_vllm.compilation.compiler import PieceCompiler  # noqa: E402
from mini_vllm.compilation.graph_cache import cache_factors, cache_key, use_cache  # noqa: E402
from mini_vllm.config import EngineConfig, ModelConfig, SchedulerConfig  # noqa: E402
from mini_vllm.config.compilation import CompilationConfig  # noqa: E402
from mini_vllm.core.engine_core_request import EngineCoreRequest  # noqa: E402
from mini_vllm.engine.core import EngineCore  # noqa: E402
from mini_vllm.engine.executor import Executor  # noqa: E402
from mini_vllm.kernels.torch_kernels import TorchKernels  # noqa: E402
from mini_vllm.sampling_params import SamplingParams  # noqa: E402

CHECKPOINT = Path(__file__).parents[2] / "book" / "model" / "checkpoint"


def config(**compilation) -> EngineConfig:
    model = ModelConfig.from_checkpoint(CHECKPOINT, dtype="float32", max_model_len=64)
    return EngineConfig(
        model_config=model,
        scheduler_config=SchedulerConfig(
            max_model_len=64, max_num_batched_tokens=16, max_num_seqs=4
        ),
        device="cpu",
        attention_backend="torch_reference",
        compilation_config=CompilationConfig.from_value(compilation or None),
    )


def answers(core: EngineCore) -> list[list[int]]:
    tokens: list[list[int]] = [[], [], []]
    for i, prompt in enumerate(([5, 9], [*range(40, 62)], [7])):
        params = SamplingParams(temperature=0.0, max_tokens=6 + i, ignore_eos=True)
        core.add_request(EngineCoreRequest(str(i), list(prompt), params, float(i)))
    while core.scheduler.has_requests():
        for news in core.step():
            tokens[int(news.request_id)] += news.new_token_ids
    return tokens


def graphs_made() -> int:
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def test_the_engine_answers_alike_and_compiles_at_start_only() -> None:
    """Three kinds of pieces, each for one row and for many, whatever the depth of the model."""
    torch.set_num_threads(1)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiling = config(mode="VLLM_COMPILE", backend="eager")
    core = EngineCore(compiling, Executor(compiling))
    runner = core.executor.model_runner.graph_runner
    assert graphs_made() == 2 * runner.compiler.num_kinds == 6
    assert runner.plain.num_pieces == 5
    assert runner.stats.compile_seconds > 0
    assert runner.compiler.cache_folder is None

    assert answers(core) == answers(EngineCore(config(), Executor(config())))
    assert set(runner.stats.num_steps) == {"NONE"}
    assert graphs_made() == 6  # no step has compiled anything

    choice = core.executor.model_runner.kernel_choice
    assert isinstance(choice.kernels, TorchKernels)
    assert choice.reason == "the compiler reads torch's operations"


@pytest.mark.slow
def test_the_real_compiler_on_a_small_piece(tmp_path, monkeypatch) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch's compiler needs a C++ compiler, and there is none here")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    # For one loop, a pool of processes and a compiled header cost more than the loop.
    inductor = importlib.import_module("torch._inductor.config")
    monkeypatch.setattr(inductor, "compile_threads", 1)
    monkeypatch.setattr(inductor, "cpp_cache_precompile_headers", False)
    torch._dynamo.reset()
    compiler = PieceCompiler(config(mode="VLLM_COMPILE", cache_dir=str(tmp_path)), "cpu")
    weights = [torch.randn(32) for _ in range(2)]

    def norm(weight: torch.Tensor, x: torch.Tensor, residual: torch.Tensor):
        return TorchKernels().add_rms_norm(x, residual, weight, 1e-6)

    pieces = [compiler(f"norm {i}", partial(norm, weight)) for i, weight in enumerate(weights)]
    assert compiler.num_kinds == 1
    before = graphs_made()
    for rows in (2, 7, 30):
        for weight, piece in zip(weights, pieces, strict=True):
            x, residual = torch.randn(rows, 32), torch.randn(rows, 32)
            with torch.no_grad():
                found, expected = piece(x, residual), norm(weight, x, residual)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    # One compilation for all weights and all numbers of rows, kept in the folder of its key.
    assert graphs_made() == before + 1
    assert compiler.cache_folder.parent == tmp_path
    assert list(compiler.cache_folder.rglob("*.cpp"))


def test_only_partials_can_be_told_apart(tmp_path) -> None:
    compiler = PieceCompiler(config(mode="VLLM_COMPILE", backend="eager"), "cpu")
    with pytest.raises(TypeError, match="a piece must be a partial of a function"):
        compiler("a piece", lambda x: x)


@pytest.fixture
def compiling() -> EngineConfig:
    return config(mode="VLLM_COMPILE", backend="inductor")


def test_the_key_changes_with_everything_that_the_code_depends_on(
    compiling, tmp_path, monkeypatch
) -> None:
    keys = {cache_key(cache_factors(compiling, "cpu")), cache_key(cache_factors(compiling, "cuda"))}
    half = dataclasses.replace(compiling.model_config, dtype="bfloat16")
    keys.add(cache_key(cache_factors(dataclasses.replace(compiling, model_config=half), "cpu")))
    other = {**compiling.model_config.hf_config, "num_hidden_layers": 7}
    deeper = dataclasses.replace(compiling.model_config, hf_config=other)
    keys.add(cache_key(cache_factors(dataclasses.replace(compiling, model_config=deeper), "cpu")))
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1")
        room = SimpleNamespace(__name__="room", __path__=[str(tmp_path)])
        monkeypatch.setattr(graph_cache, "TRACED", (room,))
        keys.add(cache_key(cache_factors(compiling, "cpu")))
    (tmp_path / "a.py").write_text("x = 2")
    keys.add(cache_key(cache_factors(compiling, "cpu")))
    monkeypatch.setattr(torch, "__version__", "0.0")
    keys.add(cache_key(cache_factors(compiling, "cpu")))
    assert len(keys) == 8


def test_the_key_does_not_change_with_what_does_not_matter(compiling) -> None:
    seats = dataclasses.replace(compiling.scheduler_config, max_num_seqs=3)
    other = dataclasses.replace(compiling, scheduler_config=seats)
    assert cache_factors(other, "cpu") == cache_factors(compiling, "cpu")
    factors = cache_factors(compiling, "cpu")
    assert cache_key(dict(reversed(factors.items()))) == cache_key(factors)


def test_each_key_has_a_folder_that_says_what_it_is_for(compiling, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "before")
    folder, was_there = use_cache(compiling, "cpu")
    assert not was_there
    assert folder == tmp_path / "mini_vllm" / "torch_compile" / folder.name
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder)
    kept = json.loads((folder / "factors.json").read_text())
    assert kept["dtype"] == "float32"
    assert cache_key(kept) == folder.name
    assert use_cache(compiling, "cpu") == (folder, True)
