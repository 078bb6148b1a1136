"""The grid of `cases.py` as a fixture: test modules cannot import a neighbour."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")

NAME = "attention_cases"
if NAME not in sys.modules:
    spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("cases.py"))
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])


@pytest.fixture(autouse=True)
def _inference():
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def cases():
    """The module `cases.py`."""
    return sys.modules[NAME]


def pytest_generate_tests(metafunc):
    """A test that asks for `grid_case` runs once for each case of the grid."""
    if "grid_case" in metafunc.fixturenames:
        metafunc.parametrize("grid_case", sys.modules[NAME].GRID)
