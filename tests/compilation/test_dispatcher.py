"""How a step is run, against a plain specification; and that the reason tells the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_vllm.compilation.capture_sizes import CaptureSizes
from mini_vllm.compilation.dispatcher import BatchDescriptor, CudagraphDispatcher, Dispatch
from mini_vllm.config.compilation import CUDAGraphMode
from mini_vllm.errors import InvariantError
from mini_vllm.invariants import check

NONE, PIECEWISE, FULL = CUDAGraphMode.NONE, CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL


def dispatcher(
    mode: CUDAGraphMode, sizes: tuple[int, ...], max_num_seqs: int = 64, query_len: int = 1
) -> CudagraphDispatcher:
    made = CudagraphDispatcher(CaptureSizes(sizes), max_num_seqs, query_len)
    made.initialize_cudagraph_keys(mode)
    return made


@st.composite
def dispatchers(draw) -> CudagraphDispatcher:
    query_len = draw(st.sampled_from((1, 1, 2, 3)))
    sizes = draw(st.sets(st.integers(1, 24), min_size=1, max_size=6))
    return dispatcher(
        draw(st.sampled_from(CUDAGraphMode)),
        tuple(sorted(size * query_len for size in sizes)),
        draw(st.integers(1, 30)),
        query_len,
    )


def specified(d: CudagraphDispatcher, num_tokens: int, uniform: bool, allowed) -> tuple:
    """The table of modes, read row by row; `num_reqs` where a full graph is taken."""
    eager = (NONE, num_tokens, None)
    sizes = [size for size in d.capture_sizes if size >= num_tokens]
    if d.cudagraph_mode is NONE or not sizes:
        return eager
    padded = min(sizes)
    name = d.cudagraph_mode.name
    if name.startswith("FULL_"):
        full_batch = d.max_num_seqs * d.uniform_decode_query_len
        if uniform and padded <= full_batch and FULL in allowed:
            return (FULL, padded, padded // d.uniform_decode_query_len)
    elif name == "FULL" and FULL in allowed:
        return (FULL, padded, min(padded, d.max_num_seqs))
    if "PIECEWISE" in name and PIECEWISE in allowed:
        return (PIECEWISE, padded, None)
    return eager


@given(
    dispatchers(),
    st.integers(1, 80),
    st.booleans(),
    st.sampled_from([(NONE, PIECEWISE, FULL), (NONE,), (NONE, PIECEWISE), (FULL,)]),
)
def test_against_the_specification(d, num_tokens, uniform, allowed) -> None:
    if uniform:
        num_tokens *= d.uniform_decode_query_len
    found = d.dispatch(num_tokens, uniform, allowed)
    shape = (found.mode, found.descriptor.num_tokens, found.descriptor.num_reqs)
    assert shape == specified(d, num_tokens, uniform, allowed)
    check(found)
    # The reason names the mode, the tokens and, for a graph, the size.
    assert found.reason.startswith(f"{num_tokens} token")
    assert found.reason.endswith("eager" if found.mode is NONE else str(found.mode))
    if found.mode is not NONE:
        assert f"captured {found.descriptor.num_tokens}," in found.reason


@given(dispatchers())
def test_what_is_found_was_captured(d) -> None:
    check(d)
    for _, descriptors in d.get_capture_descs():
        tokens = [one.num_tokens for one in descriptors]
        assert tokens == sorted(tokens, reverse=True)


@given(dispatchers())
def test_every_graph_that_is_captured_is_found_by_some_step(d) -> None:
    captured = {(mode, one) for mode, ones in d.get_capture_descs() for one in ones}
    query_len = d.uniform_decode_query_len
    found = {
        (one.mode, one.descriptor)
        for num_tokens in range(1, d.capture_sizes.largest + 1)
        for uniform in (False, True)
        if not (uniform and num_tokens % query_len)
        for one in [d.dispatch(num_tokens, uniform)]
    }
    assert captured <= found


@pytest.mark.parametrize(
    ("mode", "num_tokens", "uniform", "reason"),
    [
        ("FULL_AND_PIECEWISE", 37, True, "37 tokens, uniform decode of 37: captured 40, FULL"),
        ("FULL_AND_PIECEWISE", 1, True, "1 token, uniform decode of 1: captured 1, FULL"),
        (
            "FULL_AND_PIECEWISE",
            37,
            False,
            "37 tokens, a chunk among them: captured 40, PIECEWISE",
        ),
        (
            "FULL_AND_PIECEWISE",
            600,
            False,
            "600 tokens, a chunk among them: more than the largest captured size 512, eager",
        ),
        (
            "FULL_AND_PIECEWISE",
            58,
            True,
            "58 tokens, uniform decode of 58: padded to 64, above the 60 tokens of a full batch, "
            "so no full graph, captured 64, PIECEWISE",
        ),
        (
            "FULL_DECODE_ONLY",
            37,
            False,
            "37 tokens, a chunk among them: FULL_DECODE_ONLY has no other graph for it, eager",
        ),
        ("NONE", 5, True, "5 tokens, uniform decode of 5: there are no graphs, eager"),
    ],
)
def test_the_reason_in_words(mode, num_tokens, uniform, reason) -> None:
    d = dispatcher(CUDAGraphMode[mode], (1, 8, 40, 64, 512), max_num_seqs=60)
    assert str(d.dispatch(num_tokens, uniform)) == reason


def test_until_keys_are_written_every_step_is_eager() -> None:
    d = CudagraphDispatcher(CaptureSizes((8,)), 8)
    assert d.dispatch(8, True).mode is NONE
    assert d.get_capture_descs() == []
    d.initialize_cudagraph_keys(FULL)
    assert d.dispatch(8, True).descriptor == BatchDescriptor(8, 8, False)
    d.initialize_cudagraph_keys(NONE)
    assert d.dispatch(8, True).mode is NONE


def test_pieces_are_captured_before_full_graphs_and_large_before_small() -> None:
    order = dispatcher(CUDAGraphMode.FULL_AND_PIECEWISE, (1, 4, 8), 4).get_capture_descs()
    assert [(mode, [d.num_tokens for d in ds]) for mode, ds in order] == [
        (PIECEWISE, [8, 4, 1]),
        (FULL, [4, 1]),
    ]


def test_sizes_must_fit_a_decode_with_drafts() -> None:
    with pytest.raises(ValueError, match=r"\[4, 8\] are no multiples of 3 tokens"):
        dispatcher(CUDAGraphMode.FULL_DECODE_ONLY, (3, 4, 8), query_len=3)
    with pytest.raises(ValueError, match="FULL needs capture sizes"):
        CudagraphDispatcher(None, 8).initialize_cudagraph_keys(FULL)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (Dispatch(FULL, BatchDescriptor(4), 5, ""), "5 tokens in a graph of 4"),
        (Dispatch(NONE, BatchDescriptor(8), 5, ""), "an eager step of 5 tokens has 3 more"),
        (Dispatch(CUDAGraphMode.FULL_DECODE_ONLY, BatchDescriptor(5), 5, ""), "no way to run"),
    ],
)
def test_the_invariant_of_a_dispatch_bites(wrong: Dispatch, problem: str) -> None:
    with pytest.raises(InvariantError, match=problem):
        check(wrong)


def test_the_invariant_of_the_dispatcher_bites() -> None:
    d = dispatcher(PIECEWISE, (4,))
    d.get_capture_descs = list
    with pytest.raises(InvariantError, match="is not captured"):
        check(d)


def test_the_rules_need_no_torch() -> None:
    names = ("capture_sizes", "resolution", "dispatcher")
    lines = [f"import mini_vllm.compilation.{name}" for name in names]
    program = "; ".join([*lines, "import sys", "sys.exit('torch' in sys.modules)"])
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
