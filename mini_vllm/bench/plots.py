r"""Latencies as a picture: what a table of percentiles hides.

Three panels: when each request was sent and how long it waited for its first token (a queue that
grows is a slope, a burst a spike), the shares of requests below each latency, and how many tokens
came in each second. Failed requests are crosses on the axis. Needs matplotlib; without it, a line
says so and nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mini_vllm.bench.load_client import Outcome


def draw_load(outcomes: Sequence[Outcome], path: Path) -> str:
    """Draw one round as SVG into `path`; returns a line that says what was done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return f"{path.name}: not drawn, matplotlib is not installed"
    begun = min(outcome.due for outcome in outcomes)
    done = [outcome for outcome in outcomes if outcome.ok]
    lost = [outcome for outcome in outcomes if not outcome.ok]
    figure = Figure(figsize=(7.2, 8), layout="constrained")
    when, shares, rate = figure.subplots(3, 1)
    when.plot([o.sent - begun for o in done], [o.ttft * 1e3 for o in done], "o", ms=4)
    when.plot([o.due - begun for o in lost], [0] * len(lost), "x", color="tab:red", label="failed")
    when.set(xlabel="sent, s", ylabel="TTFT, ms", title="Time to first token, by sending time")
    if lost:
        when.legend()
    for label, values in (
        ("TTFT", [o.ttft for o in done]),
        ("ITL", [gap for o in done for gap in o.itls]),
        ("E2EL", [o.latency for o in done]),
    ):
        if values:
            ordered = np.sort(values) * 1e3
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            shares.step(ordered, share, where="post", label=label)
    shares.set(xscale="log", xlabel="ms", ylabel="share at or below", title="Latencies")
    if done:
        shares.legend()
    times = [t - begun for o in done for t in o.chunk_times]
    if times:
        rate.hist(times, bins=np.arange(0, np.ceil(max(times)) + 1), histtype="stepfilled")
    rate.set(xlabel="s", ylabel="chunks", title="Chunks in each second")
    figure.savefig(path, format="svg")
    return f"{path.name}: drawn"
