"""Run this engine's scheduler and the pinned one side by side on random workloads.

    python tests/engine_core/pinned_scheduler/differential.py --workloads 1000

Every workload that has ever failed is run first (`kept.json`). Then come fresh seeds, drawn from
the clock and printed, so that each run looks somewhere else; `--first-seed` repeats a run. At a
difference the seed is printed, the workload is shrunk to what cannot be left out, and both are
kept. A run that has seen too little of anything fails as well. `--record` writes what the book's
page prints.
"""

# ruff: noqa: E402 (a script in a folder that is no package finds its neighbours first)

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for folder in map(str, (HERE.parent, HERE.parents[2])):
    if folder not in sys.path:
        sys.path.append(folder)

from pinned_scheduler.coverage import Coverage
from pinned_scheduler.intended_differences import TABLE
from pinned_scheduler.lockstep import Difference, compare
from pinned_scheduler.our_adapter import OurAdapter
from pinned_scheduler.replay import Adapter
from pinned_scheduler.shrink import describe, shrink
from pinned_scheduler.upstream_defects import DEFECTS, outcome
from pinned_scheduler.workload import GENERATOR, workload

from upstream_anchors import importing
from upstream_anchors.pin import the_pin

KEPT = HERE / "kept.json"
#: The book's page prints this file.
RECORD = HERE.parents[2] / "book" / "reference" / "differential.json"
FULL_RUN = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit status 1 at a difference, or when too little was seen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workloads", type=int, default=FULL_RUN, metavar="N")
    parser.add_argument("--first-seed", type=int, metavar="SEED", help="default: from the clock")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    args = parser.parse_args(argv)
    first = args.first_seed if args.first_seed is not None else int(time.time()) * 1000
    importing.use_the_pinned_tree()
    from pinned_scheduler.upstream_adapter import UpstreamAdapter

    ours, pinned = OurAdapter(), UpstreamAdapter()
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    for entry in kept:
        if (difference := compare(entry["workload"], ours, pinned)) is not None:
            print(f"a kept workload fails again ({entry['found']})\n{difference}")
            return 1
    print(f"{len(kept)} kept workloads, then seeds {first} to {first + args.workloads - 1}")

    coverage, started = Coverage(), time.perf_counter()
    for index in range(args.workloads):
        one = workload(first + index)
        if (difference := compare(one, ours, pinned, coverage)) is not None:
            print(report(keep(one, difference, ours, pinned, KEPT), ours, pinned))
            return 1
        if (index + 1) % 250 == 0:
            print(f"{index + 1} workloads, {time.perf_counter() - started:.0f} s", flush=True)
    print(coverage.table())
    print(
        f"{args.workloads} workloads, {coverage.counts['steps']:,} steps, "
        f"{coverage.num_decisions:,} decisions and places: no difference"
        + (f"; without an end on both sides: {coverage.endless}" if coverage.endless else "")
    )
    if problems := coverage.too_little():
        print("too little was seen:\n  " + "\n  ".join(problems))
        return 1
    if args.record:
        write_record(first, coverage, time.perf_counter() - started, ours, pinned)
    return 0


def keep(
    failing: dict[str, Any],
    difference: Difference,
    ours: OurAdapter,
    pinned: Adapter,
    file: Path,
) -> dict[str, Any]:
    """Shrink a failing workload, and add it to those that every later run begins with."""
    print(difference, flush=True)
    fields = difference.fields.keys()

    def still_fails(candidate: dict[str, Any]) -> bool:
        found = compare(candidate, ours, pinned)
        # Not some other failure that shrinking has run into.
        return found is not None and bool(found.fields.keys() & fields)

    small = shrink(failing, still_fails)
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept.append(
        {
            "seed": failing["seed"],
            "generator": GENERATOR,
            "found": date.today().isoformat(),
            "fields": sorted(fields),
            "workload": small,
        }
    )
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return small


def report(small: dict[str, Any], ours: OurAdapter, pinned: Adapter) -> str:
    """The shrunk workload, and where the two part in it."""
    return (
        f"\nshrunk, and kept in {KEPT.name}:\n\n{describe(small)}\n\n{compare(small, ours, pinned)}"
    )


def rows() -> list[dict[str, str]]:
    """The table of intended differences as JSON can hold it."""
    names = ("field", "ours", "pinned", "evened_out", "anchor")
    return [{name: getattr(row, name) for name in names} for row in TABLE]


def write_record(
    first: int, coverage: Coverage, seconds: float, ours: OurAdapter, pinned: Adapter
) -> None:
    """What the book says of the last full run."""
    workloads = coverage.num_workloads
    if workloads < FULL_RUN:
        raise SystemExit(f"a full run has {FULL_RUN} workloads or more, not {workloads}")
    record = {
        "what": "this engine's scheduler beside the pinned one, step for step: no difference",
        "command": "python tests/engine_core/pinned_scheduler/differential.py "
        f"--workloads {workloads} --first-seed {first} --record",
        "taken": date.today().isoformat(),
        "pinned": the_pin().version,
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch")},
        "generator": GENERATOR,
        "first_seed": first,
        "last_seed": first + workloads - 1,
        "workloads": workloads,
        "kept_workloads": len(json.loads(KEPT.read_text(encoding="utf-8"))),
        "intended_differences": rows(),
        "defects": [
            {
                "id": defect.id,
                "claim": defect.claim,
                "anchor": defect.anchor,
                "ours": outcome(defect, ours),
                "pinned": outcome(defect, pinned),
            }
            for defect in DEFECTS
        ],
        "endless": [seed for seed, _ in coverage.endless],
        "decisions": coverage.num_decisions,
        "seconds": round(seconds),
        "seen": dict(sorted(coverage.counts.items())),
    }
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
