"""One loop that drives either scheduler through a workload and writes down what it decided."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

MAX_STEPS = 4000


class Adapter(Protocol):
    """What differs between the two: how things are built, and where their fields are."""

    def scheduler(self, config: dict[str, Any]) -> Any: ...
    def request(self, event: dict[str, Any], config: dict[str, Any]) -> Any: ...
    def abort(self, scheduler: Any, req_id: str) -> None: ...
    def result(self, req_ids: list[str], sampled: list[list[int]]) -> Any: ...
    def orders(self, output: Any) -> dict[str, Any]: ...
    def news(self, outputs: Any) -> list[Any]: ...


def replay(workload: dict[str, Any], adapter: Adapter) -> list[Any]:
    """Run a workload to its end; one entry a step: every order, every queue, every block."""
    config, steps = workload["config"], workload["steps"]
    scheduler = adapter.scheduler(config)
    pool = scheduler.kv_cache_manager.block_pool
    scripts: dict[str, list[int]] = {}
    trace: list[Any] = []
    for index in range(MAX_STEPS):
        late: list[str] = []
        for event in steps[index] if index < len(steps) else ():
            if event["kind"] == "add":
                scripts[event["id"]] = event["script"]
                scheduler.add_request(adapter.request(event, config))
            elif event["late"]:
                late += event["who"]
            else:
                for req_id in event["who"]:
                    adapter.abort(scheduler, req_id)
        if not scheduler.has_requests():
            if index >= len(steps):
                return trace
            trace.append(None)
            continue
        output = scheduler.schedule()
        step = {
            "scheduled": list(output.num_scheduled_tokens.items()),
            "total": output.total_num_scheduled_tokens,
            "preempted": sorted(output.preempted_req_ids),
            "finished": sorted(output.finished_req_ids),
            "resumed": sorted(output.scheduled_cached_reqs.resumed_req_ids),
            **adapter.orders(output),
            "running": [request.request_id for request in scheduler.running],
            "waiting": [request.request_id for request in scheduler.waiting],
            "free_between": pool.get_num_free_blocks(),
        }
        for req_id in late:
            adapter.abort(scheduler, req_id)
        req_ids, sampled = list(output.num_scheduled_tokens), []
        for req_id in req_ids:
            request = scheduler.requests.get(req_id)
            caught_up = request is not None and request.num_computed_tokens == request.num_tokens
            sampled.append([scripts[req_id][request.num_output_tokens]] if caught_up else [])
        step["news"] = adapter.news(
            scheduler.update_from_output(output, adapter.result(req_ids, sampled))
        )
        step["free_after"] = pool.get_num_free_blocks()
        trace.append(step)
    raise AssertionError(f"workload {workload['seed']} did not end in {MAX_STEPS} steps")


def summary(trace: list[Any]) -> dict[str, Any]:
    """What is kept of a trace: its digest, and how much it has seen."""
    steps = [step for step in trace if step is not None]
    text = json.dumps(trace, sort_keys=True, separators=(",", ":"))
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest()[:24],
        "steps": len(steps),
        "preemptions": sum(len(step["preempted"]) for step in steps),
        "hits": sum(new[1] > 0 for step in steps for new in step["new"]),
        "finished": sum(news[2] is not None for step in steps for news in step["news"]),
    }
