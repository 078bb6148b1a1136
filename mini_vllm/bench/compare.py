r"""Did the change make it faster, or was it the weather?

```console
$ python -m mini_vllm.bench compare before.json after.json
```

prints a table for a pull request. The figures of both are medians over their runs, and beside each
stands its spread, from the least run to the greatest. There is a verdict only where the two spreads
do not touch; otherwise the difference is within what the same code shows from one run to the next.

That rule is a test, the crudest there is, and its error is known exactly. If nothing had changed,
all runs would come from one distribution, and the $n$ runs of one side would lie entirely above the
$m$ of the other, or entirely below, with probability

$$\frac{2}{\binom{n+m}{n}}.$$

With three runs each that is one comparison in ten, with five one in 126. The table says it. And it
holds for one figure; who looks at twenty will find two by chance.

Both records must have measured the same thing: other settings, or another machine, and the table
begins by saying so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

#: Fewer runs than this on either side, and there is no verdict.
LEAST_RUNS = 3


class RecordError(ValueError):
    """A file that is no record of a benchmark, or two that have nothing in common."""


def read(path: Path) -> dict[str, Any]:
    r"""A record by `latency`, `throughput`, `serve` or `side-by-side`: its `metrics` and its place.

    Raises {py:class}`RecordError` for anything else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path.name} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise RecordError(f"{path.name} is no record of a benchmark")
    if "metrics" in record:
        return record
    rows = record.get("values", {}).get("rows")
    if rows is None:
        raise RecordError(f"{path.name} has no metrics: it is no record of a benchmark")
    metrics = {
        row["work"]: {
            "unit": row["unit"],
            "better": row["better"],
            "runs": row["engines"]["mini_vllm"]["runs"],
        }
        for row in rows
        if "runs" in row["engines"].get("mini_vllm", {})
    }
    commits = sorted({row["commit"] or "unknown" for row in rows})
    environment = {"processor": record["machine"], "commit": ", ".join(commits)}
    return {"benchmark": "side-by-side", "environment": environment, "metrics": metrics}


def by_chance(before: int, after: int) -> float:
    """How often so many runs of the same code fall apart into two separate groups."""
    return 2 / comb(before + after, before)


def verdict(better: str, before: Sequence[float], after: Sequence[float]) -> str:
    """`"better"`, `"worse"`, or why neither can be said."""
    if min(len(before), len(after)) < LEAST_RUNS:
        return f"not judged: {min(len(before), len(after))} run(s)"
    if min(after) > max(before):
        return "better" if better == "higher" else "worse"
    if max(after) < min(before):
        return "worse" if better == "higher" else "better"
    return "within noise"


def table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The two records as Markdown, with what they do not have in common."""
    if before["benchmark"] != after["benchmark"]:
        raise RecordError(f"{before['benchmark']} cannot be compared with {after['benchmark']}")
    common = [name for name in before["metrics"] if name in after["metrics"]]
    if not common:
        raise RecordError("the two records have no figure in common")
    lines = differences(before, after)
    lines += [
        "| figure | before | after | after / before | verdict |",
        "|---|---|---|---|---|",
    ]
    chances = []
    for name in common:
        one, other = before["metrics"][name], after["metrics"][name]
        chances.append(by_chance(len(one["runs"]), len(other["runs"])))
        low, high = median(one["runs"]), median(other["runs"])
        ratio = f"{high / low:.3f} x" if low else "n/a"
        cells = [
            f"{name}, {one['unit']}" if one["unit"] else name,
            _figure(one["runs"]),
            _figure(other["runs"]),
            ratio,
            verdict(one["better"], one["runs"], other["runs"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for name in sorted(set(before["metrics"]) ^ set(after["metrics"])):
        lines.append(f"| {name} | | | only in one | |")
    lines += [
        "",
        "Median (least to greatest run). A verdict needs spreads that do not touch; runs of the "
        f"same code part like that in {max(chances):.1%} of comparisons.",
    ]
    return "\n".join(lines)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What else was different: commit, machine, settings; one line each, then an empty one."""
    lines = []
    one, other = before["environment"], after["environment"]
    lines.append(f"Before: `{one.get('commit')}`. After: `{other.get('commit')}`.")
    for key in ("processor", "cores", "python", "packages"):
        if one.get(key) != other.get(key):
            lines.append(f"**Not the same {key}**: {one.get(key)} and {other.get(key)}.")
    ours, theirs = before.get("settings", {}), after.get("settings", {})
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            lines.append(f"**Not the same {key}**: {ours.get(key)} and {theirs.get(key)}.")
    return [*lines, ""]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)


def main(args: argparse.Namespace) -> int:
    """Print the table; 2 for files that cannot be compared."""
    try:
        print(table(read(args.before), read(args.after)))
    except (RecordError, OSError) as error:
        print(f"bench compare: {error}")
        return 2
    return 0


def _figure(runs: Sequence[float]) -> str:
    return f"{median(runs):.4g} ({min(runs):.4g} to {max(runs):.4g})"
