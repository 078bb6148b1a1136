r"""Where was this measured?

On this processor, with these versions, at this commit. A figure without them cannot be compared
with any other, including the one that the same person measures next month.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "numba", "numpy", "safetensors")


def describe_environment(checkout: Path | None = None) -> dict[str, Any]:
    """Processor, cores, load, Python, package versions and commit, as far as they can be had.

    The commit is that of `checkout`, or of the tree that this file lies in.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": [round(x, 1) for x in os.getloadavg()] if hasattr(os, "getloadavg") else [],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(checkout or Path(__file__).parent),
    }


def headline(environment: dict[str, Any]) -> str:
    """The environment in one line, for the top of a report."""
    packages = ", ".join(f"{name} {v}" for name, v in environment["packages"].items() if v)
    return (
        f"{environment['processor']}, {environment['cores']} cores; "
        f"Python {environment['python']}, {packages}; commit {environment['commit']}"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
