r"""What does compiling a piece save, and what does it cost?

A piece in plain torch is a list of calls, and each reads its input from memory and writes its
result back. Between two matrix products stand the small ones: widen, square, mean, root, multiply,
cast, add, rotate. None of them computes anything to speak of; nearly all of them move whole rows. A
compiler sees the list at once and writes few loops for what needs no product. In a loop a row is
read, stays in registers, and is written once. Calls become fewer, and so do the bytes. The products
stay with the library that had them.

That is also why the hand-written kernels are put aside when pieces are compiled: they do such
fusions already, each for its own few lines, and a compiler cannot look into them. Upstream turns
its own off in the same case
({up}`vllm/config/compilation.py#CompilationConfig.custom_ops`).

## Few compilations

The price is paid at start, in seconds, so there should be few. Three kinds of pieces serve a model
of any depth: before the first attention, between two, after the last. The layers' weights are
inputs of the compiled code and not part of it, so what was compiled between layers 0 and 1 is right
between 1 and 2.

The number of rows is left open: it is marked as a dynamic dimension. One row alone is another
matter. Tracing takes 1 for a number that means something (it may broadcast), so a step of one row
has code of its own. Two shapes are run at start, two rows and one row, and no step compiles
afterwards.

Results are those of the same operations, rounded at other places: fused loops keep in float32
what separate calls would have rounded to the model's type on the way. The tests find the same
tokens in float32. In bfloat16 they may differ, and the compiled piece has rounded less often.

## Together with graphs

A compiled piece is a function of tensors like any other, so a graph may hold it: alone
(`PIECEWISE`), or the whole chain with the attentions between (`FULL`). What must not happen in a
capture is a compilation, and none can: the two shapes at start leave nothing to compile, and each
size is run once more before it is captured. On a device every backend of `torch.compile` goes
together with every mode of graphs. The stand-in for graphs sees operations of torch, and goes
together with the backends that end in some ({py:mod}`mini_vllm.compilation.recorded_pieces`); with
`inductor` it is refused when the configuration is made.

Upstream: {up}`vllm/compilation/piecewise_backend.py#PiecewiseBackend`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mini_vllm.compilation.graph_cache import use_cache
from mini_vllm.compilation.recorded_pieces import aside, watched
from mini_vllm.config import EngineConfig


class PieceCompiler:
    r"""Hands pieces to `torch.compile`, each kind once.

    `warm_up_rows` are the shapes to run at start, in order; from the first on, the number of rows
    is open. `cache_folder` is where the compiler keeps what it made, None for a backend that makes
    nothing, and `was_warm` whether it had been there before.
    """

    #: Two rows stand for any number but one.
    warm_up_rows = (2, 1)

    def __init__(self, config: EngineConfig, device: str) -> None:
        self.backend = config.compilation_config.backend
        self.cache_folder: Path | None = None
        self.was_warm = False
        if self.backend == "inductor":
            self.cache_folder, self.was_warm = use_cache(config, device)
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._recorded = config.compilation_config.cudagraph_stand_in

    def __call__(self, name: str, piece: Callable[..., Any]) -> Callable[..., Any]:
        r"""The same function of the same tensors, compiled when it is first called.

        `piece` is a {py:class}`functools.partial` of modules; the function in it is compiled, and
        pieces that share it share the code.
        """
        if not isinstance(piece, partial):
            raise TypeError(f"{name} must be a partial of a function, got {piece!r}")
        function, modules = piece.func, piece.args
        if function not in self._compiled:
            backend = watched(self.backend) if self._recorded else self.backend
            self._compiled[function] = torch.compile(function, backend=backend, fullgraph=True)
        compiled = self._compiled[function]

        def run(*tensors: torch.Tensor) -> Any:
            if tensors[0].shape[0] > 1:
                for tensor in tensors:
                    torch._dynamo.maybe_mark_dynamic(tensor, 0)
            if not self._recorded:
                return compiled(*modules, *tensors)
            with aside():
                return compiled(*modules, *tensors)

        return run

    @property
    def num_kinds(self) -> int:
        """How many functions were given to the compiler; each has at most two versions."""
        return len(self._compiled)
