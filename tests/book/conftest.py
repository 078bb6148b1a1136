"""A small site, built for the tests from a copy, so that a test may edit it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the book's own requirements are not installed")

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("sample_site")


@dataclass
class Site:
    """A source folder and what Sphinx makes of it."""

    source: Path
    log: str = ""
    root: Path = ROOT

    @property
    def html(self) -> Path:
        return self.source / "_build" / "html"

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def page(self, name: str) -> str:
        return (self.html / f"{name}.html").read_text(encoding="utf-8")

    @property
    def read(self) -> set[str]:
        """The pages that the last build has read."""
        return set(re.findall(r"reading sources\.\.\. \[ *\d+%\] (\S+)", self.log))

    def build(self, *options: str, check: bool = True) -> str:
        """Build incrementally; returns the log, and fails the test on a warning if `check`."""
        command = [
            *(sys.executable, "-m", "sphinx", "-b", "html", "-n", "--keep-going"),
            *("-d", str(self.source / "_build" / "doctrees"), *options),
            *(str(self.source), str(self.html)),
        ]
        environment = {
            **os.environ,
            "BOOK_ROOT": str(ROOT),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "labs")]),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",  # tests read the log, and CI=true would colour it
        }
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=300, check=False
        )
        self.log = done.stdout + done.stderr
        if check:
            noisy = [x for x in self.log.splitlines() if "WARNING:" in x or "ERROR:" in x]
            # Said now and then by the kernels' client when a socket closes under it; not Sphinx.
            noisy = [x for x in noisy if not x.startswith("ERROR:tornado.general")]
            assert done.returncode == 0, self.log[-4000:]
            assert not noisy, noisy
        return self.log


def copy_of_the_sample(folder: Path) -> Site:
    source = folder / "site"
    shutil.copytree(SAMPLE, source, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    return Site(source)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A copy of the sample site, not yet built."""
    return copy_of_the_sample(tmp_path)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same, one for all tests of a file."""
    return copy_of_the_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def built(shared_site: Site) -> Site:
    """A copy of the sample site, built once for the tests that only look at it."""
    shared_site.build()
    return shared_site
