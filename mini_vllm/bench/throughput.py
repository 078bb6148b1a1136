r"""Output tokens per second, side by side.

The table's last column is the one to look at: each row's rate relative to this engine's
counterpart at the same batch size, and to transformers at its best. A row is void when its tokens
are not those of the row that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mini_vllm.bench.child import run_in_child
from mini_vllm.bench.environment import describe_environment
from mini_vllm.bench.measurement import Row, Run, RunSpec
from mini_vllm.bench.workload import Workload

#: In float32, a differing token passes if transformers' two best logits are closer than this.
EPSILON = 1e-4


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
    differing = [i for i, (a, b) in enumerate(zip(token_ids, other, strict=True)) if a != b]
    same = f"{len(other) - len(differing)} of {len(other)}"
    if not differing or row.spec.dtype != "float32":
        return same
    from mini_vllm.bench.engines import gap_after

    prompts = Workload(**row.spec.workload).prompts(_vocab_size(row.spec.model))
    for i in differing:
        place = next(p for p, (a, b) in enumerate(zip(token_ids[i], other[i])) if a != b)
        gap = gap_after(row.spec, [*prompts[i], *other[i][:place]])
        if gap >= EPSILON:
            return f"VOID: {same}, gap {gap:.1e} at token {place} of prompt {i}"
    return f"{same}, the rest near-ties"


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
        "environment": describe_environment(),
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
