"""Random workloads for two schedulers, the same on every machine and in every Python.

A workload is plain JSON: a configuration, and for each step what arrives, who hangs up, and whether
somebody resets the cache. One draw of luck would leave most rules untouched, so each workload has a
*shape* that leans on some of them: a pool that runs dry, prompts that begin alike and end at the
edge of a block, a budget of a token or two, equal priorities that arrived at the same moment.
`coverage.py` counts what the shapes have come to, and a run that saw too little fails.

No request is impossible: both schedulers must serve all (see `book/reference/differential.md` for
the two kinds that are left out, and for what becomes of them).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Goes up when a seed comes to mean another workload; kept failures hold the workload itself.
GENERATOR = 2
EOS = 2
LONGEST_ANSWER = 40

#: What each shape fixes; the rest is drawn.
SHAPES: dict[str, dict[str, Sequence[Any]]] = {
    "mixed": {},
    "pressure": {
        "block_size": [1, 2, 3],
        "num_gpu_blocks": [16, 20, 24, 32],
        "max_num_batched_tokens": [16, 32, 64],
        "max_num_seqs": [4, 8, 16],
    },
    "alike": {"enable_prefix_caching": [True], "max_model_len": [64, 128]},
    "tiny budget": {
        "max_num_batched_tokens": [1, 2, 3],
        "max_model_len": [8, 16, 32],
        "enable_chunked_prefill": [True],
    },
    "threshold": {
        "long_prefill_token_threshold": [1, 2, 3, 7, 20],
        "max_num_batched_tokens": [32, 64, 128],
    },
    "ties": {
        "policy": ["priority"],
        "block_size": [1, 2, 4],
        "num_gpu_blocks": [12, 16, 24],
        "max_num_batched_tokens": [8, 16, 64],
        "max_num_seqs": [4, 8, 16],
    },
    "whole prompts": {"enable_chunked_prefill": [False]},
    "no cache": {"enable_prefix_caching": [False]},
    "one seat": {"max_num_seqs": [1]},
    "wide blocks": {
        "block_size": [32, 64, 128],
        "num_gpu_blocks": [3, 4, 6, 10, 20],
        "max_model_len": [128, 256, 512],
        "max_num_batched_tokens": [32, 64, 256],
    },
    "bursts": {"enable_prefix_caching": [True]},
    "stops": {},
    "hang-ups": {"num_gpu_blocks": [8, 12, 16, 24]},
}


class Dice:
    """Draws that depend on `random.random()` alone, the one method whose values Python promises."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def chance(self, probability: float) -> bool:
        return self._random() < probability


def workload(seed: int) -> dict[str, Any]:
    dice = Dice(seed)
    shape = dice.one_of(list(SHAPES))
    config = _config(dice, SHAPES[shape])
    families = [[10 + dice.below(890) for _ in range(520)] for _ in range(3)]
    arrivals = [0, 0, 0, 0, 0, 0, 8] if shape == "bursts" else [0, 0, 1, 1, 2, 4]
    steps: list[list[dict[str, Any]]] = []
    num_requests = 0
    for _ in range(5 + dice.below(40)):
        events: list[dict[str, Any]] = []
        for _ in range(dice.one_of(arrivals)):
            event = _arrival(dice, shape, config, families, f"r{num_requests}", num_requests)
            if event is not None:
                events.append(event)
                num_requests += 1
        if num_requests and dice.chance(0.5 if shape == "hang-ups" else 0.1):
            who = [f"r{dice.below(num_requests)}" for _ in range(1 + dice.below(2))]
            # While the model runs, or between two steps.
            late = dice.chance(0.5)
            events.append({"kind": "abort", "who": who, "late": late})
            if not late and dice.chance(0.3):
                # The client comes back under the same name.
                again = _arrival(dice, shape, config, families, who[0], num_requests)
                events += [again] if again is not None else []
        if dice.chance(0.3 if shape == "bursts" else 0.05):
            events.append({"kind": "reset"})
        steps.append(events)
        if shape == "bursts" and dice.chance(0.2):
            # Long enough for all to end: only then can the cache be forgotten.
            steps += [[] for _ in range(60)] + [[{"kind": "reset"}]]
    return {"seed": seed, "shape": shape, "config": config, "steps": steps}


