r"""`python -m mini_vllm.bench throughput CHECKPOINT`: see {py:mod}`mini_vllm.bench`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mini_vllm.bench import throughput
from mini_vllm.bench.random_checkpoint import write_random_checkpoint
from mini_vllm.bench.workload import Workload


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mini_vllm.bench")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "throughput", help="output tokens per second beside transformers' generate"
    )
    command.add_argument(
        "model", nargs="?", help="a checkpoint directory; none: random weights in the book's shape"
    )
    command.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    command.add_argument("--num-prompts", type=int, default=64)
    command.add_argument("--min-len", type=int, default=32, help="shortest prompt, in tokens")
    command.add_argument("--max-len", type=int, default=512, help="longest prompt, in tokens")
    command.add_argument("--num-new-tokens", type=int, default=128)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--batch-size", type=int, default=64, help="most running requests")
    command.add_argument(
        "--transformers-batches",
        type=int,
        nargs="*",
        default=[1, 8, 16, 64],
        metavar="N",
        help="its static batch sizes; empty: do not run it",
    )
    command.add_argument("--reps", type=int, default=3, help="runs of mini_vllm")
    command.add_argument("--transformers-reps", type=int, default=1)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; exit status 1 when a row is void."""
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        model = args.model or str(write_random_checkpoint(Path(scratch) / "random"))
        plan = throughput.Plan(
            model=model,
            dtype=args.dtype,
            batch_size=args.batch_size,
            transformers_batches=tuple(args.transformers_batches),
            reps=args.reps,
            transformers_reps=args.transformers_reps,
            threads=args.threads,
            workload=Workload(
                args.num_prompts, args.min_len, args.max_len, args.num_new_tokens, args.seed
            ),
        )
        rows = throughput.measure(plan, tell=lambda line: print(line, file=sys.stderr))
    result = throughput.record(plan, rows)
    environment = result["environment"]
    packages = ", ".join(f"{name} {v}" for name, v in environment["packages"].items() if v)
    print(
        f"{environment['processor']}, {environment['cores']} cores, {plan.threads} thread(s); "
        f"Python {environment['python']}, {packages}; commit {environment['commit']}\n"
        f"{args.model or 'random weights'}, {plan.dtype}, {plan.workload.num_prompts} prompts of "
        f"{plan.workload.min_len} to {plan.workload.max_len} tokens, "
        f"{plan.workload.num_new_tokens} new ones each, seed {plan.workload.seed}\n"
    )
    print(throughput.table(rows))
    if throughput.noisy(rows):
        print(
            "\nWall-clock and CPU time differ: the machine was shared. Compare by CPU time, or "
            "run it again on a quiet one."
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if throughput.is_void(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
