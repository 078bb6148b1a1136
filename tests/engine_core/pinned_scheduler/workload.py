"""Random workloads for two schedulers, the same on every machine and in every Python.

A workload is plain JSON: a configuration, and for each step what arrives and who hangs up. Every
switch of the scheduler is thrown, pools are small enough to run dry, prompts begin alike often
enough to hit, and every stopping rule fires. No request is impossible: both schedulers must serve
all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

EOS = 2
LONGEST_ANSWER = 30


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
    config = _config(dice)
    families = [[10 + dice.below(890) for _ in range(130)] for _ in range(3)]
    steps: list[list[dict[str, Any]]] = []
    num_requests = 0
    for _ in range(5 + dice.below(40)):
        events: list[dict[str, Any]] = []
        for _ in range(dice.one_of([0, 0, 1, 1, 2, 4])):
            event = _arrival(dice, config, families, num_requests)
            if event is not None:
                events.append(event)
                num_requests += 1
        if num_requests and dice.chance(0.1):
            who = [f"r{dice.below(num_requests)}" for _ in range(1 + dice.below(2))]
            # While the model runs, or between two steps.
            events.append({"kind": "abort", "who": who, "late": dice.chance(0.5)})
        steps.append(events)
    return {"seed": seed, "config": config, "steps": steps}


def _config(dice: Dice) -> dict[str, Any]:
    budget = dice.one_of([1, 2, 3, 5, 8, 16, 32, 64])
    seats = min(budget, dice.one_of([1, 2, 3, 4, 8, 16]))
    max_model_len = dice.one_of([8, 16, 32, 64, 128])
    chunked = dice.chance(0.85)
    return {
        "block_size": dice.one_of([1, 2, 3, 4, 8, 16]),
        "num_gpu_blocks": dice.one_of([3, 4, 6, 8, 12, 16, 24, 40, 80]),
        "enable_prefix_caching": dice.chance(0.75),
        "max_model_len": max_model_len,
        "max_num_batched_tokens": budget if chunked else max(budget, max_model_len),
        "max_num_seqs": seats,
        "enable_chunked_prefill": chunked,
        "long_prefill_token_threshold": dice.one_of([0, 0, 0, 1, 3, 7, 20]),
        "scheduler_reserve_full_isl": dice.chance(0.7),
        "policy": dice.one_of(["fcfs", "priority"]),
    }


def _arrival(
    dice: Dice, config: dict[str, Any], families: list[list[int]], number: int
) -> dict[str, Any] | None:
    max_model_len = config["max_model_len"]
    length = 1 + dice.below(min(max_model_len, 130) - 1)
    prompt = dice.one_of(families)[:length] + [900 + dice.below(99) for _ in range(dice.below(3))]
    max_tokens = 1 + dice.below(LONGEST_ANSWER)
    min_tokens = min(max_tokens, dice.one_of([0, 0, 0, 2, 5]))
    script = [
        dice.one_of([EOS, 3, 4, 5]) if dice.chance(0.2) else 4 + dice.below(6)
        for _ in range(LONGEST_ANSWER)
    ]
    if dice.chance(0.2):
        script = [5, 6] * (LONGEST_ANSWER // 2)
    event = {
        "kind": "add",
        "id": f"r{number}",
        "prompt": prompt,
        "params": {
            "max_tokens": max_tokens,
            "min_tokens": min_tokens,
            "ignore_eos": dice.chance(0.5),
            "stop_token_ids": dice.one_of([[], [], [3], [EOS]]),
        },
        "repetition": [3, 1, 3] if dice.chance(0.15) else None,
        "script": script,
        "priority": dice.below(3) if config["policy"] == "priority" else 0,
        "arrival_time": float(dice.one_of([number, number, dice.below(5)])),
    }
    slots = (config["num_gpu_blocks"] - 1) * config["block_size"]
    if len(prompt) >= max_model_len or min(len(prompt) + max_tokens, max_model_len) > slots + 1:
        return None
    if len(prompt) + min_tokens > max_model_len:
        # The request that would never end at the pin; this engine ends it, on purpose.
        return None
    return event
