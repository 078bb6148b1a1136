"""Shared parts of the tests of floors 2 and 3: one thread, no gradients, tiny checkpoints."""

from __future__ import annotations

import os

import pytest

# A test machine's cores are shared; two threads on one core measure the neighbour.
os.environ.setdefault("OMP_NUM_THREADS", "1")

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _inference():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode():
        yield
