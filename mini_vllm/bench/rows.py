r"""Which works are compared, and what has to be reached?

Each function here measures one kind of work with all engines, and returns the rows of the table
that come of it. A row is a plain dictionary, since it goes into a file that outlives this code:

| key | meaning |
|---|---|
| `id`, `work`, `unit` | which row, in words, and the unit of all its figures |
| `better` | `"higher"` or `"lower"` |
| `engines` | by name: `median`, `runs`, and `status` (`"ran"`, or why not) |
| `agreement` | by name: whether its tokens are ours |
| `must`, `aim` | a sentence each, with `reached` (`null` where it could not be judged) |
| `limit` | what no engine can pass on this machine, and how near we are, where that is known |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from mini_vllm.bench.agreement import agree
from mini_vllm.bench.contest import Setting, Standing, contest
from mini_vllm.bench.measurement import RunSpec
from mini_vllm.bench.random_checkpoint import QWEN3_0_6B_SHAPE, write_random_checkpoint
from mini_vllm.bench.workload import Workload

BOOK_WORKLOAD = Workload()
SINGLE = {"prompt_len": 128, "num_new_tokens": 128}
QWEN_WORKLOAD = Workload(num_prompts=16, min_len=128, max_len=128, num_new_tokens=32)
TRANSFORMERS_BATCHES = (1, 8, 16, 64)


def figures(
    standings: Mapping[str, Standing], value: Callable[[dict[str, Any]], float]
) -> dict[str, dict[str, Any]]:
    """Each engine's figure: the median over its runs, and the runs."""
    found: dict[str, dict[str, Any]] = {}
    for name, standing in standings.items():
        found[name] = {"status": standing.status}
        if standing.ran:
            runs = [value(result) for result in standing.results]
            found[name] |= {"median": median(runs), "runs": runs}
    return found


def goal(text: str, reached: bool | None) -> dict[str, Any]:
    """A goal in words, and whether it was reached; `None` where that cannot be said."""
    return {"text": text, "reached": reached}


def best_vllm(engines: Mapping[str, Mapping[str, Any]], better: str) -> float | None:
    """The better of vLLM eager and compiled; `None` unless one of them ran."""
    ran = [engines[name]["median"] for name in ("vllm", "vllm-compiled") if _has(engines, name)]
    if not ran:
        return None
    return max(ran) if better == "higher" else min(ran)


def book(setting: Setting, dtype: str) -> list[dict[str, Any]]:
    """The book's model: throughput of 64 requests, and time per token of a single one."""
    name = f"book-{dtype}"
    batch, sweep = _best_transformers_batch(setting, dtype)
    specs = {
        engine: RunSpec(
            engine=engine,
            model=setting.model,
            dtype=dtype,
            batch_size=batch if engine == "transformers" else BOOK_WORKLOAD.num_prompts,
            workload=BOOK_WORKLOAD.as_dict(),
            threads=setting.threads,
            device=setting.device,
        )
        for engine in setting.engines
    }
    standings = contest(
        setting,
        name,
        "book",
        lambda engine: {"spec": specs[engine].as_dict(), "single": SINGLE},
        lambda r: (
            f"{BOOK_WORKLOAD.num_output_tokens / r['wall_s']:,.0f} tok/s, "
            f"alone {r['single']['mean_s'] * 1e3:.2f} ms a token"
        ),
    )
    agreement = _agreement(setting, dtype, standings, specs)
    rate = figures(standings, lambda r: BOOK_WORKLOAD.num_output_tokens / r["wall_s"])
    cpu = figures(standings, lambda r: BOOK_WORKLOAD.num_output_tokens / r["cpu_s"])
    alone = figures(standings, lambda r: r["single"]["mean_s"] * 1e3)
    bare = [r["bare_forward_s"] * 1e3 for r in standings["mini_vllm"].results]
    return [
        {
            "id": f"throughput-{dtype}",
            "work": f"book model, 64 requests, prompts 32 to 512, 128 new tokens, {dtype}",
            "unit": "tok/s",
            "better": "higher",
            "engines": rate,
            "by_cpu_time": cpu,
            "agreement": agreement,
            "transformers_batches": sweep,
            "transformers_batch": batch,
            **_throughput_goals(rate, agreement),
        },
        {
            "id": f"single-{dtype}",
            "work": f"book model, one request, prompt 128, time per token, {dtype}",
            "unit": "ms",
            "better": "lower",
            "engines": alone,
            "bare_forward": {"median": median(bare), "runs": bare} if bare else None,
            **_single_goals(alone, bare),
        },
    ]


