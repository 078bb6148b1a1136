r"""What happens to a step before the model sees it?

If nothing is compiled or captured, nothing, and this module is not loaded. Otherwise the step
passes through here: it is dispatched, padded, and run in one of three ways.

```{listing} mini_vllm.worker.graph_runner.GraphRunner.__call__
```

**Eager**: the model as it is, or its compiled pieces. **Piecewise**: tokens and positions are
written to where the pieces read them, and the pieces are replayed. Attention is called in between
with the step's own metadata, for the real rows only. **Full**: what attention must know is written
to its own buffers as well, padded, and one replay does it all.

Whichever way, the caller gets the same: a hidden state for each request's last token. Rows that are
nobody's are dropped here, and nobody else learns that there were any.

## At start

{py:meth}`GraphRunner.capture_model` goes through the dispatcher's list, pieces before full graphs
and large before small. Each shape is run as often as `cudagraph_num_of_warmups` says, on tokens
that are stored nowhere, and then captured. From then on a shape that was not captured is an error
and not an occasion: a capture in the middle of a request would stop everybody for its length.
Upstream: {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.capture_model`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder
from mini_vllm.compilation.capture_sizes import CaptureSizes
from mini_vllm.compilation.compiler import PieceCompiler
from mini_vllm.compilation.dispatcher import BatchDescriptor, CudagraphDispatcher, Dispatch
from mini_vllm.compilation.graph_wrapper import CUDAGraphWrapper, GraphMaker, StepContext
from mini_vllm.compilation.piecewise import Piece, PiecewiseModel
from mini_vllm.compilation.resolution import resolve_cudagraph_mode
from mini_vllm.config import EngineConfig
from mini_vllm.config.compilation import CompilationMode, CUDAGraphMode
from mini_vllm.core.stats import CUDAGraphStat
from mini_vllm.errors import ConfigError
from mini_vllm.models.decoder import DecoderForCausalLM
from mini_vllm.worker.input_buffers import InputBuffers

NONE, PIECEWISE, FULL = CUDAGraphMode.NONE, CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL


@dataclass
class GraphStats:
    r"""What graphs have done since the start; counts only ever grow.

    `num_steps` by mode; `num_tokens` and `num_padding` are rows of steps that ran as graphs. A
    piecewise step has as many `num_replays` as the model has pieces. `num_bytes` is the memory that
    all graphs keep, `capture_seconds` and `compile_seconds` what start-up took. Upstream counts
    {up}`a step's padding <vllm/compilation/cuda_graph.py#CUDAGraphStat>` when asked to.
    """

    num_steps: Counter[str] = field(default_factory=Counter)
    num_tokens: int = 0
    num_padding: int = 0
    num_captures: int = 0
    num_replays: int = 0
    num_bytes: int = 0
    capture_seconds: float = 0.0
    compile_seconds: float = 0.0

    @property
    def waste(self) -> float:
        """Of all rows that graphs computed, the share that was padding."""
        rows = self.num_tokens + self.num_padding
        return self.num_padding / rows if rows else 0.0


class GraphRunner:
    r"""Runs steps of `model` as graphs, as compiled pieces, or as they come.

    `resolved` is the mode that there is, with the reasons if it is not what was asked for;
    `last_dispatch` how the last step was run, and why; `stats` what has been done so far. `builder`
    makes of a step's metadata what the attention backend wants. Holds no state of any request.

    Raises {py:class}`~mini_vllm.errors.ConfigError` where the device has no graphs and no stand-in
    was asked for.
    """

    def __init__(
        self,
        model: DecoderForCausalLM,
        config: EngineConfig,
        device: torch.device,
        builder: AttentionMetadataBuilder,
    ) -> None:
        compilation, scheduler = config.compilation_config, config.scheduler_config
        attention: Any = model.model.layers[0].self_attn
        self.model, self.config, self.builder = model, config, builder
        self.resolved = resolve_cudagraph_mode(
            compilation.cudagraph_mode, builder.cudagraph_support, attention.backend.name
        )
        sizes = None
        if self.resolved.mode is not NONE:
            sizes = CaptureSizes.of(compilation, scheduler)
        self.dispatcher = CudagraphDispatcher(sizes, scheduler.max_num_seqs)
        self.dispatcher.initialize_cudagraph_keys(self.resolved.mode)
        self.maker = _graph_maker(config, device) if sizes else None
        self.context, self.stats = StepContext(), GraphStats()
        self.last_dispatch: Dispatch | None = None

        self.compiler: PieceCompiler | None = None
        if compilation.mode is CompilationMode.VLLM_COMPILE:
            self.compiler = PieceCompiler(config, str(device))
        most = sizes.largest if sizes else 1
        max_blocks = -(-scheduler.max_model_len // config.cache_config.block_size)
        self.buffers = InputBuffers(
            most, min(most, scheduler.max_num_seqs), max_blocks, scheduler.max_model_len, device
        )
        weight = attention.qkv_proj.weight
        attended = weight.new_zeros((most, attention.num_heads * attention.head_size))
        # Three ways through the same layers: as they come, piece by piece, and in one.
        self.plain = PiecewiseModel(model.model, self._compiled)
        self.pieces = PiecewiseModel(model.model, self._captured, attended)
        self.whole = self._wrapper("the whole model", self.plain, FULL)

    def __call__(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        common: AttentionMetadata,
    ) -> torch.Tensor:
        r"""Hidden states of each request's last token, `[num_reqs, hidden_size]`.

        `common` is the step's metadata before any builder has seen it.
        """
        # Every request of a step has a token; if none has two, all have one.
        dispatch = self.dispatcher.dispatch(len(token_ids), common.max_query_len == 1)
        if dispatch.mode is NONE:
            self._set_context(dispatch)
            hidden = self._eager(token_ids, positions, kv_caches, common)
        else:
            padded = self.buffers.load(token_ids, positions, dispatch.descriptor.num_tokens)
            hidden = self._replay(dispatch, *padded, kv_caches, common)[common.last_tokens]
        self._count(dispatch)
        return hidden

    def capture_model(self, kv_caches: Sequence[torch.Tensor]) -> None:
        r"""Compile, and capture every graph that the dispatcher may ask for.

        Runs the model on tokens that are stored nowhere: the caches are as they were.
        """
        if self.compiler is not None:
            began = time.perf_counter()
            with torch.no_grad():
                for num_rows in self.compiler.warm_up_rows:
                    self._run_nobodys(NONE, BatchDescriptor(num_rows), kv_caches)
            self.stats.compile_seconds = time.perf_counter() - began
        if self.maker is None:
            return
        began = time.perf_counter()
        num_warmups = self.config.compilation_config.cudagraph_num_of_warmups
        self.context.may_capture = True
        with torch.no_grad(), self.maker.capturing():
            for mode, descriptors in self.dispatcher.get_capture_descs():
                for descriptor in descriptors:
                    with self.maker.warming_up():
                        for _ in range(num_warmups):
                            self._run_nobodys(NONE, descriptor, kv_caches)
                    self._run_nobodys(mode, descriptor, kv_caches)
        self.context.may_capture = False
        self.stats.capture_seconds = time.perf_counter() - began
        self.stats.num_captures = self.context.num_captures
        self.stats.num_bytes = self.maker.num_bytes

    # ------------------------------------------------------------------ one step

    def _replay(
        self,
        dispatch: Dispatch,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        common: AttentionMetadata,
    ) -> torch.Tensor:
        """Every row's hidden state, from a graph or from pieces that are graphs."""
        self._set_context(dispatch)
        if dispatch.mode is PIECEWISE:
            metadata = self.builder.build(common)
            return self.pieces(token_ids, positions, kv_caches, metadata, dispatch.num_tokens)
        metadata = self.builder.build(self._padded(common, dispatch.descriptor))
        return self.whole(token_ids, positions, kv_caches, metadata)

    def _eager(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        common: AttentionMetadata,
    ) -> torch.Tensor:
        metadata = self.builder.build(common)
        if self.compiler is None:
            return self.model(token_ids, positions, kv_caches, metadata)
        return self.plain(token_ids, positions, kv_caches, metadata)[common.last_tokens]

    def _padded(self, common: AttentionMetadata, descriptor: BatchDescriptor) -> AttentionMetadata:
        num_tokens, num_reqs = descriptor.num_tokens, descriptor.num_reqs or 0
        # A graph of decodes has one query a request; another must expect a chunk of any length.
        max_query_len = 1 if descriptor.uniform else num_tokens
        return self.buffers.load_metadata(common, num_tokens, num_reqs, max_query_len)

    @property
    def last_stat(self) -> CUDAGraphStat | None:
        """How the last step was run, as whoever watches the engine is told."""
        if (last := self.last_dispatch) is None:
            return None
        padded = last.descriptor.num_tokens
        return CUDAGraphStat(last.num_tokens, padded, last.num_padding, last.mode.name)

    def _set_context(self, dispatch: Dispatch) -> None:
        self.context.mode, self.context.descriptor = dispatch.mode, dispatch.descriptor

    def _count(self, dispatch: Dispatch) -> None:
        self.last_dispatch, stats = dispatch, self.stats
        stats.num_steps[dispatch.mode.name] += 1
        if dispatch.mode is not NONE:
            stats.num_tokens += dispatch.num_tokens
            stats.num_padding += dispatch.num_padding
            stats.num_replays = self.context.num_replays

    # ------------------------------------------------------------------ at start

    def _run_nobodys(
        self, mode: CUDAGraphMode, descriptor: BatchDescriptor, kv_caches: Sequence[torch.Tensor]
    ) -> None:
        """Run a step of this shape whose tokens belong to nobody and are stored nowhere."""
        num_tokens, device = descriptor.num_tokens, self.buffers.token_ids.device
        self.context.mode, self.context.descriptor = mode, descriptor
        if descriptor.num_reqs is None:
            # Pieces never see attention, and need none.
            model = self.pieces if self.maker is not None else self.plain
            ids = torch.zeros(num_tokens, dtype=torch.int32, device=device)
            inputs = (ids, ids.long())
            if mode is PIECEWISE:
                inputs = self.buffers.load(*inputs, num_tokens)
            model(*inputs, kv_caches, None)
            return
        common = _nobodys_step(num_tokens, descriptor.num_reqs, self.buffers.max_model_len, device)
        inputs = self.buffers.load(common.slot_mapping * 0, common.slot_mapping * 0, num_tokens)
        shared = self._padded(common, descriptor)
        self.whole(*inputs, kv_caches, self.builder.build_for_cudagraph_capture(shared))

    def _compiled(self, name: str, piece: Piece) -> Piece:
        return piece if self.compiler is None else self.compiler(name, piece)

    def _captured(self, name: str, piece: Piece) -> Piece:
        return self._wrapper(name, self._compiled(name, piece), PIECEWISE)

    def _wrapper(self, name: str, runnable: Piece, mode: CUDAGraphMode) -> Piece:
        if self.maker is None:
            return runnable
        copy_inputs = self.config.compilation_config.cudagraph_copy_inputs
        return CUDAGraphWrapper(
            runnable, mode, self.context, self.maker, name=name, copy_inputs=copy_inputs
        )


