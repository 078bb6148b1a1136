r"""Timed results: taken on a named machine, committed, and drawn from the file.

A build asserts nothing about time. A page that shows a timing reads a committed measurement, and
says where it comes from:

```python
from book.measurements import measurement

result = measurement("batch-throughput")
ax.plot(result.values["batch"], result.values["tokens_per_second"])
```

and below the cell, `{measurement} batch-throughput` prints machine, versions, command and date.
Whoever takes a measurement writes it with {py:func}`book.measurements.record`, which refuses one
that does not say all of that, or that is a single run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("measurements")
LIBRARIES = ("torch", "transformers", "numba", "numpy", "vllm")


class MeasurementError(ValueError):
    """A measurement that is missing, or that does not say where it comes from."""


@dataclass(frozen=True)
class Measurement:
    """One committed measurement; `values` holds medians over `runs` runs."""

    name: str
    what: str
    command: str
    machine: str
    versions: dict[str, str]
    taken: str
    runs: int
    values: dict[str, Any]

    def __post_init__(self) -> None:
        for field in ("what", "command", "machine", "taken"):
            if not str(getattr(self, field)).strip():
                raise MeasurementError(f"measurement {self.name!r} does not say its {field}")
        if not self.versions or "python" not in self.versions:
            raise MeasurementError(f"measurement {self.name!r} names no versions")
        if self.runs < 3:
            raise MeasurementError(f"measurement {self.name!r}: median of {self.runs} runs, not 3+")
        if not self.values:
            raise MeasurementError(f"measurement {self.name!r} has no values")
        date.fromisoformat(self.taken)

    def provenance(self) -> str:
        """One sentence: median of how many runs, when, where, with what, by which command."""
        versions = ", ".join(f"{name} {number}" for name, number in sorted(self.versions.items()))
        return (
            f"Median of {self.runs} runs, {self.taken}, on {self.machine}; {versions}. "
            f"`{self.command}`"
        )


def measurement(name: str, folder: Path = FOLDER) -> Measurement:
    """Read a committed measurement; a missing or incomplete one is refused."""
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise MeasurementError(f"no measurement {name!r} in {folder.name}/; there are: {known}")
    data = json.loads(path.read_text(encoding="utf-8"))
    try:
        return Measurement(name=name, **data)
    except TypeError as problem:
        raise MeasurementError(f"measurement {name!r}: {problem}") from problem


def record(
    name: str,
    *,
    what: str,
    command: str,
    values: Mapping[str, Any],
    runs: int,
    machine: str | None = None,
    taken: str | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Write a measurement with the versions of this environment; returns the file."""
    made = Measurement(
        name=name,
        what=what,
        command=command,
        machine=machine or machine_name(),
        versions=versions(),
        taken=taken or date.today().isoformat(),
        runs=runs,
        values=dict(values),
    )
    data = asdict(made)
    del data["name"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def versions() -> dict[str, str]:
    """Python and the libraries that compute, as far as they are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine_name() -> str:
    """Processor and number of cores, as this system tells them."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores"
