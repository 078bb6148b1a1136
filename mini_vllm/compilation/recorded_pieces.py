r"""How can a recorder look into code that was compiled?

It cannot look over the compiler's shoulder. A {py:class}`RecordedGraph
<mini_vllm.compilation.recorded_graph.RecordedGraph>` stands between torch and its operations, and
torch's compiler refuses to work with somebody standing there: the operations that it would see are
those of the tracing, too. So the two take turns. Before a compiled piece is called the recorder
steps aside; the compiler's own code runs, finds the compiled version, checks that it fits; and at
the very place where the traced operations begin, the recorder comes back, until they end. A device
that captures sees exactly this part as well, as the rest happens on the host.

That place is one that torch asks for. What stands at the end of compiling is a *backend*, a
function that is handed the traced operations and returns what shall run instead.
{py:func}`watched` is such a backend: another one's result, in front of which it calls the recorder.

It needs a backend that ends in operations of torch, which `eager` and `aot_eager` do. `inductor`
ends in machine code that is called with addresses, and of that nothing could be recorded. On a
device all three can be captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes

from mini_vllm.compilation.recorded_graph import RecordedGraph


@contextmanager
def aside() -> Iterator[None]:
    """Without the recorder, if one is at work: for the call of a compiled function."""
    if RecordedGraph.recording is None:
        yield
        return
    with _pop_mode_temporarily(), _disable_current_modes():
        yield


def watched(backend: str) -> Callable[..., Any]:
    """A backend for `torch.compile`: as `backend`, and its operations are seen by a recorder."""

    def compile_(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        # Not the registry's at the top: asking for it loads the compiler.
        from torch._dynamo.backends.registry import lookup_backend

        inner = lookup_backend(backend)(graph, inputs)

        def run(*args: Any) -> Any:
            graph = RecordedGraph.recording
            if graph is None:
                return inner(*args)
            with graph.watching():
                return inner(*args)

        return run

    return compile_
