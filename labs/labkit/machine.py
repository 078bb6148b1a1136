r"""What can this machine run, and if not, why not?

Two questions are asked before a test runs, and only of tests that carry the mark: is there a GPU
(`gpu`), and is the engine's own environment installed (`model`)? Each answer is `None` or the
reason, which is what the skipped test prints. Finding the reason out must not cost what the test
would need: torch is imported for the first question alone.
"""

from __future__ import annotations

import functools
import importlib.util
import sys

ENGINE = ("torch", "transformers", "tokenizers", "safetensors")


def missing(modules: tuple[str, ...]) -> list[str]:
    r"""Those of the modules that are not installed; none of them is imported."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def why_no_engine() -> str | None:
    r"""Why the tests on the real model cannot run here, or `None` when they can."""
    if absent := missing(ENGINE):
        return f"the real model needs {', '.join(absent)}: pip install -e '.[engine]'"
    return None


@functools.cache
def why_no_gpu() -> str | None:
    r"""Why the tests marked `gpu` cannot run here, or `None` when they can.

    Imports torch, so it is asked at most once, and by nobody but tests with the mark and
    `labs doctor`.
    """
    if reason := why_no_engine():
        return reason
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    return f"torch {torch.__version__} sees no CUDA device"


def python() -> str:
    r"""This interpreter's version, and whether the project supports it."""
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return version if supported else f"{version} (supported: 3.11 to 3.13)"
