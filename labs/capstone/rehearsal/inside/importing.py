r"""Make `import vllm` mean the package of one tree, which was never built or installed.

Two things must be told to such a tree: where the package lies, and which version it is. It asks
for the version by name when it chooses a platform, and without "cpu" in the answer every
configuration fails.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any


def use(tree: Path, version: str) -> None:
    r"""For the rest of this process; `vllm` must not have been imported yet."""
    if "vllm" in sys.modules:
        raise RuntimeError("vllm was imported before a tree was chosen")
    installed = importlib.metadata.version
    answer = f"{version}+cpu"

    def version_of(distribution_name: str) -> str:
        return answer if distribution_name == "vllm" else installed(distribution_name)

    importlib.metadata.version = version_of
    _take_text_without_its_image()
    # A model's class is inspected in a process that vLLM starts itself.
    inherited = [os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), *filter(None, inherited)])
    package = tree / "vllm"
    spec = importlib.util.spec_from_file_location(
        "vllm", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{package}: no package")
    module = importlib.util.module_from_spec(spec)
    sys.modules["vllm"] = module
    spec.loader.exec_module(module)


def _take_text_without_its_image() -> None:
    """A processor is asked for text alone, to which a transformers newer than the pin's objects."""
    from transformers.processing_utils import ProcessorMixin

    if hasattr(ProcessorMixin, "validate_inputs"):
        ProcessorMixin.validate_inputs = lambda *_, **__: None  # type: ignore[method-assign]


def report(path: str, **found: Any) -> None:
    r"""Write the findings whole; a worker that is killed half-way leaves the last whole ones."""
    partial = Path(path + ".partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(path)
