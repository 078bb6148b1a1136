r"""One loop that drives either scheduler through a workload, and writes down what it decided.

A *side* hides how the two differ: it builds its scheduler and its requests, and puts orders into
plain values. What is written down is a decision and nothing else: who got how many tokens in which
order, from which position and into which blocks, who started, came back or gave way, who had
ended; then what came out, and who runs and waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MANY_STEPS = 400


def decisions(workload: dict[str, Any], side: Any) -> Iterator[dict[str, Any]]:
    r"""Run a workload to its end; one record for each step in which somebody was in the engine."""
    side.begin(workload["config"])
    arrivals: dict[str, dict[str, Any]] = {}
    for index in range(MANY_STEPS):
        late = []
        for event in workload["steps"][index] if index < len(workload["steps"]) else ():
            if "add" in event:
                arrivals[event["add"]] = event
                side.add(event)
            elif event["late"]:
                late.append(event["abort"])
            else:
                side.abort(event["abort"])
        if not side.busy():
            if index >= len(workload["steps"]):
                return
            continue
        orders, record = side.schedule()
        for request_id in late:
            side.abort(request_id)
        drawn = {}
        for request_id in record["granted"]:
            request = side.scheduler.requests.get(request_id)
            if request is not None and request.num_computed_tokens == request.num_tokens:
                drawn[request_id] = side.token(arrivals[request_id], request.num_output_tokens)
        news = side.update(orders, drawn)
        yield {
            "step": index,
            **record,
            "news": news,
            "running": [request.request_id for request in side.scheduler.running],
            "waiting": [request.request_id for request in side.scheduler.waiting],
        }
    raise AssertionError(f"workload {workload['seed']}: still busy after {MANY_STEPS} steps")


def first_difference(
    mine: list[dict[str, Any]], theirs: list[dict[str, Any]]
) -> tuple[int, str, Any, Any] | None:
    r"""The first step and field in which two runs part, with both values; `None` if nowhere."""
    for one, other in zip(mine, theirs, strict=False):
        for name in other:
            same = one[name] == other[name]
            # A dictionary's order is a decision too: it is the order of the asking.
            if name == "granted":
                same = same and list(one[name]) == list(other[name])
            if not same:
                return other["step"], name, one[name], other[name]
    if len(mine) != len(theirs):
        return min(len(mine), len(theirs)), "the number of busy steps", len(mine), len(theirs)
    return None
