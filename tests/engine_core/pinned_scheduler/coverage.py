"""What have the workloads seen? A comparison that never preempted has compared nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

#: How often each thing must have happened in a run, for every 1,000 workloads of it. About half of
#: what the generator brings, so that luck alone does not fail a run.
FLOORS = {
    "steps": 60_000,
    "requests scheduled": 150_000,
    "admissions": 12_000,
    "prefix hits": 2_500,
    "hits at the edge of a block": 300,
    "prompts cut into chunks": 2_500,
    "cut by the threshold": 1_000,
    "steps that spent the whole budget": 10_000,
    "preemptions": 2_500,
    "victims by priority": 800,
    "victims that had tokens in the step": 100,
    "several victims in one step": 100,
    "resumed with a hit": 800,
    "blocks with a name that another carries": 5_000,
    "hang-ups": 800,
    "hang-ups while the model ran": 400,
    "caches forgotten": 100,
    "resets refused": 200,
    "end: stop": 1_500,
    "end: length": 4_000,
    "end: repetition": 150,
    "workloads with whole prompts": 80,
    "workloads without a cache": 120,
    "workloads with one seat": 80,
    "workloads with blocks of 32 or more": 30,
    "workloads by priority": 300,
}


class Coverage:
    """Counts over all steps compared, from this engine's side: the other has said the same."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.num_workloads = 0
        self.num_decisions = 0
        #: Workloads that were cut off, and whether equal priorities explain it.
        self.endless: list[tuple[int, bool]] = []

    def add_step(self, record: dict[str, Any], workload: dict[str, Any]) -> None:
        """Count what one step has seen."""
        counts, config = self.counts, workload["config"]
        if "unfinished" in record:
            self.endless.append((workload["seed"], _has_ties(record["unfinished"], workload)))
            return
        counts["caches forgotten"] += sum(record["resets"])
        counts["resets refused"] += len(record["resets"]) - sum(record["resets"])
        self.num_decisions += sum(
            len(value) if isinstance(value, (list, dict)) else 1 for value in record.values()
        )
        if "scheduled" not in record:
            return
        scheduled, size = dict(record["scheduled"]), config["block_size"]
        counts["steps"] += 1
        counts["requests scheduled"] += len(scheduled)
        counts["admissions"] += len(record["new"]) + len(record["resumed"])
        counts["steps that spent the whole budget"] += (
            record["total"] == config["max_num_batched_tokens"]
        )
        hits = [req_id for req_id, computed in record["new"] if computed]
        counts["prefix hits"] += len(hits)
        # The whole prompt was found, and its last block is computed again.
        counts["hits at the edge of a block"] += sum(scheduled[req_id] == size for req_id in hits)
        drew = {one[0] for one in record["outputs"]}
        counts["prompts cut into chunks"] += sum(
            req_id in scheduled and req_id not in drew for req_id, _ in record["new"]
        )
        threshold = config["long_prefill_token_threshold"]
        counts["cut by the threshold"] += sum(
            tokens == threshold and req_id not in drew for req_id, tokens in scheduled.items()
        )
        victims = record["victims"]
        counts["preemptions"] += len(victims)
        counts["several victims in one step"] += len(victims) > 1
        if config["policy"] == "priority":
            counts["victims by priority"] += len(victims)
        resumed = set(record["resumed"])
        counts["resumed with a hit"] += sum(
            one[1] > 0 for one in record["cached"] if one[0] in resumed
        )
        names = [name for name in record["block_hash after schedule"] if name is not None]
        counts["blocks with a name that another carries"] += len(names) - len(set(names))
        for one in record["outputs"]:
            if one[2] is not None:
                counts[f"end: {one[2]}"] += 1

    def add_workload(self, workload: dict[str, Any]) -> None:
        """Count what a workload was made of."""
        config = workload["config"]
        self.num_workloads += 1
        self.counts["workloads with whole prompts"] += not config["enable_chunked_prefill"]
        self.counts["workloads without a cache"] += not config["enable_prefix_caching"]
        self.counts["workloads with one seat"] += config["max_num_seqs"] == 1
        self.counts["workloads with blocks of 32 or more"] += config["block_size"] >= 32
        self.counts["workloads by priority"] += config["policy"] == "priority"
        for events in workload["steps"]:
            for event in events:
                if event["kind"] == "abort":
                    self.counts["hang-ups"] += 1
                    self.counts["hang-ups while the model ran"] += event["late"]

    def too_little(self) -> list[str]:
        """What happened less often than the floors ask, for this number of workloads."""
        share = self.num_workloads / 1000
        # Everybody ends, but for equals under priorities: `ties` in `upstream_defects.py`.
        starved = [f"workload {seed} does not end" for seed, ties in self.endless if not ties]
        return starved + [
            f"{name}: {self.counts[name]}, at least {int(floor * share)} expected"
            for name, floor in FLOORS.items()
            if self.counts[name] < int(floor * share)
        ]

    def table(self) -> str:
        """The counts beside their floors."""
        share = self.num_workloads / 1000
        width = max(map(len, FLOORS))
        return "\n".join(
            f"  {name:{width}}  {self.counts[name]:>10,}  (floor {int(floor * share):,})"
            for name, floor in FLOORS.items()
        )


def _has_ties(req_ids: list[str], workload: dict[str, Any]) -> bool:
    """Whether two of these requests are equals under the priority policy."""
    keys = [
        (event["priority"], event["arrival_time"])
        for events in workload["steps"]
        for event in events
        if event["kind"] == "add" and event["id"] in req_ids
    ]
    return workload["config"]["policy"] == "priority" and len(set(keys)) < len(keys)
