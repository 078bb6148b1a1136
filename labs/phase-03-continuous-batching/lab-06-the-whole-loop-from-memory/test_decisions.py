r"""Lab 06: your scheduler's decisions beside those of real vLLM's, recorded and live."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mini_vllm.config import SchedulerConfig
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request
from mini_vllm.sampling_params import SamplingParams
from upstream_anchors import importing

from labkit import neighbour

HERE = Path(__file__).parent
LIVE = {"count": 60, "first": 5000}


@functools.cache
def beside(name):
    return neighbour.beside(__file__, name)


@functools.cache
def recorded():
    return json.loads((HERE / "decisions.json").read_text(encoding="utf-8"))["workloads"]


class Side:
    r"""The scheduler under judgment, as the replay wants it."""

    def __init__(self, impl):
        self.impl = impl

    def begin(self, sizes):
        rest = dict(sizes)
        cache = KVCacheManager(
            rest.pop("num_gpu_blocks"),
            rest.pop("block_size"),
            rest["max_model_len"],
            rest.pop("enable_prefix_caching"),
        )
        self.scheduler = self.impl.Scheduler(SchedulerConfig(**rest), cache)

    def add(self, arrival):
        work = beside("workload")
        self.scheduler.add(
            Request(
                arrival["add"],
                work.prompt_of(arrival),
                SamplingParams(max_tokens=arrival["max_tokens"]),
                float(work.number_of(arrival["add"])),
                arrival["priority"],
                work.EOS,
            )
        )

    def abort(self, request_id):
        self.scheduler.abort(request_id)

    def busy(self):
        # A step without tokens still tells the runner who has ended.
        return bool(self.scheduler.requests or self.scheduler.finished)

    def token(self, arrival, place):
        return beside("workload").token_of(arrival, place)

    def schedule(self):
        orders = self.scheduler.schedule()
        return orders, {
            "granted": dict(orders.granted),
            "starts": dict(orders.starts),
            "blocks": {name: list(blocks) for name, blocks in orders.blocks.items()},
            "new": list(orders.new),
            "resumed": list(orders.resumed),
            "preempted": list(orders.preempted),
            "finished": sorted(orders.finished),
        }

    def update(self, orders, drawn):
        return [list(one) for one in self.scheduler.update(orders, drawn)]


def agree(impl, workload):
    r"""Fail, with the step and the field, where the two part."""
    replay, mine = beside("replay"), []
    try:
        mine.extend(replay.decisions(workload, Side(impl)))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        pytest.fail(f"workload {workload['seed']}: yours raised {type(error).__name__}: {error}")
    parts = replay.first_difference(mine, workload["decisions"])
    if parts is not None:
        step, field, yours, vllms = parts
        pytest.fail(
            f"workload {workload['seed']} ({workload['shape']}), step {step}, {field}:\n"
            f"  yours  {yours}\n  vLLM   {vllms}"
        )


@pytest.mark.task(1, 2, 3, 4, 5, 6)
@pytest.mark.parametrize("seed", range(20))
def test_you_decide_what_vllm_decided(impl, seed):
    agree(impl, recorded()[seed])


@pytest.mark.task(1, 2, 3, 4, 5, 6)
def test_the_recording_is_of_a_crowd(impl, truth):
    r"""Enough of everything that the rules are for; and the answers to two predictions."""
    steps = preempting = computed = lost = 0
    seen = dict.fromkeys(("hits", "resumed", "aborted", "cut"), 0)
    for workload in recorded():
        reached: dict[str, int] = {}
        prompts = {
            event["add"]: sum(event["prompt"][1:])
            for events in workload["steps"]
            for event in events
            if "add" in event
        }
        for record in workload["decisions"]:
            steps += bool(record["granted"])
            preempting += bool(record["preempted"])
            seen["resumed"] += len(record["resumed"])
            seen["hits"] += sum(record["starts"][name] > 0 for name in record["new"])
            seen["cut"] += sum(record["granted"][name] < prompts[name] for name in record["new"])
            for name, tokens in record["granted"].items():
                start = record["starts"][name]
                computed += tokens
                lost += max(0, min(reached.get(name, 0), start + tokens) - start)
                reached[name] = max(reached.get(name, 0), start + tokens)
        seen["aborted"] += sum("abort" in e for events in workload["steps"] for e in events)
    truth("steps-preempting", round(100 * preempting / steps))
    truth("lost-tokens", round(100 * lost / computed))
    assert min(seen.values()) >= 10, seen
    agree(impl, recorded()[0])


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5, 6)
def test_live_on_workloads_that_nobody_recorded(impl):
    r"""The real scheduler, out of the pinned tree, in a process of its own."""
    if (problem := importing.why_not()) is not None:
        pytest.skip(f"the live comparison: {problem}")
    process = subprocess.run(
        [sys.executable, str(HERE / "on_real_vllm.py"), str(LIVE["count"]), str(LIVE["first"])],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    workloads = [json.loads(line) for line in process.stdout.splitlines() if line[:1] == "{"]
    assert len(workloads) == LIVE["count"]
    for workload in workloads:
        agree(impl, workload)
