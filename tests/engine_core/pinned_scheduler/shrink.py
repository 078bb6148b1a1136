"""Make a failing workload small enough to read.

Delta debugging over its events: drop halves, then quarters, then single ones, as long as both
sides still differ; then the same for idle steps; then shorten prompts and answers. What remains is
a workload in which nothing can be left out without the difference going away.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
StillFails = Callable[[dict[str, Any]], bool]


def shrink(
    workload: dict[str, Any], still_fails: StillFails, max_runs: int = 1000
) -> dict[str, Any]:
    """Return a workload that fails as well, and of which nothing can be dropped.

    After `max_runs` runs every further attempt counts as one that does not fail, so that it ends.
    """
    still_fails = _at_most(max_runs, still_fails)
    while True:
        before = size(workload)
        workload = _fewer_events(workload, still_fails)
        workload = _fewer_steps(workload, still_fails)
        workload = _shorter_requests(workload, still_fails)
        if size(workload) >= before:
            return workload


def _at_most(max_runs: int, still_fails: StillFails) -> StillFails:
    runs = itertools.count()
    return lambda workload: next(runs) < max_runs and still_fails(workload)


def size(workload: dict[str, Any]) -> int:
    """How much there is to read."""
    events = [event for step in workload["steps"] for event in step]
    tokens = sum(
        len(event["prompt"]) + event["params"]["max_tokens"]
        for event in events
        if event["kind"] == "add"
    )
    return tokens + 10 * len(events) + len(workload["steps"])


def smallest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Zeller's ddmin: drop ever smaller pieces while `fails` stays true."""
    pieces = 2
    while items:
        length = -(-len(items) // pieces)
        for start in range(0, len(items), length):
            fewer = [*items[:start], *items[start + length :]]
            if fails(fewer):
                items, pieces = fewer, max(pieces - 1, 2)
                break
        else:
            if length <= 1:
                return items
            pieces = min(pieces * 2, len(items))
    return items


def _fewer_events(workload: dict[str, Any], still_fails: StillFails) -> dict[str, Any]:
    def with_events(events: Sequence[tuple[int, Any]]) -> dict[str, Any]:
        steps: list[list[Any]] = [[] for _ in workload["steps"]]
        for index, event in events:
            steps[index].append(event)
        return {**workload, "steps": steps}

    events = [(index, event) for index, step in enumerate(workload["steps"]) for event in step]
    return with_events(smallest(events, lambda some: still_fails(with_events(some))))


def _fewer_steps(workload: dict[str, Any], still_fails: StillFails) -> dict[str, Any]:
    def with_steps(steps: Sequence[list[Any]]) -> dict[str, Any]:
        return {**workload, "steps": list(steps)}

    return with_steps(smallest(workload["steps"], lambda some: still_fails(with_steps(some))))


def _shorter_requests(workload: dict[str, Any], still_fails: StillFails) -> dict[str, Any]:
    for i, step in enumerate(workload["steps"]):
        for j, event in enumerate(step):
            if event["kind"] != "add":
                continue
            for change in _shorter_forms(event):
                candidate = copy.deepcopy(workload)
                candidate["steps"][i][j] = change
                if still_fails(candidate):
                    workload = candidate
    return workload


def _shorter_forms(event: dict[str, Any]) -> list[dict[str, Any]]:
    forms = []
    for length in (1, len(event["prompt"]) // 2, len(event["prompt"]) - 1):
        if 0 < length < len(event["prompt"]):
            forms.append({**event, "prompt": event["prompt"][:length]})
    for limit in (1, event["params"]["max_tokens"] // 2, event["params"]["max_tokens"] - 1):
        if max(1, event["params"]["min_tokens"]) <= limit < event["params"]["max_tokens"]:
            forms.append({**event, "params": {**event["params"], "max_tokens": limit}})
    return forms


def describe(workload: dict[str, Any]) -> str:
    """A workload as a person reads it."""
    lines = [f"seed {workload['seed']}, shape {workload.get('shape', 'none')!r}"]
    lines += [f"  {name} = {value}" for name, value in workload["config"].items()]
    for index, step in enumerate(workload["steps"]):
        for event in step:
            if event["kind"] == "add":
                what = (
                    f"{event['id']} arrives: {len(event['prompt'])} prompt tokens, "
                    f"{event['params']}, priority {event['priority']} at {event['arrival_time']}"
                )
            elif event["kind"] == "reset":
                what = "the cache is to be forgotten"
            else:
                when = "while the model runs" if event["late"] else "before the step"
                what = f"{', '.join(event['who'])} hang up {when}"
            lines.append(f"  step {index}: {what}")
    return "\n".join(lines)
