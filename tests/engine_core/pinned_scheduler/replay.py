"""One loop that drives either scheduler through a workload and writes down what it decided."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from pinned_scheduler import intended_differences

#: Some workloads never end, on either side (see `upstream_defects.py`); the others need less.
MAX_STEPS = 5_000


class Adapter(Protocol):
    """What differs between the two: how things are built, and where their fields are."""

    side: str

    def scheduler(self, config: dict[str, Any]) -> Any: ...
    def request(self, event: dict[str, Any], config: dict[str, Any]) -> Any: ...
    def abort(self, scheduler: Any, req_id: str) -> None: ...
    def result(self, req_ids: list[str], sampled: list[list[int]]) -> Any: ...
    def free_blocks(self, pool: Any) -> list[Any]: ...
    def block_table(self, manager: Any, req_id: str) -> Any: ...
    def skipped(self, scheduler: Any) -> list[str]: ...
    def outputs(self, outputs: Any) -> Any: ...


def steps(workload: dict[str, Any], adapter: Adapter) -> Iterator[dict[str, Any]]:
    """Run a workload to its end, and yield one record a step, as the intended differences say."""
    for record in raw_steps(workload, adapter):
        yield intended_differences.normalised(record, adapter.side)


def raw_steps(workload: dict[str, Any], adapter: Adapter) -> Iterator[dict[str, Any]]:
    """The same before any difference is evened out."""
    config, plan = workload["config"], workload["steps"]
    scheduler = adapter.scheduler(config)
    scripts: dict[str, list[int]] = {}
    for index in range(MAX_STEPS):
        record: dict[str, Any] = {"step": index, "resets": [], "victims": []}
        late: list[str] = []
        for event in plan[index] if index < len(plan) else ():
            if event["kind"] == "add":
                if event["id"] not in scheduler.requests:
                    scripts[event["id"]] = event["script"]
                    scheduler.add_request(adapter.request(event, config))
            elif event["kind"] == "reset":
                record["resets"].append(scheduler.reset_prefix_cache())
            elif event["late"]:
                late += event["who"]
            else:
                for req_id in event["who"]:
                    adapter.abort(scheduler, req_id)
        if not scheduler.has_requests():
            if index >= len(plan):
                return
            yield record
            continue
        output = scheduler.schedule()
        record["victims"] = scheduler.take_victims()
        record |= _orders(output)
        record |= _state(scheduler, adapter, "after schedule")
        for req_id in late:
            adapter.abort(scheduler, req_id)
        req_ids, sampled = list(output.num_scheduled_tokens), []
        for req_id in req_ids:
            request = scheduler.requests.get(req_id)
            caught_up = request is not None and request.num_computed_tokens == request.num_tokens
            sampled.append([scripts[req_id][request.num_output_tokens]] if caught_up else [])
        news = scheduler.update_from_output(output, adapter.result(req_ids, sampled))
        record["outputs"] = adapter.outputs(news)
        record |= _state(scheduler, adapter, "after update")
        yield record
    yield {"unfinished": sorted(scheduler.requests)}


def _orders(output: Any) -> dict[str, Any]:
    """What the model runner is told."""
    new, cached = output.scheduled_new_reqs, output.scheduled_cached_reqs
    return {
        "scheduled": list(output.num_scheduled_tokens.items()),
        "total": output.total_num_scheduled_tokens,
        "preempted": sorted(output.preempted_req_ids),
        "finished": sorted(output.finished_req_ids),
        "resumed": sorted(cached.resumed_req_ids),
        "new": [(one.req_id, one.num_computed_tokens) for one in new],
        "cached": list(
            zip(cached.req_ids, cached.num_computed_tokens, cached.num_output_tokens, strict=True)
        ),
        "block_ids": {one.req_id: one.block_ids for one in new}
        | dict(zip(cached.req_ids, cached.new_block_ids, strict=True)),
        "new_token_ids": list(cached.new_token_ids),
        "all_token_ids": {req_id: list(ids) for req_id, ids in cached.all_token_ids.items()},
    }


def _state(scheduler: Any, adapter: Adapter, when: str) -> dict[str, Any]:
    """Who stands where, and every block of the pool but the null block."""
    manager = scheduler.kv_cache_manager
    pool = manager.block_pool
    blocks = pool.blocks[1:]
    return {
        f"running {when}": [request.request_id for request in scheduler.running],
        f"waiting {when}": [request.request_id for request in scheduler.waiting],
        f"skipped {when}": adapter.skipped(scheduler),
        f"computed {when}": [
            (request.request_id, request.num_computed_tokens, request.num_preemptions)
            for request in scheduler.running
        ],
        f"free blocks {when}": [block.block_id for block in adapter.free_blocks(pool)],
        f"holders {when}": [block.ref_cnt for block in blocks],
        f"block_hash {when}": [block.block_hash for block in blocks],
        f"tables {when}": [
            adapter.block_table(manager, request.request_id) for request in scheduler.running
        ],
    }


def summary(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a recorded run: its digest, and how much it has seen."""
    records = list(records)
    busy = [record for record in records if "scheduled" in record]
    text = json.dumps(records, sort_keys=True, separators=(",", ":"))
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest()[:24],
        "steps": len(busy),
        "preemptions": sum(len(record["victims"]) for record in busy),
        "hits": sum(new[1] > 0 for record in busy for new in record["new"]),
        "finished": sum(one[2] is not None for record in busy for one in record["outputs"]),
        "endless": "unfinished" in records[-1],
    }
