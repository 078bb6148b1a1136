"""What may be compiled and captured: every refusal names the value and the limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mini_vllm.config.compilation import CompilationConfig, CompilationMode, CUDAGraphMode
from mini_vllm.engine.engine_args import EngineArgs
from mini_vllm.entrypoints import cli
from mini_vllm.entrypoints.openai.cli_args import parse_serve_arguments
from mini_vllm.errors import ConfigError

B = CUDAGraphMode.FULL_AND_PIECEWISE


def test_nothing_is_compiled_or_captured_unless_asked_for() -> None:
    config = CompilationConfig.from_value(None)
    assert config == CompilationConfig()
    assert config.is_eager
    assert not config.cudagraph_mode


@pytest.mark.parametrize("written", ["full_and_piecewise", "FULL_AND_PIECEWISE", B])
def test_a_mode_may_be_written_in_several_ways(written) -> None:
    config = CompilationConfig.from_value({"cudagraph_mode": written, "mode": 3})
    assert config.cudagraph_mode is CUDAGraphMode.FULL_AND_PIECEWISE
    assert config.mode is CompilationMode.VLLM_COMPILE
    assert CompilationConfig.from_value(config) is config


def test_sizes_are_sorted_and_said_once() -> None:
    config = CompilationConfig.from_value(
        {"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [8, 1, 8, 4]}
    )
    assert config.cudagraph_capture_sizes == (1, 4, 8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "compilation_config must be a mapping, got []"),
        ({"level": 3}, "compilation_config has no level; it has backend, cache_dir"),
        ({"mode": "STOCK_TORCH_COMPILE"}, "mode must be one of NONE, VLLM_COMPILE, got 'STOCK"),
        ({"mode": True}, "mode must be one of NONE, VLLM_COMPILE, got True"),
        ({"cudagraph_mode": "SOME"}, "cudagraph_mode must be one of NONE, PIECEWISE, FULL"),
        ({"mode": 3, "backend": "onnx"}, "backend must be one of inductor, aot_eager, eager, got"),
        ({"backend": "eager"}, "backend='eager' means nothing with mode=NONE"),
        ({"cache_dir": "/x"}, "cache_dir='/x' means nothing with mode=NONE"),
        ({"mode": 3, "backend": "eager", "cache_dir": "/x"}, "'eager' makes nothing that could"),
        ({"cudagraph_capture_sizes": [1]}, "cudagraph_capture_sizes=(1,) means nothing with"),
        ({"max_cudagraph_capture_size": 8}, "max_cudagraph_capture_size=8 means nothing with"),
        ({"cudagraph_stand_in": True}, "cudagraph_stand_in=True means nothing with"),
        ({"cudagraph_copy_inputs": True}, "cudagraph_copy_inputs=True means nothing with"),
        (
            {"mode": 3, "cudagraph_mode": "FULL", "cudagraph_stand_in": True},
            "with it, backend must be eager or aot_eager, got 'inductor'",
        ),
        ({"cudagraph_mode": "FULL", "cudagraph_capture_sizes": []}, "is empty"),
        (
            {"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [4, 0]},
            "a size of cudagraph_capture_sizes must be at least 1, got 0",
        ),
        (
            {"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [4, "8"]},
            "a size of cudagraph_capture_sizes must be an integer, got '8'",
        ),
        (
            {"cudagraph_mode": "FULL", "cudagraph_capture_sizes": 8},
            "cudagraph_capture_sizes must be a list, got 8",
        ),
        (
            {
                "cudagraph_mode": "FULL",
                "cudagraph_capture_sizes": [4, 8],
                "max_cudagraph_capture_size": 16,
            },
            "max_cudagraph_capture_size=16 contradicts cudagraph_capture_sizes, whose largest is 8",
        ),
        (
            {"cudagraph_mode": "FULL", "max_cudagraph_capture_size": 0},
            "max_cudagraph_capture_size must be at least 1, got 0",
        ),
        ({"cudagraph_num_of_warmups": -1}, "cudagraph_num_of_warmups must be at least 0, got -1"),
    ],
)
def test_a_bad_value_is_named(value, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CompilationConfig.from_value(value)
    assert message in str(caught.value)


def test_the_modes_are_upstreams() -> None:
    mode = CUDAGraphMode.FULL_AND_PIECEWISE
    assert (mode.decode_mode(), mode.mixed_mode()) == (CUDAGraphMode.FULL, CUDAGraphMode.PIECEWISE)
    assert mode.has_full_cudagraphs()
    assert mode.has_piecewise_cudagraphs()
    assert CUDAGraphMode.FULL.mixed_mode() is CUDAGraphMode.FULL
    assert not CUDAGraphMode.FULL.has_piecewise_cudagraphs()
    assert CUDAGraphMode.FULL_DECODE_ONLY.mixed_mode() is CUDAGraphMode.NONE
    assert not CUDAGraphMode.PIECEWISE.has_full_cudagraphs()
    assert str(CUDAGraphMode.FULL) == "FULL"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = {"vocab_size": 50, "max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_the_keyword_reaches_the_engines_record(checkpoint: Path) -> None:
    args = EngineArgs.from_keywords(
        str(checkpoint), compilation_config={"cudagraph_mode": "piecewise"}, enforce_eager=False
    )
    config = args.create_engine_config(checkpoint).compilation_config
    assert config == CompilationConfig(cudagraph_mode=CUDAGraphMode.PIECEWISE)


def test_eager_by_force_contradicts_a_graph(checkpoint: Path) -> None:
    args = EngineArgs.from_keywords(str(checkpoint), enforce_eager=True)
    assert args.create_engine_config(checkpoint).compilation_config.is_eager
    args = EngineArgs.from_keywords(
        str(checkpoint), compilation_config={"cudagraph_mode": "FULL"}, enforce_eager=True
    )
    with pytest.raises(ConfigError, match=r"enforce_eager=True contradicts .* cudagraph_mode=FULL"):
        args.create_engine_config(checkpoint)


def test_the_flag_is_json() -> None:
    flag = '{"cudagraph_mode": "FULL", "cudagraph_stand_in": true}'
    parsed = cli.build_parser().parse_args(["serve", "M", "--compilation-config", flag])
    engine_args, _ = parse_serve_arguments(parsed)
    config = CompilationConfig.from_value(engine_args.compilation_config)
    assert config.cudagraph_stand_in
    assert cli.build_parser().parse_args(
        ["generate", "M", "--prompt", "p", "--compilation-config", flag]
    ).compilation_config == {"cudagraph_mode": "FULL", "cudagraph_stand_in": True}
