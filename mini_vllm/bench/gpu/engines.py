r"""A step with a graph and without, and tokens a second beside transformers' own batching.

Every figure comes from fresh processes ({py:mod}`mini_vllm.bench.child`), three of each
contestant, taken in turns, so that whatever else happens on the machine happens to all. Weights
are random in the shapes of two published models: time does not depend on what they are. Both
engines answer the same prompts with the same number of tokens, greedily, and no token ends an
answer early.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from mini_vllm.bench.gpu.shares import times_as_fast
from mini_vllm.bench.measurement import RunSpec
from mini_vllm.bench.workload import Workload

#: The switches of an engine that replays graphs in decode steps, and of one that does not.
STEPPING: dict[str, dict[str, Any]] = {
    "eager": {"enforce_eager": True},
    "graph": {"compilation_config": {"cudagraph_mode": "FULL_DECODE_ONLY"}},
}
BATCHES = (1, 8, 64)
#: For the steps: short prompts, so that attention is small and launches are what is seen.
STEP_PROMPT, STEP_TOKENS = 64, 64
#: For the throughput: what peers of this engine publish, prompts and answers of mixed length.
WORKLOAD = Workload(num_prompts=256, min_len=100, max_len=1024, num_new_tokens=256)
RUNS = 3

#: `call_in_child`, or in a test whoever stands in for it.
Caller = Callable[..., dict[str, Any]]


def steps(model: str, shape: str, call: Caller) -> list[dict[str, Any]]:
    r"""Seconds of a decode step, eager and with graphs, at each batch size.

    Returns a row for each batch size, with `times` as the eager median over the graphs' median.
    """
    found: dict[str, dict[int, list[float]]] = {
        mode: {size: [] for size in BATCHES} for mode in STEPPING
    }
    for _ in range(RUNS):
        for mode, options in STEPPING.items():
            spec = _spec("mini_vllm", model, max(BATCHES), options, WORKLOAD)
            arguments = {
                "spec": spec.as_dict(),
                "batches": list(BATCHES),
                "prompt_len": STEP_PROMPT,
                "num_new_tokens": STEP_TOKENS,
            }
            told = call("decode", arguments, label=f"{shape}, {mode} steps")
            for size in BATCHES:
                found[mode][size].append(told["batches"][str(size)]["median_s"])
    return [
        _step_row(shape, size, {m: sizes[size] for m, sizes in found.items()}) for size in BATCHES
    ]


def _step_row(shape: str, size: int, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    medians = {f"{mode}_s": median(runs) for mode, runs in seconds.items()}
    return {
        "shape": shape,
        "batch": size,
        **medians,
        "runs": {mode: list(runs) for mode, runs in seconds.items()},
        "times": times_as_fast(medians["eager_s"], medians["graph_s"]),
    }


def throughput(
    model: str, shape: str, call: Caller, workload: Workload = WORKLOAD
) -> dict[str, Any]:
    r"""Output tokens a second of this engine and of transformers' continuous batching.

    Raises `ValueError` if one of them made another number of tokens than it was asked for: its
    time would be of other work.
    """
    contestants = {
        "mini_vllm": _spec("mini_vllm", model, 256, STEPPING["graph"], workload),
        "transformers": _spec("transformers-continuous", model, 256, {}, workload),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(RUNS):
        for name, spec in contestants.items():
            told = call("throughput", {"spec": spec.as_dict()}, label=f"{shape}, {name}")
            made = sum(map(len, told["token_ids"]))
            if made != workload.num_output_tokens:
                raise ValueError(
                    f"{name} made {made:,} tokens of {workload.num_output_tokens:,}: not compared"
                )
            rates[name].append(made / told["wall_s"])
    medians = {name: median(runs) for name, runs in rates.items()}
    return {
        "shape": shape,
        "workload": workload.as_dict(),
        "tokens_per_s": medians,
        "runs": rates,
        "times": times_as_fast(1 / medians["transformers"], 1 / medians["mini_vllm"]),
    }


def _spec(
    engine: str, model: str, batch: int, options: dict[str, Any], workload: Workload
) -> RunSpec:
    return RunSpec(
        engine=engine,
        model=model,
        dtype="bfloat16",
        batch_size=batch,
        workload=workload.as_dict(),
        options=options,
        device="cuda",
    )
