"""What these tests share with those of the model: tiny checkpoints, and an engine to run them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

MODEL_TESTS = Path(__file__).parents[1] / "engine_model"


def load(name: str):
    """A module of the model's tests, which are no package."""
    qualified = f"engine_model_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, MODEL_TESTS / f"{name}.py")
        module = sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[qualified]