def _throughput_goals(
    engines: Mapping[str, Mapping[str, Any]], agreement: Mapping[str, str]
) -> dict[str, Any]:
    ours = engines["mini_vllm"].get("median")
    vllm = best_vllm(engines, "higher")
    static = engines.get("transformers", {}).get("median")
    void = any(text.startswith("VOID") for text in agreement.values())
    reached = None
    if ours and vllm and static:
        reached = ours >= vllm and ours >= 3.4 * static and not void
    return {
        "must": goal("1.0 x the faster vLLM and 3.4 x transformers' best batch", reached),
        "aim": goal("2 x the faster vLLM", ours >= 2 * vllm if ours and vllm else None),
    }


def _single_goals(engines: Mapping[str, Mapping[str, Any]], bare: list[float]) -> dict[str, Any]:
    ours, vllm = engines["mini_vllm"].get("median"), best_vllm(engines, "lower")
    aim = ours <= 1.2 * median(bare) if ours and bare else None
    return {
        "must": goal("0.5 x the faster vLLM", ours <= vllm / 2 if ours and vllm else None),
        "aim": goal("1.2 x the forward pass alone", aim),
    }


def qwen(setting: Setting) -> list[dict[str, Any]]:
    """A 0.6B-shaped Qwen3 with random weights in bfloat16, at batch 1 and 16."""
    checkpoint = setting.scratch / "qwen3-0.6b-random"
    if not (checkpoint / "model.safetensors").is_file():
        setting.tell("writing 0.6 billion random weights, once")
        write_random_checkpoint(checkpoint, QWEN3_0_6B_SHAPE, spread=0.02)
    memory = None
    if setting.device == "cpu":
        tries = [
            setting.call("bandwidth", {"threads": setting.threads}, threads=setting.threads)
            for _ in range(setting.repeats)
        ]
        memory = max(result["bytes_per_s"] for result in tries)
        setting.tell(f"memory reads at {memory / 2**30:.1f} GiB/s")

    def arguments(engine: str) -> dict[str, Any]:
        spec = RunSpec(
            engine=engine,
            model=str(checkpoint),
            dtype="bfloat16",
            batch_size=16,
            workload=QWEN_WORKLOAD.as_dict(),
            threads=setting.threads,
            device=setting.device,
        )
        length = {"prompt_len": 128, "num_new_tokens": QWEN_WORKLOAD.num_new_tokens}
        return {"spec": spec.as_dict(), "batches": [1, 16], **length}

    standings = contest(
        setting,
        "qwen3-0.6b",
        "decode",
        arguments,
        lambda r: (
            ", ".join(f"batch {n}: {b['tokens_per_s']:.1f}" for n, b in r["batches"].items())
            + " tok/s"
        ),
    )
    # Tied, so every weight is read once a token: in the layers, or as the output head.
    weights = (checkpoint / "model.safetensors").stat().st_size
    read_s = weights / memory if memory else None
    return [_qwen_row(size, standings, read_s, memory) for size in (1, 16)]


def _qwen_row(
    size: int, standings: Mapping[str, Standing], read_s: float | None, memory: float | None
) -> dict[str, Any]:
    engines = figures(standings, lambda r: r["batches"][str(size)]["tokens_per_s"])
    ours, vllm = engines["mini_vllm"].get("median"), best_vllm(engines, "higher")
    share = ours * read_s / size if ours and read_s else None
    limit = None
    if read_s:
        limit = {"tokens_per_s": size / read_s, "share": share, "bytes_per_s": memory}
    if size == 1:
        aim = goal("70% of what memory allows", None if share is None else share >= 0.7)
    else:
        aim = goal("1.2 x the faster vLLM", ours >= 1.2 * vllm if ours and vllm else None)
    return {
        "id": f"qwen3-0.6b-batch-{size}",
        "work": f"0.6B-shaped Qwen3, random weights, bfloat16, batch {size}, 128 in, decode",
        "unit": "tok/s",
        "better": "higher",
        "engines": engines,
        "limit": limit,
        "must": goal("1.0 x the faster vLLM", ours >= vllm if ours and vllm else None),
        "aim": aim,
    }


