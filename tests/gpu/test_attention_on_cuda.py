"""The grid of attention cases on a CUDA device: every backend that fits there.

The oracle is the one of every other machine, dense attention in float64 on the CPU. Libraries read
what lies in a page beside its tokens, and weigh it with zero, so for them unwritten places hold a
large number instead of NaN.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.attention.selector import backend_class  # noqa: E402
from mini_vllm.attention.triton_attention import TritonMetadataBuilder  # noqa: E402

NAME = "attention_cases"
if NAME not in sys.modules:
    path = Path(__file__).parents[1] / "attention" / "cases.py"
    spec = importlib.util.spec_from_file_location(NAME, path)
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
cases = sys.modules[NAME]
HALVES = (torch.float16, torch.bfloat16)

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nox -s labs_gpu on a machine that has one")


def case_for(name: str, **changes):
    return cases.Case(**cases.GRID[name] | changes, device="cuda")


@pytest.mark.parametrize("name", cases.GRID)
@pytest.mark.parametrize("backend", ["torch_reference", "triton"])
def test_the_grid(backend, name):
    case = case_for(name)
    assert backend_class(backend).validate_configuration(case.config) == []
    out, pages = case.run(backend_class(backend))
    case.check(out)
    case.check_pages(pages)


@pytest.mark.parametrize("segments", [2, 4, 16])
@pytest.mark.parametrize("name", [n for n in cases.GRID if not n.startswith("prompts")])
def test_the_grid_in_segments(name, segments):
    case = case_for(name)
    case.check(cases.run_triton(case, segments)[0])


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("window", [None, 1000])
def test_long_texts_that_the_plan_itself_cuts(dtype, window):
    mix = [(8191, 1), (5000, 1), (17, 1)]
    case = cases.Case(mix, (8, 2), 128, dtype=dtype, window=window, device="cuda")
    builder = TritonMetadataBuilder(case.config)
    plan = builder.build(case.common).plans[window]
    assert plan.num_segments > 1
    case.check(case.run(backend_class("triton"), builder)[0])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_prompt_of_many_blocks(dtype):
    case = cases.Case([(0, 700), (300, 400), (999, 1)], (8, 2), 128, dtype=dtype, device="cuda")
    case.check(case.run(backend_class("triton"))[0])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("mix", cases.MIXES)
@pytest.mark.parametrize("window", [None, 17])
@pytest.mark.parametrize("soft_cap", [None, 20.0])
@pytest.mark.parametrize("backend", ["flash_attention", "flashinfer"])
def test_libraries(backend, soft_cap, window, mix, dtype):
    chosen = backend_class(backend)
    block_size = max(16, chosen.block_size_multiple)
    case = cases.Case(
        mix, (4, 2), 64, block_size, dtype, window, soft_cap, device="cuda", poison=1e4
    )
    reasons = chosen.validate_configuration(case.config)
    if reasons:
        pytest.skip(", ".join(reasons))
    out, pages = case.run(chosen)
    case.check(out)
    case.check_pages(pages)
    last = case.common.last_tokens.cpu()
    torch.testing.assert_close(
        case.run_last_tokens(chosen).cpu().double(),
        case.expected()[last],
        atol=cases.TOLERANCE[dtype] + 1e-5,
        rtol=0,
    )


def test_a_recorded_step_stays_right_while_texts_grow():
    """One CUDA graph over the lengths of many steps: the plan was made for the longest."""
    chosen = backend_class("triton")
    grown = [cases.Case([(n, 1), (2 * n, 1)], (8, 2), 64, device="cuda") for n in (3, 40, 700)]
    longest = grown[-1]
    builder = TritonMetadataBuilder(longest.config)
    static = {
        name: torch.zeros_like(getattr(longest.common, name))
        for name in ("query_start_loc", "seq_lens", "block_table", "slot_mapping")
    }
    tensors = [torch.zeros_like(t) for t in (longest.query, longest.key, longest.value)]
    pages = torch.zeros_like(longest.pages)

    def load(case):
        for name, buffer in static.items():
            source = getattr(case.common, name)
            buffer.zero_()
            buffer[tuple(slice(n) for n in source.shape)] = source
        for buffer, source in zip(tensors, (case.query, case.key, case.value), strict=True):
            buffer.copy_(source)
        pages.zero_()
        pages[:, : case.pages.shape[1]] = case.pages

    common = dataclasses.replace(longest.common, max_seq_len=4096, **static)
    metadata = builder.build_for_cudagraph_capture(common)
    assert metadata.plans[None].num_segments > 1
    load(longest)
    for _ in range(2):
        chosen().forward(longest.layer, *tensors, pages, metadata)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = chosen().forward(longest.layer, *tensors, pages, metadata)
    for case in grown:
        load(case)
        graph.replay()
        case.check(out)


def test_the_engine_chooses_triton_where_no_library_fits():
    from mini_vllm.attention.backend import AttentionSelectorConfig
    from mini_vllm.attention.selector import select_attention_backend

    config = AttentionSelectorConfig(
        device=torch.device("cuda"),
        dtype=torch.float32,
        head_size=64,
        compute_capability=torch.cuda.get_device_capability(),
    )
    choice = select_attention_backend(config)
    assert choice.backend.name == "triton"
    assert set(choice.passed_over) == {"flash_attention", "flashinfer"}
