r"""How long does one batch take, from hand to hand?

`--batch-size` prompts of `--input-len` tokens are handed over, and the clock stops when each has
its `--output-len` tokens. That is the time of a job, not of a user: nobody arrives while it runs.
Each repeat is a fresh process with its own warm-up and several iterations; the percentiles are over
all iterations, and the medians of the processes are what `bench compare` compares.

Was it the change, or the neighbour on the same machine? Give another checkout of the repository,
and the two take turns, process by process, so that a noisy minute disturbs both alike:

```console
$ git worktree add ../before main
$ mini_vllm bench latency book/model/checkpoint --text --repeats 7 \
      --json after.json --beside ../before --beside-json before.json
$ mini_vllm bench compare before.json after.json
```

The tokenizer is left out, as it is in every comparison with other engines; `--text` takes it in.

Upstream: {up}`vllm/benchmarks/latency.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from mini_vllm.bench.child import ChildError, call_in_child
from mini_vllm.bench.environment import describe_environment, headline
from mini_vllm.bench.measurement import RunSpec
from mini_vllm.bench.workload import Workload

#: Options that say where, and not what, is measured.
_PLACES = ("json", "beside", "beside_json", "command")
PERCENTILES = (10, 25, 50, 75, 90, 99)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", help="a checkpoint directory")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--input-len", type=int, default=32)
    parser.add_argument("--output-len", type=int, default=128)
    parser.add_argument("--num-iters-warmup", type=int, default=2)
    parser.add_argument("--num-iters", type=int, default=5, help="timed, in each process")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--text", action="store_true", help="make the answers' text as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    parser.add_argument(
        "--beside", type=Path, metavar="FOLDER", help="another checkout, measured in turn with this"
    )
    parser.add_argument("--beside-json", type=Path, metavar="FILE", help="write its record there")


def main(args: argparse.Namespace, call: Callable[..., dict[str, Any]] = call_in_child) -> int:
    """Measure and report; 1 when a process failed."""
    workload = Workload(args.batch_size, args.input_len, args.input_len, args.output_len)
    spec = RunSpec(
        engine="mini_vllm",
        # A child of another checkout runs in that folder.
        model=str(Path(args.model).resolve()) if args.beside else args.model,
        dtype=args.dtype,
        batch_size=args.batch_size,
        workload=workload.as_dict(),
        threads=args.threads,
        device=args.device,
        text=args.text,
    )
    arguments = {
        "spec": spec.as_dict(),
        "batch_size": args.batch_size,
        "input_len": args.input_len,
        "output_len": args.output_len,
        "warmups": args.num_iters_warmup,
        "iters": args.num_iters,
    }
    if args.beside and not (args.beside / "mini_vllm").is_dir():
        print(f"bench latency: {args.beside} is no checkout: no mini_vllm in it", file=sys.stderr)
        return 1
    trees: list[Path | None] = [args.beside.resolve(), None] if args.beside else [None]
    runs: dict[Path | None, list[dict[str, Any]]] = {tree: [] for tree in trees}
    for number in range(1, args.repeats + 1):
        # Turn and turn about: whoever went first in one pair goes second in the next.
        for tree in trees if number % 2 else reversed(trees):
            options = {"label": spec.label, "threads": args.threads}
            try:
                run = call("latency", arguments, **options, **({"checkout": tree} if tree else {}))
            except ChildError as error:
                print(f"bench latency: {error}", file=sys.stderr)
                return 1
            runs[tree].append(run)
            where = f" in {args.beside}" if tree else ""
            middle = median(run["latencies_s"])
            print(f"process {number} of {args.repeats}{where}: {middle:.4f} s", file=sys.stderr)
    for tree in trees:
        record = summarize(runs[tree], args, tree)
        _report(record, args)
        file = args.beside_json if tree else args.json
        if file:
            file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def _report(record: dict[str, Any], args: argparse.Namespace) -> None:
    print(headline(record["environment"]))
    print(
        f"{args.batch_size} prompts of {args.input_len} tokens, {args.output_len} new ones each, "
        f"{args.dtype}, {args.threads} thread(s)\n"
    )
    print(f"mean {record['mean_s']:.4f} s over {record['count']} batches")
    for name, value in record["percentiles_s"].items():
        print(f"{name:>4} {value:.4f} s")


def summarize(
    runs: list[dict[str, Any]], args: argparse.Namespace, checkout: Path | None = None
) -> dict[str, Any]:
    """All latencies together, and the median of each process; of which checkout, if another."""
    every = [second for run in runs for second in run["latencies_s"]]
    settings = {k: v for k, v in vars(args).items() if k not in _PLACES}
    settings["beside"] = args.beside is not None
    return {
        "benchmark": "latency",
        "command": "python -m mini_vllm.bench latency",
        "environment": describe_environment(checkout),
        "settings": settings,
        "count": len(every),
        "mean_s": fmean(every),
        "percentiles_s": {f"p{p}": float(np.percentile(every, p)) for p in PERCENTILES},
        "metrics": {
            "latency": {
                "unit": "s",
                "better": "lower",
                "runs": [median(run["latencies_s"]) for run in runs],
            },
            "CPU time": {
                "unit": "s",
                "better": "lower",
                "runs": [median(run["cpu_s"]) for run in runs],
            },
        },
        "runs": runs,
    }
