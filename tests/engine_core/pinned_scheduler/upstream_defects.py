"""Four states from which the pinned scheduler does not recover, each as a workload that reaches it.

Read in the source first, then run: `outcome` says what became of each on either side. The random
workloads leave out what only the pinned side would hang or fail on, and here that is not left to
belief. `book/reference/differential.json` keeps the outcomes for the book's page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pinned_scheduler.replay import Adapter, steps


@dataclass(frozen=True)
class Defect:
    """A claim about the pinned source, where it is, and a workload that shows it."""

    id: str
    claim: str
    anchor: str
    workload: dict[str, Any]


def _config(**changes: Any) -> dict[str, Any]:
    return {
        "block_size": 1,
        "num_gpu_blocks": 33,
        "enable_prefix_caching": True,
        "max_model_len": 8,
        "max_num_batched_tokens": 16,
        "max_num_seqs": 4,
        "enable_chunked_prefill": True,
        "long_prefill_token_threshold": 0,
        "scheduler_reserve_full_isl": True,
        "policy": "fcfs",
    } | changes


def _arrives(req_id: str, num_prompt_tokens: int, first: int, **params: Any) -> dict[str, Any]:
    return {
        "kind": "add",
        "id": req_id,
        "prompt": list(range(first, first + num_prompt_tokens)),
        "params": {"max_tokens": 30, "min_tokens": 0, "ignore_eos": True, "stop_token_ids": []}
        | params,
        "repetition": None,
        "script": [7] * 64,
        "priority": 0,
        "arrival_time": 0.0,
    }


DEFECTS = (
    Defect(
        "never-ends",
        "A request whose `min_tokens` lie beyond `max_model_len` is never asked whether it has "
        "reached the limit. It runs for ever and is given nothing.",
        'vllm/v1/core/sched/utils.py#check_stop@"< sampling_params.min_tokens"',
        {"seed": 0, "config": _config(), "steps": [[_arrives("r0", 4, 10, min_tokens=20)]]},
    ),
    Defect(
        "minus-one",
        "Preempt such a request and let it be read again in one step. The waiting path does not "
        "stop one short of `max_model_len`, so the computed tokens reach it; on the running path "
        "the difference is then minus one, and only zero is passed over.",
        'vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"because one of the following"',
        {
            "seed": 1,
            "config": _config(num_gpu_blocks=11),
            "steps": [[_arrives("r0", 1, 500), _arrives("r1", 7, 10, min_tokens=20)]],
        },
    ),
    Defect(
        "block-zero",
        "A pool of exactly `max_model_len` tokens passes the check at start, but block 0 is the "
        "null block. A prompt that the limit allows then never fits, and waits for ever.",
        'vllm/v1/core/block_pool.py#BlockPool.__init__@"self.free_block_queue.popleft()"',
        {
            "seed": 2,
            "config": _config(block_size=4, num_gpu_blocks=4, max_model_len=16),
            "steps": [[_arrives("r0", 15, 10)]],
        },
    ),
    Defect(
        "ties",
        "Two requests of one priority that arrived at the same moment. The victim is the first "
        "greatest of the running list, the one that was admitted longest ago; it comes back "
        "behind the other, which is now the first greatest. Both read their prompts for ever.",
        'vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"key=lambda r: (r.priority"',
        {
            "seed": 3,
            "config": _config(
                block_size=16,
                num_gpu_blocks=4,
                enable_prefix_caching=False,
                max_model_len=64,
                max_num_batched_tokens=64,
                enable_chunked_prefill=False,
                long_prefill_token_threshold=7,
                scheduler_reserve_full_isl=False,
                policy="priority",
            ),
            "steps": [
                [_arrives("r0", 15, 10, max_tokens=18), _arrives("r1", 16, 500, max_tokens=18)]
            ],
        },
    ),
)


def outcome(defect: Defect, adapter: Adapter) -> str:
    """What became of the requests of a workload, in a few words."""
    ends, index, tokens = {}, 0, 0
    least = 0
    try:
        for index, record in enumerate(steps(defect.workload, adapter)):
            if "unfinished" in record:
                names = ", ".join(record["unfinished"])
                return f"{names} without an end after {index:,} steps, {tokens:,} tokens computed"
            for _, number in record.get("scheduled", ()):
                least = min(least, number)
                tokens += number
            for req_id, _, reason, *_ in record.get("outputs", ()):
                if reason is not None:
                    ends[req_id] = reason
    except Exception as error:
        # The step that failed was not recorded: ask the scheduler itself.
        why = str(error).split(";")[0]
        return f"step {index + 1}: {type(error).__name__}" + (f": {why}" if why else "")
    return ", ".join(f"{req_id} ends with `{reason}`" for req_id, reason in sorted(ends.items()))
