r"""Every scenario by its name: what `{trace}` asks for, and what a link to a step says."""

from __future__ import annotations

from collections.abc import Callable

from book.traces import first_requests, preemption, prefix_sharing, static_vs_continuous
from book.traces.recording import Recording

SCENARIOS: dict[str, Callable[[], Recording]] = {
    module.NAME: module.play
    for module in (first_requests, preemption, prefix_sharing, static_vs_continuous)
}


def recorded(name: str) -> Recording:
    """Play a scenario; raises `LookupError`, with the names there are, for one that is not."""
    if name not in SCENARIOS:
        raise LookupError(f"no scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    return SCENARIOS[name]()
