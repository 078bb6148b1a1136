r"""What becomes of the graphs that were asked for?

An attention backend says how far it can go: never, in steps where each request has one token, in
steps where all have the same number, always
({up}`vllm/v1/attention/backend.py#AttentionCGSupport`). What the operator asked for is then
lowered to the nearest thing that can be had, and each step down is said in words:

| asked for | `NEVER` | `UNIFORM_…` | `ALWAYS` |
|---|---|---|---|
| `PIECEWISE` | as asked | as asked | as asked |
| `FULL` | refused | `FULL_AND_PIECEWISE` | as asked |
| `FULL_DECODE_ONLY` | `PIECEWISE` | as asked | as asked |
| `FULL_AND_PIECEWISE` | `PIECEWISE` | as asked | as asked |

`FULL` where no full graph is possible is refused and not lowered: it names one thing, and the
nearest other thing has none of it.

Upstream's table has another axis
({up}`vllm/config/compilation.py#CompilationConfig.resolve_cudagraph_mode_and_sizes`). Its pieces
come out of the compiler, so without compilation there are none, and everything that would be
piecewise is eager. Ours are cut by hand, in the model, and exist either way.
{up}`env:VLLM_USE_BREAKABLE_CUDAGRAPH` gives upstream the same freedom for a few kinds of attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mini_vllm.config.compilation import CUDAGraphMode
from mini_vllm.errors import ConfigError


class GraphSupport(Protocol):
    """A member of a backend's scale of what can be captured; the scale itself loads torch."""

    @property
    def name(self) -> str:
        """`NEVER`, `UNIFORM_SINGLE_TOKEN_DECODE`, `UNIFORM_BATCH` or `ALWAYS`."""

    @property
    def value(self) -> int:
        """The same as a number, from 0 to 3."""


@dataclass(frozen=True)
class ResolvedMode:
    """The graphs that there will be, and in words why they are not those that were asked for."""

    mode: CUDAGraphMode
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((f"cudagraph_mode={self.mode}", *self.reasons))


def resolve_cudagraph_mode(
    requested: CUDAGraphMode,
    support: GraphSupport,
    backend_name: str,
    uniform_decode_query_len: int = 1,
) -> ResolvedMode:
    r"""Lower `requested` to what a backend with this `support` can be part of.

    `uniform_decode_query_len` is the number of new tokens of a decoding request, 1 unless it
    carries drafts. Raises {py:class}`~mini_vllm.errors.ConfigError` where `FULL` is asked for and
    no full graph is possible at all.
    """
    mode, reasons = requested, []
    never = support.name == "NEVER"
    limits = f"attention backend {backend_name} can be captured {_WORDS[support.name]}"
    if mode.mixed_mode() is CUDAGraphMode.FULL and support.name != "ALWAYS":
        if never:
            raise ConfigError(
                f"cudagraph_mode=FULL cannot be had: {limits}; ask for cudagraph_mode=PIECEWISE"
            )
        mode = CUDAGraphMode.FULL_AND_PIECEWISE
        reasons.append(f"not {requested}: {limits}")
    if mode.decode_mode() is CUDAGraphMode.FULL and never:
        mode = CUDAGraphMode.PIECEWISE
        reasons.append(f"not {requested}: {limits}")
    drafts = uniform_decode_query_len > 1
    if mode.decode_mode() is CUDAGraphMode.FULL and drafts and support.value < _UNIFORM_BATCH:
        mode = CUDAGraphMode.PIECEWISE
        reasons.append(
            f"no full graphs: {limits}, and a decode has {uniform_decode_query_len} tokens"
        )
    return ResolvedMode(mode, tuple(reasons))


_WORDS = {
    "NEVER": "in no graph",
    "UNIFORM_SINGLE_TOKEN_DECODE": "where every request has one new token",
    "UNIFORM_BATCH": "where all requests have the same number of new tokens",
    "ALWAYS": "in every step",
}
# Its value on the scale.
_UNIFORM_BATCH = 2
