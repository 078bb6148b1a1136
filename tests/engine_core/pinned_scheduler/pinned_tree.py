"""vLLM's Python straight from `upstream/`, as the package `vllm`: nothing is built or installed.

The scheduler and all below it are plain Python. Two things must be told to a tree that was never
installed: where the package lies, and which version it is (asked for by name when the platform is
chosen; without "cpu" in the answer every configuration fails). A process that vLLM starts itself,
to look at a model's class, is told where as well; what it finds is kept in `_build`, since vLLM
would keep it in the user's home, and what passes there would fail in another's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TREE = ROOT / "upstream" / "vllm"
VERSION = "0.22.1+cpu"
KEPT = ROOT / "_build" / "pinned-tree"
#: In `requirements.txt`, and imported by the scheduler's modules before anything else fails.
FIRST_NEEDED = ("cbor2", "gguf", "llguidance", "xgrammar", "openai_harmony")


def missing() -> str | None:
    """Why the tree cannot be imported here, or `None` when it can."""
    if not TREE.is_dir():
        return "the pinned tree is not here: nox -s anchors"
    absent = [name for name in FIRST_NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed here: nox -s differential" if absent else None


def use() -> None:
    """Make `import vllm` mean the pinned tree, for the rest of this process."""
    if "vllm" in sys.modules:
        return
    if (problem := missing()) is not None:
        raise RuntimeError(problem)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CACHE_ROOT", str(KEPT))
    inherited = [os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TREE.parent), *filter(None, inherited)])
    installed = importlib.metadata.version
    importlib.metadata.version = lambda name: VERSION if name == "vllm" else installed(name)
    # Not sys.path: the tree also has folders called tests, docs and tools.
    spec = importlib.util.spec_from_file_location(
        "vllm", TREE / "__init__.py", submodule_search_locations=[str(TREE)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["vllm"] = module
    spec.loader.exec_module(module)
