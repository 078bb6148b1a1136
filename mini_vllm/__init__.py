r"""Where does a thing live, and what may it know about?

The engine is a house of six floors. What a floor may import is what lies below it, and nothing
else; so the scheduler, two floors under the model, *cannot* depend on a tensor, and you can run
it, test it and break it on a machine without torch.

| floor | rooms, in order | torch at import | what you find there |
|---|---|---|---|
| 5 | `observe`, `entrypoints`, `bench` | no | the ways in, and the ways to watch |
| 4 | `engine` | no | the loop, and the way from text to tokens and back |
| 3 | `sample`, `worker` | yes | from logits to a token; batches in rows and tables |
|2|`platforms`, `kernels`, `attention`, `layers`, `models`, `compilation`, `loader`|yes|the model|
| 1 | `core` | **no** | requests, blocks, the scheduler: every decision |
| 0 | `errors`, `invariants`, `sampling_params`, `config`, `outputs` | **no** | words that all use |

The table is {py:data}`FLOORS`, and a test reads it: a module may import its own room, the rooms
before it on its floor, and the floors below. An arrow the other way fails the build.

That floor 4 has no torch at import although it drives floor 3 is one deliberate trick: the
{py:class}`~mini_vllm.engine.executor.Executor` imports the model runner when it is built, not when
it is read. A scripted runner can stand in for it, and then no torch is loaded at all.

Upstream draws the same line without being able to hold it: {up}`vllm/v1/core/sched/scheduler.py`
holds no tensor either, but {up}`vllm/v1/request.py` imports torch for prompt embeddings, so that
the real scheduler cannot be imported without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mini_vllm.engine.async_llm import AsyncLLM
    from mini_vllm.engine.llm_engine import LLMEngine
    from mini_vllm.entrypoints.llm import LLM
    from mini_vllm.outputs import CompletionOutput, RequestOutput
    from mini_vllm.sampling_params import SamplingParams

__version__ = "0.1.0"


class Floor(NamedTuple):
    """One row of the house: its number, its rooms in order, and whether they may load torch."""

    number: int
    rooms: tuple[str, ...]
    torch_at_import: bool


#: The architecture, as data. `tests/architecture` enforces it; the package's docstring prints it.
FLOORS: tuple[Floor, ...] = (
    Floor(
        0,
        ("errors", "invariants", "sampling_params", "config", "outputs"),
        False,
    ),
    Floor(1, ("core",), False),
    Floor(
        2,
        ("platforms", "kernels", "attention", "layers", "models", "compilation", "loader"),
        True,
    ),
    Floor(3, ("sample", "worker"), True),
    Floor(4, ("engine",), False),
    Floor(5, ("observe", "entrypoints", "bench"), False),
)

# Names that a script imports from the top. They load on first use: `import mini_vllm` must not
# climb the stairs, or importing floor 0 would load floor 5.
_HOMES = {
    "AsyncLLM": "mini_vllm.engine.async_llm",
    "LLM": "mini_vllm.entrypoints.llm",
    "LLMEngine": "mini_vllm.engine.llm_engine",
    "SamplingParams": "mini_vllm.sampling_params",
    "RequestOutput": "mini_vllm.outputs",
    "CompletionOutput": "mini_vllm.outputs",
}

__all__ = [
    "FLOORS",
    "LLM",
    "AsyncLLM",
    "CompletionOutput",
    "Floor",
    "LLMEngine",
    "RequestOutput",
    "SamplingParams",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mini_vllm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
