r"""Crowded little workloads, the same on every machine: who arrives when, and who hangs up.

A workload is plain JSON. `config` has the numbers of both schedulers, and `steps` what happens
before each step: arrivals and aborts. Each has a *shape* that leans on some rules. Every request
in it can be served: alone in the engine, its prompt and its answer would fit.
"""

from __future__ import annotations

import random
from typing import Any

EOS = 2

#: What each shape fixes; the rest is drawn.
SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("roomy", {"num_gpu_blocks": 60, "policy": "fcfs"}),
    ("a small pool", {"policy": "fcfs", "long_prefill_token_threshold": 0}),
    ("a small pool, by priority", {"policy": "priority", "long_prefill_token_threshold": 0}),
    ("a threshold", {"long_prefill_token_threshold": 5, "max_num_batched_tokens": 16}),
    ("alike", {"enable_prefix_caching": True, "num_gpu_blocks": 14}),
    ("whole prompts", {"enable_chunked_prefill": False, "max_num_batched_tokens": 48}),
    ("no reserve", {"scheduler_reserve_full_isl": False, "max_num_batched_tokens": 8}),
    ("few seats", {"max_num_seqs": 2}),
    ("by priority, no cache", {"policy": "priority", "enable_prefix_caching": False}),
    ("hang-ups", {"max_num_seqs": 8}),
]


class Dice:
    r"""Draws that depend on `random.random()` alone, the method whose values Python promises."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def one_of(self, values: Any) -> Any:
        return values[self.below(len(values))]

    def chance(self, probability: float) -> bool:
        return self._random() < probability


def workload(seed: int) -> dict[str, Any]:
    r"""The workload of a seed; ten seeds in a row have the ten shapes."""
    dice = Dice(seed)
    shape, fixed = SHAPES[seed % len(SHAPES)]
    config = {
        "block_size": dice.one_of([2, 4, 4]),
        "num_gpu_blocks": dice.one_of([13, 15, 17, 21]),
        "enable_prefix_caching": dice.chance(0.7),
        "max_model_len": 48,
        "max_num_batched_tokens": dice.one_of([8, 12, 16, 24]),
        "max_num_seqs": dice.one_of([3, 4, 6]),
        "enable_chunked_prefill": True,
        "long_prefill_token_threshold": dice.one_of([0, 0, 0, 6]),
        "scheduler_reserve_full_isl": dice.chance(0.7),
        "policy": dice.one_of(["fcfs", "fcfs", "priority"]),
    } | fixed
    slots = (config["num_gpu_blocks"] - 1) * config["block_size"]
    steps: list[list[dict[str, Any]]] = []
    number = 0
    for _ in range(6 + dice.below(6)):
        events: list[dict[str, Any]] = []
        for _ in range(dice.one_of([0, 1, 1, 2])):
            shared, own, answer = dice.below(21), 1 + dice.below(9), 1 + dice.below(11)
            if shape == "alike":
                shared, own = 4 * (2 + dice.below(3)), dice.one_of([0, 0, 3])
            if shared + own + answer > min(slots, config["max_model_len"]):
                continue
            arrival = {
                "add": f"r{number}",
                "prompt": [dice.below(2), shared, own],
                "max_tokens": answer,
                "eos_at": dice.one_of([None, None, None, answer // 2]),
                "priority": dice.below(3) if config["policy"] == "priority" else 0,
            }
            events.append(arrival)
            number += 1
        if number and dice.chance(0.5 if shape == "hang-ups" else 0.08):
            # While the model runs (late), or between two steps.
            events.append({"abort": f"r{dice.below(number)}", "late": dice.chance(0.5)})
        steps.append(events)
    return {"seed": seed, "shape": shape, "config": config, "steps": steps}


def number_of(request_id: str) -> int:
    r"""The number in a request's name; it is also the moment of its arrival."""
    return int(request_id[1:])


def prompt_of(arrival: dict[str, Any]) -> list[int]:
    r"""A prompt's tokens: some that all of its family begin with, then some of its own."""
    family, shared, own = arrival["prompt"]
    mine = 10_000 + 1_000 * number_of(arrival["add"])
    return [1_000 * (family + 1) + place for place in range(shared)] + [
        mine + place for place in range(own)
    ]


def token_of(arrival: dict[str, Any], place: int) -> int:
    r"""The token that the model draws at a place of a request's answer."""
    if place == arrival["eos_at"]:
        return EOS
    return 500_000 + 1_000 * number_of(arrival["add"]) + place
