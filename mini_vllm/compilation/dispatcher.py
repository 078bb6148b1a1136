r"""How is this step run, and why so?

Two numbers decide: how many tokens the step has, and whether every request has the same few of
them, as decodes do. From these the dispatcher names a **runtime mode** and a **batch descriptor**,
the shape under which a graph was captured:

```text
37 tokens, all decodes       FULL       40 tokens, 40 requests
37 tokens, one is a chunk    PIECEWISE  40 tokens, any requests
600 tokens                   NONE       600 tokens
```

The descriptor of a full graph counts requests too, since attention is inside it and reads a row of
the block table per request. That of a piece does not: what lies between two attentions looks at
one token at a time and never learns whose it is.

## Keys are made once

{py:meth}`CudagraphDispatcher.initialize_cudagraph_keys` writes down every descriptor for which
there will be a graph, before one exists. Capture goes through that list, and dispatch looks up in
it. So the two cannot disagree: what is looked up was captured, and what was captured can be found.

## An edge

Full graphs of decodes are made for sizes up to `max_num_seqs`, because no step has more decodes.
If `max_num_seqs` is no size, say 60, a step of 58 decodes is padded to 64. That is above the limit,
so the step finds no full graph, although it is as uniform as can be. Upstream has this edge
({up}`vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher.initialize_cudagraph_keys`), and so has
this dispatcher: the two are compared, decision by decision, in a test. The remedy is to let
`max_num_seqs` be a size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from mini_vllm.compilation.capture_sizes import CaptureSizes
from mini_vllm.config.compilation import CUDAGraphMode
from mini_vllm.invariants import invariant

NONE, PIECEWISE, FULL = CUDAGraphMode.NONE, CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL
#: How one step can be run.
RUNTIME_MODES = frozenset((NONE, PIECEWISE, FULL))


@dataclass(frozen=True)
class BatchDescriptor:
    r"""The shape of a padded step, as far as a graph depends on it.

    `num_reqs` is `None` where the graph fits any number of requests; `uniform` says that each has
    the same number of tokens. Upstream: {up}`vllm/forward_context.py#BatchDescriptor`.
    """

    num_tokens: int
    num_reqs: int | None = None
    uniform: bool = False


@dataclass(frozen=True)
class Dispatch:
    """One decision: the mode, the shape, the step's own tokens, and the reason in words."""

    # What is stated below is checked on this; see `mini_vllm.invariants`.
    invariant_owner = "dispatch"

    mode: CUDAGraphMode
    descriptor: BatchDescriptor
    num_tokens: int
    reason: str

    @property
    def num_padding(self) -> int:
        """Rows of the padded step that are nobody's."""
        return self.descriptor.num_tokens - self.num_tokens

    def __str__(self) -> str:
        return self.reason


