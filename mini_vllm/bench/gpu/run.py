r"""All of it, on the device at hand.

```console
$ python -m mini_vllm.bench gpu --out book/measurements/gpu/DEVICE.json
```

The parts run one after the other, and each is written as soon as it is done: a part that fails is
named in the record and takes nothing from the others. `--parts kernels` picks some. Without a
device it fails before it does anything.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mini_vllm.bench.child import ChildError, call_in_child
from mini_vllm.bench.gpu import engines, kernels, record
from mini_vllm.bench.gpu.limits import cuda_limits
from mini_vllm.bench.gpu.timer import CudaTimer
from mini_vllm.errors import MiniVllmError

#: The published shapes that random weights take.
SHAPES = {"0.6B": "QWEN3_0_6B_SHAPE", "8B": "QWEN3_8B_SHAPE"}
#: A backend that is not installed says so itself.
BACKENDS = ("triton", "flash_attention", "flashinfer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--out", type=Path, default=None, help="the record to write")
    parser.add_argument("--parts", nargs="+", choices=["kernels", "steps", "throughput"])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--tests", type=Path, help="pytest's JUnit XML of the GPU tests")
    parser.add_argument("--commit", help="what was measured, where git cannot be asked")


def main(args: argparse.Namespace) -> int:
    """Run the parts; 1 if one failed, 2 without a device."""
    import torch

    if not torch.cuda.is_available():
        print("gpu: torch finds no CUDA device here, so NOTHING was measured", file=sys.stderr)
        return 2
    command = " ".join(["python -m mini_vllm.bench gpu", *_asked(args)])
    made = record.new_record(record.describe_device(), command)
    made["commit"] = args.commit or made["commit"]
    try:
        record.check_provenance(made)  # before the hour of measuring, not after it
    except record.RecordError as error:
        hint = "; --commit says it where git cannot" if not made["commit"] else ""
        print(f"gpu: {error}{hint}, so NOTHING was measured", file=sys.stderr)
        return 2
    slug = re.sub(r"[^a-z0-9]+", "-", made["device"]["name"].lower()).strip("-")
    out = args.out or record.FOLDER / f"{slug}.json"
    timer = CudaTimer()
    device = cuda_limits(made["device"]["name"], timer)
    made["limits"] = {"bytes_per_s": device.bandwidth, "operations_per_s": device.rate}
    if args.tests:
        made["tests"] = test_counts(args.tests)
    measures: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "kernels": lambda: [row.as_row(device) for row in _kernels(timer, made)],
        "steps": lambda: _on_shapes(args.shapes, _steps),
        "throughput": lambda: _on_shapes(args.shapes, _throughput),
    }
    made["failed"] = {}
    for part in args.parts or list(measures):
        print(f"== {part}", file=sys.stderr)
        try:
            made[part] = measures[part]()
        except (ChildError, MiniVllmError, RuntimeError, ValueError) as error:
            made["failed"][part] = str(error)
            print(f"{part}: FAILED: {error}", file=sys.stderr)
            continue
        record.write(made, out)
        print(f"{part}: written to {out}", file=sys.stderr)
    if any(made.get(part) for part in record.PARTS):
        record.write(made, out)
    return 1 if made["failed"] else 0


def _asked(args: argparse.Namespace) -> list[str]:
    # What of the command decided what was measured.
    parts = ["--parts", *args.parts] if args.parts else []
    return [*parts, *(["--shapes", *args.shapes] if args.shapes != list(SHAPES) else [])]


def test_counts(junit: Path) -> list[dict[str, Any]]:
    """How many tests passed, failed and were skipped, with the names of those that did not pass."""
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    named = []
    for case in cases:
        kinds = {child.tag for child in case}
        outcome = "skipped" if "skipped" in kinds else "passed"
        if kinds & {"failure", "error"}:
            outcome = "failed"
        counts[outcome] += 1
        if outcome != "passed":
            named.append(f"{outcome}: {case.get('classname')}::{case.get('name')}")
    return [{"name": "GPU tests", **counts, "not_passed": named}]


# pytest would collect it for its name.
test_counts.__test__ = False  # type: ignore[attr-defined]


def _kernels(timer: CudaTimer, made: dict[str, Any]) -> list[kernels.Measured]:
    import torch

    device, rows = torch.device("cuda", 0), []
    for backend in BACKENDS:
        try:
            rows += [
                kernels.measure_attention(n, backend, timer, device) for n in kernels.ATTENTION
            ]
        except MiniVllmError as obstacle:
            made.setdefault("not_run", {})[backend] = str(obstacle)
    for count in kernels.PRODUCT_ROWS:
        rows += [kernels.measure_product(count, by, timer, device) for by in ("vendor", "triton")]
    return rows


def _on_shapes(
    names: list[str], measure: Callable[[str, str], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    from mini_vllm.bench import random_checkpoint

    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            shape = getattr(random_checkpoint, SHAPES[name])
            random_checkpoint.write_random_checkpoint(Path(folder), shape, device="cuda")
            rows += measure(folder, name)
    return rows


def _call(task: str, arguments: dict[str, Any], label: str) -> dict[str, Any]:
    return call_in_child(task, arguments, label=label, threads=4, timeout_s=1800)


def _steps(model: str, name: str) -> list[dict[str, Any]]:
    return engines.steps(model, name, _call)


def _throughput(model: str, name: str) -> list[dict[str, Any]]:
    return [engines.throughput(model, name, _call)]
