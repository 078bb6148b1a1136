"""The engine with graphs is the engine without: token for token, whatever happens to a batch.

Graphs are those of the stand-in: recorded operations on frozen addresses, strict as a device's,
and with results that do not survive a graph of another shape.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig  # noqa: E402
from mini_vllm.config.compilation import CompilationConfig  # noqa: E402
from mini_vllm.core.engine_core_request import EngineCoreRequest  # noqa: E402
from mini_vllm.engine.core import EngineCore  # noqa: E402
from mini_vllm.engine.executor import Executor  # noqa: E402
from mini_vllm.errors import ConfigError, GraphError  # noqa: E402
from mini_vllm.invariants import check  # noqa: E402
from mini_vllm.observe.audit import Audit  # noqa: E402
from mini_vllm.sampling_params import SamplingParams  # noqa: E402

CHECKPOINT = Path(__file__).parents[2] / "book" / "model" / "checkpoint"
SIZES = (1, 3, 5, 8, 12)
#: Prompts of several lengths; the third begins as the second does, for the prefix cache.
PROMPTS = [[5, 9, 33], [*range(40, 60)], [*range(40, 57), 7, 8], [100, 101], [3] * 9]
#: Of several lengths, so that a batch shrinks by one at a time.
PARAMS = [SamplingParams(temperature=0.0, max_tokens=n, ignore_eos=True) for n in (10, 9, 7, 12, 8)]
BATCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "chunks": {"max_num_batched_tokens": 12},
    "no prefix cache": {"max_num_batched_tokens": 16, "enable_prefix_caching": False},
    "preemption": {"num_gpu_blocks": 13, "max_model_len": 44},
    "few seats": {"max_num_seqs": 3},
}


def engine(compilation: dict[str, Any] | None, backend: str, **settings: Any) -> EngineCore:
    settings = {"max_num_seqs": 5, "max_num_batched_tokens": 64, **settings}
    model = ModelConfig.from_checkpoint(
        CHECKPOINT, dtype="float32", max_model_len=settings.pop("max_model_len", 64)
    )
    cache = CacheConfig(
        block_size=4,
        num_gpu_blocks=settings.pop("num_gpu_blocks", 100),
        enable_prefix_caching=settings.pop("enable_prefix_caching", True),
    )
    config = EngineConfig(
        model_config=model,
        scheduler_config=SchedulerConfig(max_model_len=model.max_model_len, **settings),
        cache_config=cache,
        device="cpu",
        attention_backend=backend,
        compilation_config=CompilationConfig.from_value(compilation),
    )
    return EngineCore(config, Executor(config))


def answers(core: EngineCore) -> tuple[list[list[int]], int]:
    """What each prompt was answered with, and how many preemptions there were."""
    tokens: list[list[int]] = [[] for _ in PROMPTS]
    for i, prompt in enumerate(PROMPTS):
        core.add_request(EngineCoreRequest(str(i), list(prompt), PARAMS[i].clone(), float(i)))
    with Audit(core) as audit:
        while core.scheduler.has_requests():
            for news in core.step():
                tokens[int(news.request_id)] += news.new_token_ids
    # The probe has seen how each step was run, and why.
    assert len(audit.dispatches) == len(audit.records)
    for record, dispatch in zip(audit.records, audit.dispatches, strict=True):
        if runner(core) is None or not record.total_num_scheduled_tokens:
            assert dispatch is None
        else:
            check(dispatch)
            assert dispatch.num_tokens == record.total_num_scheduled_tokens
            assert dispatch.reason.startswith(f"{dispatch.num_tokens} token")
    return tokens, sum(len(record.preempted_req_ids) for record in audit.records)


def runner(core: EngineCore) -> Any:
    return core.executor.model_runner.graph_runner


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def eager() -> dict[str, list[list[int]]]:
    """The answers of the reference, without graphs, for each kind of batch."""
    found = {}
    for name, settings in BATCHES.items():
        found[name], preemptions = answers(engine(None, "torch_reference", **settings))
        assert bool(preemptions) == (name == "preemption")
    # The way in which a batch is cut changes nothing.
    assert all(one == found["plain"] for one in found.values())
    return found


def stand_in(mode: str, **settings: Any) -> dict[str, Any]:
    sizes = settings.pop("sizes", SIZES)
    return {
        "cudagraph_mode": mode,
        "cudagraph_stand_in": True,
        "cudagraph_capture_sizes": list(sizes),
        **settings,
    }


#: Mode, backend, and the ways in which steps must then have been run.
MODES = [
    ("PIECEWISE", "torch_reference", {"PIECEWISE"}),
    ("FULL", "torch_static", {"FULL"}),
    ("FULL_DECODE_ONLY", "torch_static", {"FULL", "NONE"}),
    ("FULL_AND_PIECEWISE", "torch_static", {"FULL", "PIECEWISE"}),
    ("FULL_AND_PIECEWISE", "torch_reference", {"PIECEWISE"}),
]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("mode", "backend", "ways"), MODES)
def test_the_same_tokens(mode, backend, ways, batch, eager) -> None:
    core = engine(stand_in(mode), backend, **BATCHES[batch])
    graphs = runner(core)
    check(graphs.dispatcher, graphs.dispatcher.capture_sizes)
    found, _ = answers(core)
    assert found == eager[batch]
    # A step with more tokens than the largest size is eager whatever the mode.
    assert set(graphs.stats.num_steps) <= ways | {"NONE"}
    if batch == "chunks":
        assert set(graphs.stats.num_steps) == ways
    assert graphs.stats.num_replays > 0
    assert graphs.stats.num_padding > 0
    captures = {mode: len(ones) for mode, ones in graphs.dispatcher.get_capture_descs()}
    pieces = graphs.pieces.num_pieces
    expected = sum(n * (pieces if m.name == "PIECEWISE" else 1) for m, n in captures.items())
    assert graphs.stats.num_captures == expected


def test_compiled_pieces_in_graphs(eager) -> None:
    r"""Chunks and decodes mixed, some steps too large for any graph: the same tokens.

    Takes seconds, since it traces six functions. `aot_eager` traces each twice, and is held to the
    same on one small piece, in `test_recorded_pieces.py`.
    """
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    compilation = stand_in("FULL_AND_PIECEWISE", backend="eager", sizes=(5, 8))
    core = engine(compilation | {"mode": "VLLM_COMPILE"}, "torch_static", **BATCHES["chunks"])
    graphs = runner(core)
    made = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    # Three kinds of pieces, and two shapes of each: nothing was compiled for a capture.
    assert (graphs.compiler.num_kinds, made) == (3, 6)
    # The recorder saw what the compiled pieces do: products, and not one call of something.
    recorded = [one for graphs_ in graphs.maker.graphs.values() for one in graphs_]
    assert all("aten.mm" in one.listing() for one in recorded)
    assert answers(core)[0] == eager["chunks"]
    assert set(graphs.stats.num_steps) == {"NONE", "PIECEWISE", "FULL"}
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == made


def test_capture_leaves_the_cache_as_it_was() -> None:
    core = engine(stand_in("FULL_AND_PIECEWISE"), "torch_static")
    assert all(cache.count_nonzero() == 0 for cache in core.executor.model_runner.kv_caches)
    stats = runner(core).stats
    assert stats.num_bytes > 0
    assert stats.capture_seconds > 0
    assert stats.num_replays == 0


def test_inputs_that_lie_elsewhere_are_refused_or_copied() -> None:
    """A runner that hands its graphs fresh tensors, as nobody should."""
    for copies in (False, True):
        core = engine(stand_in("PIECEWISE", cudagraph_copy_inputs=copies), "torch_reference")
        graphs = runner(core)
        load = graphs.buffers.load
        graphs.buffers.load = lambda *args, load=load: tuple(one.clone() for one in load(*args))
        if copies:
            found, _ = answers(core)
            assert found == answers(engine(None, "torch_reference"))[0]
        else:
            with pytest.raises(
                GraphError, match="before layer 0's attention: input 0 was captured"
            ):
                answers(core)


def test_a_graph_is_frozen_in_its_weights_too() -> None:
    """Other weights at another address are not seen; other numbers at the same one are."""
    core = engine(stand_in("FULL"), "torch_static", max_num_batched_tokens=12)
    model = core.executor.model_runner.model
    expected, _ = answers(core)
    core.reset_prefix_cache()
    norm = model.model.norm
    norm.weight = torch.nn.Parameter(torch.zeros_like(norm.weight), requires_grad=False)
    assert answers(core)[0] == expected


def test_without_a_device_graphs_must_be_asked_for_in_words() -> None:
    with pytest.raises(ConfigError, match="PIECEWISE needs a CUDA device, and this is cpu; cudagr"):
        engine({"cudagraph_mode": "PIECEWISE"}, "torch_reference")


def test_a_backend_that_no_graph_can_hold_has_no_full_graphs() -> None:
    with pytest.raises(
        ConfigError, match="attention backend torch_reference can be captured in no"
    ):
        engine(stand_in("FULL"), "torch_reference")
    graphs = runner(engine(stand_in("FULL_AND_PIECEWISE"), "torch_reference"))
    assert graphs.resolved.mode.name == "PIECEWISE"
    assert "torch_reference can be captured in no graph" in str(graphs.resolved)


def test_eager_builds_nothing_of_this() -> None:
    assert runner(engine(None, "torch_reference")) is None


@pytest.mark.parametrize("mode", ["FULL", "PIECEWISE"])
def test_what_padding_holds_does_not_matter(mode, eager) -> None:
    """Rows that are nobody's may hold anything, even what is no number."""
    core = engine(stand_in(mode, sizes=(8, 12)), "torch_static")
    graphs = runner(core)
    load = graphs.buffers.load

    def with_rubbish(token_ids, positions, num_padded):
        padded = load(token_ids, positions, num_padded)
        padded[0][len(token_ids) :] = 4000
        padded[1][len(token_ids) :] = 63
        graphs.pieces.attended.fill_(float("nan"))
        return padded

    graphs.buffers.load = with_rubbish
    assert answers(core)[0] == eager["plain"]


def test_every_request_alone_and_all_sizes() -> None:
    """One size that fits nothing but single decodes, and one that fits all."""
    for sizes in itertools.chain([(1,)], [(64,)]):
        core = engine(stand_in("FULL_AND_PIECEWISE", sizes=sizes), "torch_static")
        assert answers(core)[0] == answers(engine(None, "torch_reference"))[0]
        assert runner(core).stats.num_steps["NONE"] == 0 or sizes == (1,)