class CudagraphDispatcher:
    r"""Which graph fits a step, if any.

    `cudagraph_keys` has for `PIECEWISE` and for `FULL` the descriptors that are, or will be,
    captured. Until {py:meth}`initialize_cudagraph_keys` was called every step is eager. Holds no
    graph and changes nothing at dispatch. Upstream:
    {up}`vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher`, which also counts adapters.
    """

    # What is stated below is checked on this; see `mini_vllm.invariants`.
    invariant_owner = "cudagraph_dispatcher"

    def __init__(
        self,
        capture_sizes: CaptureSizes | None,
        max_num_seqs: int,
        uniform_decode_query_len: int = 1,
    ) -> None:
        self.capture_sizes = capture_sizes
        self.max_num_seqs = max_num_seqs
        self.uniform_decode_query_len = uniform_decode_query_len
        self.cudagraph_mode = NONE
        self.cudagraph_keys: dict[CUDAGraphMode, set[BatchDescriptor]] = {
            PIECEWISE: set(),
            FULL: set(),
        }

    def initialize_cudagraph_keys(self, cudagraph_mode: CUDAGraphMode) -> None:
        r"""Write down every descriptor for which there will be a graph.

        `cudagraph_mode` is the resolved one. With drafts, all capture sizes must be multiples of a
        decode's tokens; raises `ValueError` where they are not.
        """
        for keys in self.cudagraph_keys.values():
            keys.clear()
        self.cudagraph_mode = cudagraph_mode
        if cudagraph_mode is NONE:
            return
        if self.capture_sizes is None:
            raise ValueError(f"cudagraph_mode={cudagraph_mode} needs capture sizes")
        query_len = self.uniform_decode_query_len
        if cudagraph_mode.decode_mode() is FULL and cudagraph_mode.separate_routine():
            odd = [size for size in self.capture_sizes if size % query_len]
            if odd:
                raise ValueError(f"capture sizes {odd} are no multiples of {query_len} tokens")
        mixed_mode = cudagraph_mode.mixed_mode()
        if mixed_mode is not NONE:
            for size in self.capture_sizes:
                descriptor = self._descriptor(size, uniform=False)
                if mixed_mode is PIECEWISE:
                    descriptor = replace(descriptor, num_reqs=None)
                self.cudagraph_keys[mixed_mode].add(descriptor)
        if cudagraph_mode.decode_mode() is FULL and cudagraph_mode.separate_routine():
            for size in self.capture_sizes:
                if query_len <= size <= query_len * self.max_num_seqs:
                    self.cudagraph_keys[FULL].add(self._descriptor(size, uniform=True))

    def dispatch(
        self,
        num_tokens: int,
        uniform_decode: bool = False,
        allowed_modes: Collection[CUDAGraphMode] = RUNTIME_MODES,
    ) -> Dispatch:
        r"""Decide how a step of `num_tokens` is run.

        `uniform_decode` says that each of its requests has exactly `uniform_decode_query_len`
        tokens. `allowed_modes` may forbid a kind of graph, or all of them, for this step; eager is
        always allowed.
        """
        eager = BatchDescriptor(num_tokens)
        what = self._words_for(num_tokens, uniform_decode)

        def decide(mode: CUDAGraphMode, descriptor: BatchDescriptor, why: str) -> Dispatch:
            return Dispatch(mode, descriptor, num_tokens, f"{what}: {why}")

        if self.cudagraph_mode is NONE or self.capture_sizes is None:
            return decide(NONE, eager, "there are no graphs, eager")
        if not {PIECEWISE, FULL} & set(allowed_modes):
            return decide(NONE, eager, "graphs are not allowed in this step, eager")
        padded = self.capture_sizes.padded(num_tokens)
        if padded is None:
            largest = self.capture_sizes.largest
            return decide(NONE, eager, f"more than the largest captured size {largest}, eager")

        # Modes that treat decodes alike with the rest have one kind of key, which is not uniform.
        uniform = uniform_decode and self.cudagraph_mode.separate_routine()
        descriptor = self._descriptor(padded, uniform)
        if FULL in allowed_modes and descriptor in self.cudagraph_keys[FULL]:
            return decide(FULL, descriptor, f"captured {padded}, FULL")
        relaxed = BatchDescriptor(padded)
        why_not_full = self._why_not_full(padded, uniform_decode, allowed_modes)
        if PIECEWISE in allowed_modes and relaxed in self.cudagraph_keys[PIECEWISE]:
            return decide(PIECEWISE, relaxed, f"{why_not_full}captured {padded}, PIECEWISE")
        if PIECEWISE in allowed_modes or not self.cudagraph_mode.has_piecewise_cudagraphs():
            why_not_pieces = f"{self.cudagraph_mode} has no other graph for it"
        else:
            why_not_pieces = "pieces are not allowed"
        return decide(NONE, eager, f"{why_not_full}{why_not_pieces}, eager")

    def get_capture_descs(self) -> list[tuple[CUDAGraphMode, list[BatchDescriptor]]]:
        r"""What to capture, in order: pieces before full graphs, and the largest first.

        The largest first, since graphs share one pool of memory: what the largest one has reserved
        is enough for all that come after it, and in the other order each would reserve more.
        """
        ordered = []
        for mode in (PIECEWISE, FULL):
            if keys := self.cudagraph_keys[mode]:
                ordered.append((mode, sorted(keys, key=lambda d: d.num_tokens, reverse=True)))
        return ordered

    def _descriptor(self, num_tokens: int, uniform: bool) -> BatchDescriptor:
        if uniform and self.cudagraph_mode.has_full_cudagraphs():
            num_reqs = min(num_tokens // self.uniform_decode_query_len, self.max_num_seqs)
            return BatchDescriptor(num_tokens, num_reqs, True)
        return BatchDescriptor(num_tokens, min(num_tokens, self.max_num_seqs), False)

    def _words_for(self, num_tokens: int, uniform_decode: bool) -> str:
        tokens = f"{num_tokens} token{'s' if num_tokens != 1 else ''}"
        if not uniform_decode:
            return f"{tokens}, a chunk among them"
        num_reqs = num_tokens // self.uniform_decode_query_len
        return f"{tokens}, uniform decode of {num_reqs}"

    def _why_not_full(
        self, padded: int, uniform_decode: bool, allowed_modes: Collection[CUDAGraphMode]
    ) -> str:
        if not self.cudagraph_mode.has_full_cudagraphs():
            return ""
        if FULL not in allowed_modes:
            return "full graphs are not allowed, "
        most = self.max_num_seqs * self.uniform_decode_query_len
        if uniform_decode and padded > most:
            return (
                f"padded to {padded}, above the {most} tokens of a full batch, so no full graph, "
            )
        return ""


@invariant(
    "dispatch-fits",
    "A step that runs as a graph has at most as many tokens as the graph was captured for, and an "
    "eager step is not padded.",
    phase=5,
    owner="dispatch",
    anchors=("vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher.dispatch",),
)
def _dispatch_fits(dispatch: Dispatch) -> Iterator[str]:
    if dispatch.mode not in RUNTIME_MODES:
        yield f"{dispatch.mode} is no way to run a step"
    if dispatch.num_padding < 0:
        yield f"{dispatch.num_tokens} tokens in a graph of {dispatch.descriptor.num_tokens}"
    if dispatch.mode is NONE and dispatch.num_padding:
        yield f"an eager step of {dispatch.num_tokens} tokens has {dispatch.num_padding} more"


@invariant(
    "dispatch-finds-captured",
    "A step runs as a graph only under a key that was written down for capture.",
    phase=5,
    owner="cudagraph_dispatcher",
    anchors=("vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher.get_capture_descs",),
)
def _dispatch_finds_captured(dispatcher: CudagraphDispatcher) -> Iterator[str]:
    sizes = dispatcher.capture_sizes
    captured = {(mode, d) for mode, descs in dispatcher.get_capture_descs() for d in descs}
    query_len = dispatcher.uniform_decode_query_len
    for num_tokens in range(1, (sizes.largest if sizes else 0) + 2):
        for uniform in (False, True):
            if uniform and num_tokens % query_len:
                continue
            found = dispatcher.dispatch(num_tokens, uniform)
            if found.mode is not NONE and (found.mode, found.descriptor) not in captured:
                yield f"{num_tokens} tokens, uniform {uniform}: {found.descriptor} is not captured"
