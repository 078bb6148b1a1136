r"""What must a figure from a GPU say of itself, to be believed next year?

Which device, with which driver and CUDA; which versions; which commit, and a hash of the code,
since a commit does not know what was edited after it; which command, and when. A record that lacks
one of these is refused when it is written and again when it is read, so that a page cannot print
it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from mini_vllm.bench.environment import describe_environment, version

PACKAGE = Path(__file__).resolve().parents[2]
#: Where records lie, one file a device.
FOLDER = PACKAGE.parent / "book" / "measurements" / "gpu"
NEEDED = {
    "command": str,
    "commit": str,
    "code_hash": str,
    "taken": str,
    "device": dict,
    "versions": dict,
}
NEEDED_OF_A_DEVICE = ("name", "compute_capability", "driver", "cuda", "memory_bytes")
#: Whose kernels may have run, as packages are called; None in the record where one is not there.
KERNEL_PACKAGES = ("triton", "flash-attn", "flashinfer-python")
PARTS = ("kernels", "steps", "throughput", "tests")
#: What the project set out to reach: part, the row's name, the key, the least value.
AIMS = (
    ("kernels", "decode-attention", "share", 0.8),
    ("steps", "0.6B", "times", 3.0),
    ("throughput", "0.6B", "times", 3.0),
    ("throughput", "8B", "times", 3.0),
)


class RecordError(ValueError):
    """A record that does not say where its figures come from."""


def describe_device() -> dict[str, Any]:
    """The current CUDA device. Needs one."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "driver": _driver(),
        "cuda": torch.version.cuda,
    }


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        raise RecordError("nvidia-smi is not here, so the driver cannot be named")
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def code_hash(package: Path = PACKAGE) -> str:
    """A hash over all sources of the engine: what was really measured."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def new_record(device: dict[str, Any], command: str) -> dict[str, Any]:
    """A record with its provenance and without figures."""
    environment = describe_environment()
    return {
        "device": device,
        "command": command,
        "commit": environment["commit"] or "",
        "code_hash": code_hash(),
        "taken": date.today().isoformat(),
        "versions": {
            "python": environment["python"],
            **environment["packages"],
            **{name: version(name) for name in KERNEL_PACKAGES},
        },
        "limits": {},
    }


def check(record: dict[str, Any]) -> None:
    """Raise {py:class}`RecordError` unless the record has its provenance and some figure."""
    check_provenance(record)
    if not record.get("limits"):
        raise RecordError("the record does not say its limits")
    if not any(record.get(part) for part in PARTS):
        raise RecordError("the record holds no figure")


def check_provenance(record: dict[str, Any]) -> None:
    """Raise {py:class}`RecordError` unless the record says where its figures come from."""
    for name, kind in NEEDED.items():
        if not isinstance(record.get(name), kind) or not record[name]:
            raise RecordError(f"the record does not say its {name}")
    for name in NEEDED_OF_A_DEVICE:
        if not record["device"].get(name):
            raise RecordError(f"the record does not say its device's {name}")


def write(record: dict[str, Any], path: Path) -> None:
    """Check, then write whole or not at all."""
    check(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(path)


def records(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All records of a folder, newest first; an empty list where nothing was run."""
    found = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        check(record)
        found.append(record)
    return sorted(found, key=lambda record: record["taken"], reverse=True)


def verdicts(record: dict[str, Any]) -> list[dict[str, Any]]:
    r"""Each of {py:data}`AIMS` with the best figure that the record has for it, or None."""
    told = []
    for part, name, key, least in AIMS:
        rows: Sequence[dict[str, Any]] = record.get(part) or []
        values = [row[key] for row in rows if name in (row.get("name"), row.get("shape"))]
        best = max(values, default=None)
        told.append(
            {
                "part": part,
                "name": name,
                "aim": least,
                "found": best,
                "reached": None if best is None else best >= least,
            }
        )
    return told
