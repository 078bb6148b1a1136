r"""How long a function is, ours and upstream's: definitions from first to last line.

Docstrings, comments and blank lines count on both sides. Upstream's numbers come from the lock of
the anchors, so they are there without the tree; a pair that no page anchors yet is looked up.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from book._ext.weave.source import code_without_docstrings, locate
from book.quantities.registry import quantity
from upstream_anchors.lock import Lock
from upstream_anchors.pin import the_pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import need_tree

_ROOT = Path(__file__).parents[2]
_SCHEDULER = "vllm/v1/core/sched/scheduler.py#Scheduler"

#: Name of the pair: ours, and what does the same upstream.
PAIRS: dict[str, tuple[str, str]] = {
    "step": ("mini_vllm.engine.core.EngineCore.step", "vllm/v1/engine/core.py#EngineCore.step"),
    "front-end-step": (
        "mini_vllm.engine.llm_engine.LLMEngine.step",
        "vllm/v1/engine/llm_engine.py#LLMEngine.step",
    ),
    "inputs": (
        "mini_vllm.engine.input_processor.InputProcessor.process_inputs",
        "vllm/v1/engine/input_processor.py#InputProcessor.process_inputs",
    ),
    "request": ("mini_vllm.core.request.Request", "vllm/v1/request.py#Request"),
    "update": (
        "mini_vllm.core.scheduler.Scheduler.update_from_output",
        f"{_SCHEDULER}.update_from_output",
    ),
    "scheduler": ("mini_vllm.core.scheduler.Scheduler", _SCHEDULER),
    "stop": ("mini_vllm.core.stopping.check_stop", "vllm/v1/core/sched/utils.py#check_stop"),
    "outputs": (
        "mini_vllm.engine.output_processor.OutputProcessor.process_outputs",
        "vllm/v1/engine/output_processor.py#OutputProcessor.process_outputs",
    ),
}

_POOL = "vllm/v1/core/block_pool.py#BlockPool"
_MANAGER = "vllm/v1/core/kv_cache_manager.py#KVCacheManager"

#: The same, for phase 02.
PAIRS_02: dict[str, tuple[str, str]] = {
    "block": (
        "mini_vllm.core.free_block_queue.KVCacheBlock",
        "vllm/v1/core/kv_cache_utils.py#KVCacheBlock",
    ),
    "queue": (
        "mini_vllm.core.free_block_queue.FreeBlockQueue",
        "vllm/v1/core/kv_cache_utils.py#FreeKVCacheBlockQueue",
    ),
    "names": (
        "mini_vllm.core.block_pool.BlockHashToBlockMap",
        "vllm/v1/core/block_pool.py#BlockHashToBlockMap",
    ),
    "pool": ("mini_vllm.core.block_pool.BlockPool", _POOL),
    "manager": ("mini_vllm.core.kv_cache_manager.KVCacheManager", _MANAGER),
    "lookup": (
        "mini_vllm.core.kv_cache_manager.KVCacheManager.get_computed_blocks",
        f"{_MANAGER}.get_computed_blocks",
    ),
    "allocate": (
        "mini_vllm.core.kv_cache_manager.KVCacheManager.allocate_slots",
        f"{_MANAGER}.allocate_slots",
    ),
    "table": (
        "mini_vllm.worker.block_table.BlockTable",
        "vllm/v1/worker/block_table.py#BlockTable",
    ),
}

_OURS = "mini_vllm.core.scheduler.Scheduler"
_QUEUES = "vllm/v1/core/sched/request_queue.py"

#: And for phase 03; where several definitions of ours do the work of one, all of them.
PAIRS_03: dict[str, tuple[tuple[str, ...], str]] = {
    "schedule": (
        tuple(
            f"{_OURS}.{name}"
            for name in ("schedule", "_schedule_running", "_schedule_waiting", "_preempt_one")
        ),
        f"{_SCHEDULER}.schedule",
    ),
    "preempt": ((f"{_OURS}._preempt_one",), f"{_SCHEDULER}._preempt_request"),
    "orders": ((f"{_OURS}._make_output",), f"{_SCHEDULER}._make_cached_request_data"),
    "update": ((f"{_OURS}.update_from_output",), f"{_SCHEDULER}.update_from_output"),
    "finish": ((f"{_OURS}.finish_requests",), f"{_SCHEDULER}.finish_requests"),
    "fcfs": (("mini_vllm.core.request_queue.FCFSRequestQueue",), f"{_QUEUES}#FCFSRequestQueue"),
    "priority": (
        ("mini_vllm.core.request_queue.PriorityRequestQueue",),
        f"{_QUEUES}#PriorityRequestQueue",
    ),
}

_GRAPHS = "mini_vllm.compilation"

#: And for phase 05.
PAIRS_05: dict[str, tuple[tuple[str, ...], str]] = {
    "sizes": (
        tuple(
            f"{_GRAPHS}.capture_sizes.{name}"
            for name in ("default_capture_sizes", "CaptureSizes.of")
        ),
        "vllm/config/vllm.py#VllmConfig._set_cudagraph_sizes",
    ),
    "resolve": (
        (f"{_GRAPHS}.resolution.resolve_cudagraph_mode",),
        "vllm/config/compilation.py#CompilationConfig.resolve_cudagraph_mode_and_sizes",
    ),
    "dispatcher": (
        (f"{_GRAPHS}.dispatcher.CudagraphDispatcher",),
        "vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher",
    ),
    "wrapper": (
        (f"{_GRAPHS}.graph_wrapper.CUDAGraphWrapper",),
        "vllm/compilation/cuda_graph.py#CUDAGraphWrapper",
    ),
    "capture": (
        ("mini_vllm.worker.graph_runner.GraphRunner.capture_model",),
        "vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.capture_model",
    ),
    "pieces": (
        (f"{_GRAPHS}.piecewise.PiecewiseModel",),
        "vllm/compilation/backends.py#split_graph",
    ),
}

_LLAMA = "vllm/model_executor/models/llama.py"
_SAMPLER = "vllm/v1/sample"

#: And for phase 00.
PAIRS_00: dict[str, tuple[tuple[str, ...], str]] = {
    "layer": (
        ("mini_vllm.models.decoder.DecoderLayer.forward",),
        f"{_LLAMA}#LlamaDecoderLayer.forward",
    ),
    "stack": (("mini_vllm.models.decoder.DecoderModel.forward",), f"{_LLAMA}#LlamaModel.forward"),
    "attention": (("mini_vllm.layers.attention.Attention",), f"{_LLAMA}#LlamaAttention"),
    "mlp": (("mini_vllm.layers.mlp.GatedMLP",), f"{_LLAMA}#LlamaMLP"),
    "load": (("mini_vllm.loader.load_weights",), f"{_LLAMA}#LlamaModel.load_weights"),
    "sampler": (("mini_vllm.sample.sampler.Sampler",), f"{_SAMPLER}/sampler.py#Sampler"),
    "race": (
        (
            "mini_vllm.sample.sampler.Sampler._waits",
            "mini_vllm.sample.kernels.TorchSamplingKernels.race",
        ),
        f"{_SAMPLER}/ops/topk_topp_sampler.py#random_sample",
    ),
    "filters": (
        ("mini_vllm.sample.top_k_top_p.apply_top_k_top_p",),
        f"{_SAMPLER}/ops/topk_topp_sampler.py#apply_top_k_top_p_pytorch",
    ),
}

_ATTENTION = "vllm/v1/attention"
_KERNELS = "mini_vllm.kernels.triton"

#: And for phase 04.
PAIRS_04: dict[str, tuple[str, str]] = {
    "kernel": (
        f"{_KERNELS}.unified_attention.unified_attention_kernel",
        f"{_ATTENTION}/ops/triton_unified_attention.py#kernel_unified_attention",
    ),
    "launch": (
        f"{_KERNELS}.unified_attention.unified_attention",
        f"{_ATTENTION}/ops/triton_unified_attention.py#unified_attention",
    ),
    "reduce": (
        f"{_KERNELS}.reduce_segments.reduce_segments_kernel",
        f"{_ATTENTION}/ops/triton_unified_attention.py#reduce_segments",
    ),
    "backend": (
        "mini_vllm.attention.backend.AttentionBackend",
        f"{_ATTENTION}/backend.py#AttentionBackend",
    ),
    "validate": (
        "mini_vllm.attention.backend.AttentionBackend.validate_configuration",
        f"{_ATTENTION}/backend.py#AttentionBackend.validate_configuration",
    ),
    "metadata": (
        "mini_vllm.attention.metadata.AttentionMetadata",
        f"{_ATTENTION}/backend.py#CommonAttentionMetadata",
    ),
    "builder": (
        "mini_vllm.attention.triton_attention.TritonMetadataBuilder",
        f"{_ATTENTION}/backends/triton_attn.py#TritonAttentionMetadataBuilder",
    ),
    "flashinfer": (
        "mini_vllm.attention.flashinfer.FlashInferMetadataBuilder",
        f"{_ATTENTION}/backends/flashinfer.py#FlashInferMetadataBuilder",
    ),
    "priorities": (
        "mini_vllm.attention.selector.priorities",
        "vllm/platforms/cuda.py#_get_backend_priorities",
    ),
    "select": (
        "mini_vllm.attention.selector.select_attention_backend",
        "vllm/platforms/cuda.py#CudaPlatformBase.get_attn_backend_cls",
    ),
}


@lru_cache(maxsize=1)
def _lock() -> Lock:
    return Lock.load(the_pin())


def upstream_lines(target: str) -> int:
    """Lines of an upstream definition."""
    if target in _lock():
        place = _lock().resolve(target)
    else:
        place = Resolver(need_tree(the_pin())).resolve(target)
    return (place.end or 0) - (place.start or 0) + 1


def our_lines(name: str) -> int:
    """Lines of a definition of ours."""
    piece = locate(name, (_ROOT,))
    return piece.last - piece.first + 1


def our_code_lines(name: str) -> int:
    """Lines of it that are neither docstring nor comment nor blank."""
    shown = (text.strip() for _, text in code_without_docstrings(locate(name, (_ROOT,))))
    return sum(1 for text in shown if text and not text.startswith("#"))


@quantity("p01-mini-step-lines", unit="line", source="counted in the file")
def mini_step_lines() -> int:
    """Our engine's step, docstring and comments included."""
    return our_lines(PAIRS["step"][0])


@quantity("p01-upstream-step-lines", unit="line", source="counted at the pin")
def upstream_step_lines() -> int:
    """Upstream's step, docstring and comments included."""
    return upstream_lines(PAIRS["step"][1])


@quantity("p02-mini-pool-lines", unit="line", source="counted in the file")
def mini_pool_lines() -> int:
    """Our pool, docstrings and comments included."""
    return our_lines(PAIRS_02["pool"][0])


@quantity("p02-upstream-pool-lines", unit="line", source="counted at the pin")
def upstream_pool_lines() -> int:
    """Upstream's pool, docstrings and comments included."""
    return upstream_lines(PAIRS_02["pool"][1])
