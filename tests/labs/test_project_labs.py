r"""The labs of this repository: what can be said of every one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from labkit.catalogue import Catalogue

CATALOGUE = Catalogue()
BLOCKED = ("torch", "transformers", "sphinx", "vllm", "numba")

# Runs the labs' tests in a process in which these packages cannot be imported.
WITHOUT = f"""
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is not in the base install", name=name)

sys.meta_path.insert(0, Blocked())
import pytest
status = pytest.main([sys.argv[1], "-q", "-m", "not gpu and not model", "-p", "no:cacheprovider"])
assert not set({BLOCKED!r}) & set(sys.modules)
raise SystemExit(status)
"""


def test_labs_are_graded_where_torch_cannot_be_imported():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, "labs"],
        cwd=CATALOGUE.root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("lab", "picture"),
    [
        ("phase-01/lab-01", "trace.txt"),
        ("phase-01/lab-04", "batches.txt"),
        ("phase-02/lab-01", "pool.txt"),
        ("phase-02/lab-02", "memory.txt"),
        ("phase-02/lab-03", "walk.txt"),
        ("phase-02/lab-04", "cache.txt"),
        ("phase-02/lab-06", "story.txt"),
        ("phase-04/lab-01", "moved.txt"),
        ("phase-05/lab-01", "replay.txt"),
        ("phase-05/lab-02", "steps.txt"),
        ("phase-05/lab-03", "sizes.txt"),
        ("phase-05/lab-04", "dispatch.txt"),
        ("phase-05/lab-05", "stand_in.txt"),
        ("phase-04/lab-02", "tiles.txt"),
        ("phase-04/lab-03", "splits.txt"),
        ("phase-04/lab-04", "choices.txt"),
        ("phase-04/lab-05", "traffic.txt"),
        ("phase-04/lab-06", "compared.txt"),
    ],
)
def test_a_picture_in_a_readme_is_what_the_solution_prints(lab, picture):
    folder = CATALOGUE.find(lab).folder
    run = subprocess.run(
        [sys.executable, "solution.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert run.stdout == (folder / picture).read_text(encoding="utf-8")
    assert picture in (folder / "README.md").read_text(encoding="utf-8")


def test_a_trace_is_what_its_recorder_prints():
    folder = CATALOGUE.find("phase-05/lab-03").folder
    paths = os.pathsep.join(map(str, (CATALOGUE.root, CATALOGUE.root / "labs")))
    run = subprocess.run(
        [sys.executable, "record.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == (folder / "trace.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("lab", CATALOGUE.labs, ids=lambda lab: lab.short)
def test_a_readme_speaks_of_tests_and_names_that_exist(lab):
    readme = (lab.folder / "README.md").read_text(encoding="utf-8")
    files = sorted(lab.folder.glob("test_*.py"))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for name in re.findall(r"`(test_\w+)`", readme):
        assert f"def {name}(" in tests, (
            f"{name} is in the README of {lab.name} and not in its tests"
        )
    assert f"labs predict {lab.short}" in readme
    assert not lab.is_process or f"labs check {lab.short}" in readme


def test_labs_are_numbered_in_their_order():
    for phase in {lab.phase for lab in CATALOGUE.labs}:
        numbers = [int(lab.name.split("-")[1]) for lab in CATALOGUE.labs if lab.phase == phase]
        assert numbers == list(range(1, len(numbers) + 1)), phase
    for lab in CATALOGUE.labs:
        assert all(earlier < lab.name for earlier in lab.after)


def on_device(*arguments: str) -> subprocess.CompletedProcess[str]:
    folder = CATALOGUE.find("phase-05/lab-05").folder
    command = [sys.executable, "on_device.py", "solution.py", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_measurement_takes_its_whole_way_without_a_device():
    """A busy machine makes it refuse; what it must not do is fail, or leave out where it ran."""
    pytest.importorskip("torch")
    run = on_device("cpu")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert {"device", "torch", "commit", "command"} <= told["where"].keys()
    [found] = told["results"]
    assert found["against"] == "again"
    if "refused" in found:
        assert re.search("spread|drift", found["refused"]), found["refused"]
    else:
        assert found["low"] <= found["speedup"] <= found["high"]


def test_without_a_device_nothing_is_measured():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device: the test marked gpu measures it")
    run = on_device("cuda")
    assert run.returncode != 0
    assert run.stdout == ""
    assert "NOTHING was measured" in run.stderr