def _config(dice: Dice, fixed: dict[str, Sequence[Any]]) -> dict[str, Any]:
    drawn: dict[str, Sequence[Any]] = {
        "block_size": [1, 2, 3, 4, 8, 16],
        "num_gpu_blocks": [3, 4, 6, 8, 12, 16, 24, 40, 80],
        "enable_prefix_caching": [True, True, True, False],
        "max_model_len": [8, 16, 32, 64, 128],
        "max_num_batched_tokens": [1, 2, 3, 5, 8, 16, 32, 64],
        "max_num_seqs": [1, 2, 3, 4, 8, 16],
        "enable_chunked_prefill": [True, True, True, True, True, True, False],
        "long_prefill_token_threshold": [0, 0, 0, 1, 3, 7, 20],
        "scheduler_reserve_full_isl": [True, True, False],
        "policy": ["fcfs", "priority"],
    }
    config = {name: dice.one_of(fixed.get(name, values)) for name, values in drawn.items()}
    if config["max_num_batched_tokens"] < 4 and config["enable_chunked_prefill"]:
        # A long prompt at a token a step shows nothing that a short one does not.
        config["max_model_len"] = min(config["max_model_len"], 32)
    if config["long_prefill_token_threshold"]:
        config["long_prefill_token_threshold"] = max(
            config["long_prefill_token_threshold"], config["max_model_len"] // 16
        )
    # What the configs of both engines demand.
    if not config["enable_chunked_prefill"]:
        config["max_num_batched_tokens"] = max(
            config["max_num_batched_tokens"], config["max_model_len"]
        )
    config["max_num_seqs"] = min(config["max_num_seqs"], config["max_num_batched_tokens"])
    config["long_prefill_token_threshold"] = min(
        config["long_prefill_token_threshold"], config["max_model_len"]
    )
    return config


def _arrival(
    dice: Dice,
    shape: str,
    config: dict[str, Any],
    families: list[list[int]],
    req_id: str,
    number: int,
) -> dict[str, Any] | None:
    max_model_len, block_size = config["max_model_len"], config["block_size"]
    slots = (config["num_gpu_blocks"] - 1) * block_size
    # Half of the prompts are cut to what a small pool can take, or it would turn most away.
    longest = max_model_len - 1
    if dice.chance(0.5):
        longest = max(1, min(longest, slots // 2))
    length = 1 + dice.below(longest)
    if dice.chance(0.7 if shape == "alike" else 0.25):
        length = max(block_size, length // block_size * block_size)
        own = 0
    else:
        own = dice.below(3)
    prompt = dice.one_of(families)[:length] + [900 + dice.below(99) for _ in range(own)]
    max_tokens = 1 + dice.below(LONGEST_ANSWER)
    stops = shape == "stops"
    min_tokens = min(max_tokens, dice.one_of([0, 3, 5, 9] if stops else [0, 0, 0, 2, 5]))
    often = 0.4 if stops else 0.15
    script = [
        dice.one_of([EOS, 3, 4, 5]) if dice.chance(often) else 4 + dice.below(6)
        for _ in range(LONGEST_ANSWER)
    ]
    if dice.chance(0.2):
        script = [5, 6] * (LONGEST_ANSWER // 2)
    ties = shape == "ties"
    event = {
        "kind": "add",
        "id": req_id,
        "prompt": prompt,
        "params": {
            "max_tokens": max_tokens,
            "min_tokens": min_tokens,
            "ignore_eos": dice.chance(0.5),
            "stop_token_ids": dice.one_of([[], [], [3], [EOS]]),
        },
        "repetition": [3, 1, 3] if dice.chance(0.4 if stops else 0.15) else None,
        "script": script,
        "priority": dice.below(2 if ties else 3) if config["policy"] == "priority" else 0,
        "arrival_time": float(dice.below(2) if ties else dice.one_of([number, dice.below(5)])),
    }
    if len(prompt) >= max_model_len or min(len(prompt) + max_tokens, max_model_len) > slots + 1:
        return None
    if len(prompt) + min_tokens > max_model_len:
        # The request that would never end at the pin; this engine ends it, on purpose.
        return None
    return event
