"""One process, one mode: Triton decides at its first import whether it interprets or compiles.

`nox -s kernels` runs this folder twice, once in each mode. A test file whose mode is not this
process's is skipped before it is imported, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_vllm.kernels.triton.availability import is_installed, is_interpreted

HERE = Path(__file__).parent
#: Set by the session: a run in which no test passed is a failure.
MUST_RUN = "KERNELS_MUST_RUN"


def why_not_here(path: Path) -> str | None:
    """The reason why a test file cannot run in this process, or None."""
    mode = path.relative_to(HERE).parts[0]
    if mode not in ("interpreted", "compiled"):
        return None
    if not is_installed():
        return "triton is not installed: it has builds for Linux alone (pip install '.[triton]')"
    if mode == "interpreted" and not is_interpreted():
        return "needs a process with TRITON_INTERPRET=1: nox -s kernels"
    if mode == "compiled" and is_interpreted():
        return "needs a process without TRITON_INTERPRET: nox -s kernels"
    return None


class NotHere(pytest.Module):
    """A test file that is named as skipped, and never imported."""

    def collect(self) -> Iterator[pytest.Item]:
        """Say why."""
        pytest.skip(why_not_here(self.path) or "", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector):
    """Stand in for a file that must not be imported here."""
    if HERE in module_path.parents and why_not_here(module_path):
        return NotHere.from_parent(parent, path=module_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder that it stands in."""
    for item in items:
        if HERE in item.path.parents:
            mode = item.path.relative_to(HERE).parts[0]
            if mode in ("interpreted", "compiled"):
                item.add_marker(f"triton_{mode}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which nothing ran, where the session says that something must."""
    if not os.environ.get(MUST_RUN) or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and not (
        reporter and reporter.stats.get("passed")
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("\nkernels: NO test ran; a run that tests nothing has failed", red=True)
