r"""Output tokens per second, side by side.

The table's last column is the one to look at: each row's rate relative to this engine's
counterpart at the same batch size, and to transformers at its best. A row is void when its tokens
are not those of the row that it is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mini_vllm.bench.agreement import EPSILON, agree
from mini_vllm.bench.child import run_in_child
from mini_vllm.bench.environment import describe_environment, headline
from mini_vllm.bench.measurement import Row, Run, RunSpec
from mini_vllm.bench.random_checkpoint import write_random_checkpoint
from mini_vllm.bench.workload import Workload


@dataclass(frozen=True)
class Plan:
    """What to measure: this engine at one batch size, transformers at several."""

    model: str
    dtype: str = "float32"
    batch_size: int = 64
    transformers_batches: tuple[int, ...] = (1, 8, 16, 64)
    reps: int = 3
    transformers_reps: int = 1
    threads: int = 1
    workload: Workload = field(default_factory=Workload)

    def specs(self) -> list[tuple[RunSpec, int]]:
        """The things to measure, each with its number of runs, this engine first."""
        ours = RunSpec(
            engine="mini_vllm",
            model=self.model,
            dtype=self.dtype,
            batch_size=self.batch_size,
            workload=self.workload.as_dict(),
            threads=self.threads,
        )
        theirs = [
            (replace(ours, engine="transformers", batch_size=size), self.transformers_reps)
            for size in self.transformers_batches
        ]
        return [(ours, self.reps), *theirs]


def measure(
    plan: Plan,
    run: Callable[[RunSpec], Run] = run_in_child,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Measure all of `plan`, and compare tokens; `tell` hears of the progress."""
    rows = []
    for spec, reps in plan.specs():
        runs = []
        for rep in range(reps):
            runs.append(run(spec))
            tell(f"{spec.label}, run {rep + 1} of {reps}: {runs[-1].wall_s:.2f} s")
        rows.append(Row(spec, runs))
    ours, *theirs = rows
    ours.agreement = _compare_runs(ours)
    for row in theirs:
        row.agreement = compare(ours.runs[0].token_ids, row)
    return rows


def compare(token_ids: list[list[int]], row: Row) -> str:
    r"""How the tokens of `row` compare with `token_ids`: `"64 of 64"`, with near-ties, or void.

    Only float32 can be held to it; in other types two right implementations differ.
    """
    other = row.runs[0].token_ids
    if token_ids == other or row.spec.dtype != "float32":
        return str(agree([], token_ids, other, None))
    from mini_vllm.bench.engines import gap_after

    prompts = Workload(**row.spec.workload).prompts(_vocab_size(row.spec.model))
    return str(agree(prompts, token_ids, other, partial(gap_after, row.spec), EPSILON))


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    ours, *theirs = rows
    best = max(theirs, key=lambda row: row.tokens_per_s, default=None)
    lines = [
        "| engine | runs | tok/s | range | tok/s of CPU time | same tokens | mini_vllm is |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = [run.num_tokens / run.wall_s for run in row.runs]
        ratio = "" if row is ours else f"{ours.tokens_per_s / row.tokens_per_s:.2f} x"
        if row is best:
            ratio += " (its best)"
        lines.append(
            f"| {row.spec.label} | {len(row.runs)} | {row.tokens_per_s:,.0f} | "
            f"{min(rates):,.0f} to {max(rates):,.0f} | {row.tokens_per_cpu_s:,.0f} | "
            f"{row.agreement} | {ratio} |"
        )
    return "\n".join(lines)


def record(plan: Plan, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that was measured, and where, as JSON can hold it."""
    return {
        "benchmark": "throughput",
        "command": "python -m mini_vllm.bench throughput",
        "environment": describe_environment(),
        "settings": {"batch_size": plan.batch_size, **plan.workload.as_dict()},
        "metrics": {
            row.spec.label: {
                "unit": "tok/s",
                "better": "higher",
                "runs": [run.num_tokens / run.wall_s for run in row.runs],
            }
            for row in rows
        },
        "workload": plan.workload.as_dict(),
        "dtype": plan.dtype,
        "threads": plan.threads,
        "rows": [row.as_dict() for row in rows],
    }


def is_void(rows: Sequence[Row]) -> bool:
    """Whether any row's tokens were not what they should be."""
    return any(row.agreement.startswith("VOID") for row in rows)


def noisy(rows: Sequence[Row], limit: float = 1.15) -> bool:
    """Whether wall-clock time exceeded CPU time so much that the machine was shared."""
    return any(run.wall_s > limit * run.cpu_s for row in rows for run in row.runs)


def _compare_runs(row: Row) -> str:
    same = all(run.token_ids == row.runs[0].token_ids for run in row.runs)
    return "all runs alike" if same else "VOID: runs differ from each other"


def _vocab_size(model: str) -> int:
    from mini_vllm.config import ModelConfig

    return ModelConfig.from_checkpoint(model).vocab_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "model", nargs="?", help="a checkpoint directory; none: random weights in the book's shape"
    )
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--num-prompts", type=int, default=64)
    parser.add_argument("--min-len", type=int, default=32, help="shortest prompt, in tokens")
    parser.add_argument("--max-len", type=int, default=512, help="longest prompt, in tokens")
    parser.add_argument("--num-new-tokens", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64, help="most running requests")
    parser.add_argument(
        "--transformers-batches",
        type=int,
        nargs="*",
        default=[1, 8, 16, 64],
        metavar="N",
        help="its static batch sizes; empty: do not run it",
    )
    parser.add_argument("--reps", type=int, default=3, help="runs of mini_vllm")
    parser.add_argument("--transformers-reps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")


def main(args: argparse.Namespace) -> int:
    """Measure, print the table; exit status 1 when a row is void."""
    with tempfile.TemporaryDirectory() as scratch:
        plan = Plan(
            model=args.model or str(write_random_checkpoint(Path(scratch) / "random")),
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
        rows = measure(plan, tell=lambda line: print(line, file=sys.stderr))
    result = record(plan, rows)
    print(
        f"{headline(result['environment'])}; {plan.threads} thread(s)\n"
        f"{args.model or 'random weights'}, {plan.dtype}, {plan.workload.num_prompts} prompts of "
        f"{plan.workload.min_len} to {plan.workload.max_len} tokens, "
        f"{plan.workload.num_new_tokens} new ones each, seed {plan.workload.seed}\n"
    )
    print(table(rows))
    if noisy(rows):
        print(
            "\nWall-clock and CPU time differ: the machine was shared. Compare by CPU time, or "
            "run it again on a quiet one."
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if is_void(rows) else 0