def limits(setting: Setting) -> list[dict[str, Any]]:
    """What no engine can pass on this machine: bytes read and operations done in a second."""
    if setting.device != "cpu":
        setting.tell("limits: not run: only the CPU's are measured here")
        return []
    threads = {"threads": setting.threads}
    read = [
        setting.call("bandwidth", threads, threads=setting.threads) for _ in range(setting.repeats)
    ]
    done = [
        setting.call("products", threads, threads=setting.threads) for _ in range(setting.repeats)
    ]
    return [
        {
            "id": "limits",
            "work": "what the machine can do",
            "unit": "",
            "better": "higher",
            "engines": {"mini_vllm": {"status": "ran"}},
            "bytes_per_s": max(one["bytes_per_s"] for one in read),
            "flop_per_s": {name: max(one[name] for one in done) for name in done[0]},
        }
    ]


def start(setting: Setting) -> list[dict[str, Any]]:
    """From an empty process to the first token of a text, files already in the system's cache."""

    def arguments(engine: str) -> dict[str, Any]:
        return {
            "engine": engine,
            "model": setting.model,
            "dtype": "float32",
            "prompt": "def schedule(self",
            "device": setting.device,
        }

    # Compiling takes a minute and helps nobody to start.
    engines = tuple(e for e in setting.engines if e != "vllm-compiled")
    setting = replace(setting, engines=engines)
    # A start that is not counted brings the files into memory.
    setting.run("mini_vllm", "first-token", arguments("mini_vllm"), "start: warming the file cache")
    standings = contest(
        setting, "start", "first-token", arguments, lambda r: f"{r['spawned_s']:.2f} s"
    )
    found = figures(standings, lambda r: r["spawned_s"])
    ours = found["mini_vllm"].get("median")
    return [
        {
            "id": "start",
            "work": "from an empty process to the first token, book model, warm file cache",
            "unit": "s",
            "better": "lower",
            "engines": found,
            "must": goal("5 s", ours <= 5 if ours else None),
            "aim": goal("2 s", ours <= 2 if ours else None),
        }
    ]


def _best_transformers_batch(setting: Setting, dtype: str) -> tuple[int, dict[str, Any]]:
    """Its best static batch, by one run of each; the runs that count come later."""
    rates: dict[str, Any] = {}
    if "transformers" not in setting.engines:
        return TRANSFORMERS_BATCHES[-1], rates
    for size in TRANSFORMERS_BATCHES:
        spec = RunSpec(
            engine="transformers",
            model=setting.model,
            dtype=dtype,
            batch_size=size,
            workload=BOOK_WORKLOAD.as_dict(),
            threads=setting.threads,
            device=setting.device,
        )
        label = f"book-{dtype}: transformers, looking for its best batch, {size}"
        result = setting.run("transformers", "throughput", {"spec": spec.as_dict()}, label)
        rates[str(size)] = BOOK_WORKLOAD.num_output_tokens / result["wall_s"]
        setting.tell(f"{label}: {rates[str(size)]:,.0f} tok/s")
    return int(max(rates, key=rates.__getitem__)), rates


def _agreement(
    setting: Setting, dtype: str, standings: Mapping[str, Standing], specs: Mapping[str, RunSpec]
) -> dict[str, str]:
    """Each engine's tokens beside ours, and our runs beside each other."""
    if not standings["mini_vllm"].ran:
        return {}
    runs = [result["token_ids"] for result in standings["mini_vllm"].results]
    same = all(run == runs[0] for run in runs)
    found = {"mini_vllm": "all runs alike" if same else "VOID: runs differ from each other"}
    from mini_vllm.config import ModelConfig

    prompts = BOOK_WORKLOAD.prompts(ModelConfig.from_checkpoint(setting.model).vocab_size)
    oracle = RunSpec(**{**specs["mini_vllm"].as_dict(), "engine": "transformers"}).as_dict()

    def gap(tokens: list[int]) -> float:
        return setting.run("transformers", "gap", {"spec": oracle, "tokens": tokens}, "gap")["gap"]

    for name, standing in standings.items():
        if name != "mini_vllm" and standing.ran:
            judge = gap if dtype == "float32" else None
            theirs = standing.results[0]["token_ids"]
            found[name] = str(agree(prompts, runs[0], theirs, judge))
            setting.tell(f"book-{dtype}: {name}: same answers: {found[name]}")
    return found


def _has(engines: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    return "median" in engines.get(name, {})
