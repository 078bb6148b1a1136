r"""How is vLLM imported from a tree that was never built or installed?

Its scheduler, and what lies below it, is plain Python. Two things must be told to such a tree:
where the package lies, and which version it is. It asks for the version by name when it chooses a
platform, and without "cpu" in the answer every configuration fails. A process that vLLM starts
itself, to look at a model's class, is told where as well; what it finds is kept in `_build`, since
vLLM would keep it in the user's home, and what passes there would fail in another's.

A comparison with the pinned scheduler asks {py:func}`why_not` and begins with
{py:func}`use_the_pinned_tree`; the workers of the capstone's rehearsal name a tree of their own.
Nothing beside the standard library is imported here, and no vLLM before it is asked for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

from upstream_anchors.errors import TreeError
from upstream_anchors.pin import PROJECT_ROOT, the_pin
from upstream_anchors.tree import DEFAULT_TREE

KEPT = PROJECT_ROOT / "_build" / "pinned-tree"
#: Imported by the scheduler's modules before anything else fails; `nox -s differential` has them.
FIRST_NEEDED = ("torch", "cbor2", "gguf", "llguidance", "xgrammar", "openai_harmony")


def why_not() -> str | None:
    r"""Why the pinned scheduler cannot be imported here, or `None` when it can."""
    if not (DEFAULT_TREE / "vllm").is_dir():
        return "the pinned tree is not here: nox -s anchors fetches it"
    absent = [name for name in FIRST_NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} not installed here: nox -s differential" if absent else None


def use_the_pinned_tree() -> None:
    r"""{py:func}`use` for `upstream/`; {py:class}`.TreeError` where {py:func}`why_not` has one."""
    if (problem := why_not()) is not None:
        raise TreeError(problem)
    use(DEFAULT_TREE, the_pin().version)


def use(root: Path, version: str) -> None:
    r"""Make `import vllm` mean the package in `root`, for the rest of this process.

    Once is enough, and a second time does nothing. {py:class}`.TreeError` if `vllm` was imported
    from anywhere else before, or if there is no package in `root`.
    """
    package = root / "vllm"
    start = package / "__init__.py"
    if (there := sys.modules.get("vllm")) is not None:
        if there.__file__ != str(start):
            raise TreeError(f"vllm was imported from {there.__file__} before {root} was chosen")
        return
    spec = importlib.util.spec_from_file_location(
        "vllm", start, submodule_search_locations=[str(package)]
    )
    if not start.is_file() or spec is None or spec.loader is None:
        raise TreeError(f"{package}: no package")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CACHE_ROOT", str(KEPT))
    inherited = [os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, inherited)])
    installed = importlib.metadata.version
    answer = f"{version}+cpu"

    def version_of(distribution_name: str) -> str:
        return answer if distribution_name == "vllm" else installed(distribution_name)

    importlib.metadata.version = version_of
    # Not through sys.path: a tree also has folders called tests, docs and tools.
    sys.modules["vllm"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
