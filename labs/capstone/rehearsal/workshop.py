r"""Where does the rehearsal keep its things, and which Python can import the pinned scheduler?

The tools themselves need no torch. The scheduler does, and some packages more, which the nox
session `rehearsal` puts beside the environment `full`. What is missing is said before anything is
run, with the command that brings it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capstone.errors import CapstoneError
from capstone.records import Journal, record_folder

#: The repository: `labs/capstone/rehearsal/workshop.py` is three folders below it.
ROOT = Path(__file__).resolve().parents[3]
INSIDE = Path(__file__).parent / "inside"
STARTUP = INSIDE / "startup"
TEMPLATES = Path(__file__).parent / "templates"

#: Asked of the worker's Python, since the tools may run in one that has no torch.
_PROBE = (
    "import importlib.util as u, sys;"
    "print(' '.join(n for n in sys.argv[1:] if u.find_spec(n) is None))"
)
#: Imported by the scheduler or by its tests, in the order in which their absence shows.
NEEDED = ("torch", "transformers", "pytest", "cbor2", "gguf", "llguidance", "xgrammar", "einops")

#: A setting of the caller's engine is not this one's; bytecode goes to a place of its own.
_NOT_PASSED_ON = ("VLLM_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Workshop:
    r"""The paths of one rehearsal; creates nothing by itself."""

    folder: Path
    root: Path = ROOT

    @classmethod
    def of(cls, root: Path = ROOT) -> Workshop:
        r"""The rehearsal of the repository at `root`."""
        return cls(record_folder(root) / "rehearsal", root)

    @property
    def tree(self) -> Path:
        r"""The sandbox: a git repository with the pinned tree as its first commit."""
        return self.folder / "tree"

    @property
    def hub(self) -> Path:
        r"""Stand-ins for the models that upstream's tests name: configurations, no weights."""
        return self.folder / "hub"

    @property
    def cache(self) -> Path:
        r"""What only saves time, such as bytecode: shared, and of no worth to anybody."""
        return record_folder(self.root) / "rehearsal-cache"

    @property
    def shown_folder(self) -> str:
        r"""The folder as one would type it at the repository's root."""
        inside = self.folder.is_relative_to(self.root)
        return str(self.folder.relative_to(self.root) if inside else self.folder)

    @property
    def journal(self) -> Journal:
        r"""What was tried and what came of it."""
        return Journal(self.folder / "journal.jsonl")

    def paper(self, name: str) -> Path:
        r"""A file that the learner writes, such as `plan.md`."""
        return self.folder / name

    def content(self, name: str) -> bytes:
        r"""What stands in such a file; nothing if there is none."""
        path = self.paper(name)
        return path.read_bytes() if path.is_file() else b""

    def need_sandbox(self) -> None:
        r"""Refuse to go on without `start`."""
        if not (self.tree / ".git").is_dir():
            raise CapstoneError(
                f"{self.tree}: no sandbox here yet; make it with `capstone rehearse start`"
            )

    def python(self) -> str:
        r"""The interpreter that has torch: this one, or the one of the environment `full`."""
        if _missing(sys.executable, self.environment(), ["torch"]):
            name = "Scripts/python.exe" if os.name == "nt" else "bin/python"
            full = self.root / ".nox" / "env-full" / name
            if full.exists():
                return str(full)
        return sys.executable

    def environment(self) -> dict[str, str]:
        r"""What a worker runs with: offline, one thread, and no bytecode left in a tree."""
        packages = self.root / ".nox" / "env-differential"
        path = [str(STARTUP), *([str(packages)] if packages.is_dir() else [])]
        path += [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        # A worker's working directory is not the repository, and it needs `upstream_anchors`.
        path.append(str(ROOT))
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)},
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONPYCACHEPREFIX": str(self.cache / "bytecode"),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            # Whatever else is installed beside pytest here is no part of upstream's tests.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_CACHE_ROOT": str(self.cache / "vllm"),
            "VLLM_CONFIG_ROOT": str(self.cache / "vllm"),
            "VLLM_LOGGING_LEVEL": "ERROR",
            # Its default is a library that the pin asks for and nothing here does.
            "VLLM_MM_HASHER_ALGORITHM": "sha256",
            "VLLM_NO_USAGE_STATS": "1",
        }

    def missing(self) -> list[str]:
        r"""Packages that the worker's Python lacks; empty when it can import the scheduler."""
        return _missing(self.python(), self.environment(), NEEDED)

    def need_packages(self) -> None:
        r"""Refuse to run a worker that would only fail at its first import."""
        if absent := self.missing():
            raise CapstoneError(
                f"{self.python()}: {', '.join(absent)} not installed; `nox -s rehearsal` makes an "
                f"environment that has all of it, once"
            )


def _missing(python: str, environment: dict[str, str], names: Sequence[str]) -> list[str]:
    command = [python, "-c", _PROBE, *names]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise CapstoneError(f"{python}: does not start: {done.stderr.strip()[-200:]}")
    return done.stdout.split()


def digest(*parts: str | bytes) -> str:
    r"""A short hash of what was checked, so that a later change of it is seen."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:16]
