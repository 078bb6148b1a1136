"""The pinned dispatcher, ladder of sizes and resolution of modes beside ours, decision by decision.

The pinned code is imported from the tree, as for the scheduler, and runs without a device: what
it decides is arithmetic. Needs what `requirements.txt` lists (`nox -s differential_sample`).
"""

from __future__ import annotations

import random
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from mini_vllm.compilation.capture_sizes import CaptureSizes
from mini_vllm.compilation.dispatcher import RUNTIME_MODES, CudagraphDispatcher
from mini_vllm.compilation.resolution import resolve_cudagraph_mode
from mini_vllm.config import SchedulerConfig
from mini_vllm.config.compilation import CompilationConfig, CUDAGraphMode
from mini_vllm.errors import ConfigError
from upstream_anchors import importing
from upstream_anchors.tree import DEFAULT_TREE

pytestmark = [
    pytest.mark.skipif(importing.why_not() is not None, reason=str(importing.why_not())),
]


@pytest.fixture(scope="module")
def pinned() -> SimpleNamespace:
    """The parts of the pinned tree that decide about graphs."""
    importing.use_the_pinned_tree()
    from vllm import config
    from vllm.config import compilation
    from vllm.v1 import cudagraph_dispatcher
    from vllm.v1.attention import backend

    return SimpleNamespace(
        CompilationConfig=config.CompilationConfig,
        VllmConfig=config.VllmConfig,
        PinnedMode=config.CUDAGraphMode,
        CompilationMode=compilation.CompilationMode,
        CudagraphDispatcher=cudagraph_dispatcher.CudagraphDispatcher,
        AttentionCGSupport=backend.AttentionCGSupport,
    )


def pinned_config(pinned: Any, mode: str, sizes: tuple[int, ...] | None) -> Any:
    config = pinned.CompilationConfig(mode=pinned.CompilationMode.VLLM_COMPILE)
    config.cudagraph_mode = pinned.PinnedMode[mode]
    config.set_splitting_ops_for_v1(all2all_backend="naive")
    if sizes is not None:
        config.cudagraph_capture_sizes = list(sizes)
        config.max_cudagraph_capture_size = sizes[-1]
    return config


def test_it_is_the_pinned_one(pinned) -> None:
    import inspect

    assert inspect.getfile(pinned.CudagraphDispatcher).startswith(str(DEFAULT_TREE))


@pytest.mark.parametrize("query_len", [1, 3])
@pytest.mark.parametrize("mode", CUDAGraphMode.__members__)
def test_both_dispatch_alike(pinned, mode: str, query_len: int) -> None:
    draw, graphs = random.Random(f"{mode}{query_len}"), 0
    for _ in range(60):
        multiples = draw.sample(range(1, 40), draw.randint(1, 8))
        sizes = tuple(sorted(one * query_len for one in multiples))
        max_num_seqs = draw.randint(1, 48)
        drafts = SimpleNamespace(num_speculative_tokens=query_len - 1) if query_len > 1 else None
        theirs = pinned.CudagraphDispatcher(
            SimpleNamespace(
                compilation_config=pinned_config(pinned, mode, sizes),
                speculative_config=drafts,
                lora_config=None,
                scheduler_config=SimpleNamespace(max_num_seqs=max_num_seqs),
            )
        )
        theirs.initialize_cudagraph_keys(pinned.PinnedMode[mode], query_len)
        ours = CudagraphDispatcher(CaptureSizes(sizes), max_num_seqs, query_len)
        ours.initialize_cudagraph_keys(CUDAGraphMode[mode])

        assert [(one.name, list(map(shape, ds))) for one, ds in ours.get_capture_descs()] == [
            (one.name, list(map(shape, ds))) for one, ds in theirs.get_capture_descs()
        ]
        for num_tokens in range(1, sizes[-1] + 3):
            for uniform in (False, True)[: 1 if num_tokens % query_len else 2]:
                for forbidden in (set(), {"FULL"}, {"FULL", "PIECEWISE"}):
                    allowed = {one for one in RUNTIME_MODES if one.name not in forbidden}
                    found = ours.dispatch(num_tokens, uniform, allowed)
                    their_mode, descriptor = theirs.dispatch(
                        num_tokens,
                        uniform,
                        valid_modes={pinned.PinnedMode[one.name] for one in allowed},
                    )
                    assert (found.mode.name, shape(found.descriptor)) == (
                        their_mode.name,
                        shape(descriptor),
                    ), (sizes, max_num_seqs, num_tokens, uniform, forbidden)
                    graphs += found.mode is not CUDAGraphMode.NONE
    assert graphs > 500 or mode == "NONE"


def shape(descriptor: Any) -> tuple[int, int | None, bool]:
    return descriptor.num_tokens, descriptor.num_reqs, descriptor.uniform


def test_both_capture_the_same_sizes(pinned) -> None:
    draw = random.Random(5)
    for _ in range(400):
        max_num_seqs = draw.choice((1, 2, 3, 8, 60, 64, 100, 256, 1000))
        budget = max(max_num_seqs, draw.choice((1, 4, 7, 100, 300, 512, 2048, 8192)))
        largest = draw.choice((None, None, 1, 5, 16, 33, 200, 256, 300, 600))
        if largest is not None and largest > budget:
            continue  # ours refuses, upstream cuts
        theirs = pinned_config(pinned, "FULL", None)
        theirs.max_cudagraph_capture_size = largest
        config = SimpleNamespace(
            model_config=SimpleNamespace(enforce_eager=False),
            compilation_config=theirs,
            speculative_config=None,
            scheduler_config=SimpleNamespace(
                max_num_seqs=max_num_seqs, max_num_batched_tokens=budget
            ),
            performance_mode="balanced",
            parallel_config=SimpleNamespace(tensor_parallel_size=1),
        )
        pinned.VllmConfig._set_cudagraph_sizes(config)
        ours = CaptureSizes.of(
            CompilationConfig(
                cudagraph_mode=CUDAGraphMode.FULL, max_cudagraph_capture_size=largest
            ),
            SchedulerConfig(
                max_model_len=64, max_num_seqs=max_num_seqs, max_num_batched_tokens=budget
            ),
        )
        assert list(ours) == theirs.cudagraph_capture_sizes, (max_num_seqs, budget, largest)


@pytest.mark.parametrize("query_len", [1, 4])
@pytest.mark.parametrize("mode", CUDAGraphMode.__members__)
@pytest.mark.parametrize(
    "support", ["NEVER", "UNIFORM_SINGLE_TOKEN_DECODE", "UNIFORM_BATCH", "ALWAYS"]
)
def test_both_lower_a_mode_alike(pinned, mode: str, support: str, query_len: int) -> None:
    """With pieces on both sides: upstream's come out of the compiler."""
    theirs = pinned_config(pinned, mode, (query_len, 8 * query_len))
    their_support = pinned.AttentionCGSupport[support]

    def ours() -> str:
        made = resolve_cudagraph_mode(CUDAGraphMode[mode], their_support, "b", query_len)
        return made.mode.name

    try:
        lowered = theirs.resolve_cudagraph_mode_and_sizes(their_support, "b", query_len)
    except ValueError:
        with pytest.raises(ConfigError):
            ours()
    else:
        assert ours() == lowered.name


def test_the_fields_are_theirs(pinned) -> None:
    """What ours has beside upstream's fields is the stand-in, which upstream has no use for."""
    theirs = set(pinned.CompilationConfig.__dataclass_fields__)
    assert set(asdict(CompilationConfig())) - theirs == {"cudagraph_stand_in"}