def _graph_maker(config: EngineConfig, device: torch.device) -> GraphMaker:
    if config.compilation_config.cudagraph_stand_in:
        from mini_vllm.compilation.recorded_graph import RecordedGraphs

        return RecordedGraphs()
    if device.type != "cuda":
        raise ConfigError(
            f"cudagraph_mode={config.compilation_config.cudagraph_mode} needs a CUDA device, and "
            f"this is {device.type}; cudagraph_stand_in=True records and replays without one"
        )
    if (num_warmups := config.compilation_config.cudagraph_num_of_warmups) < 1:
        raise ConfigError(
            f"cudagraph_num_of_warmups={num_warmups}: a device must have run each shape at least "
            "once before it is captured, since kernels are compiled and loaded in that run"
        )
    from mini_vllm.compilation.cuda_graph import DeviceGraphs

    return DeviceGraphs(device)


def _nobodys_step(
    num_tokens: int, num_reqs: int, max_model_len: int, device: torch.device
) -> AttentionMetadata:
    """As many tokens as asked for, dealt out to as many requests; none has a slot or a past."""
    starts = torch.arange(num_reqs + 1, dtype=torch.int32, device=device) * num_tokens // num_reqs
    return AttentionMetadata(
        query_start_loc=starts,
        seq_lens=starts.diff().clamp(max=max_model_len),
        block_table=torch.zeros((num_reqs, 1), dtype=torch.int32, device=device),
        slot_mapping=torch.full((num_tokens,), -1, dtype=torch.int64, device=device),
        max_query_len=-(-num_tokens // num_reqs),
        max_seq_len=max_model_len,
        num_actual_tokens=num_tokens,
    )
