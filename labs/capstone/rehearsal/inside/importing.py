r"""Make `import vllm` mean the package of one tree, and write down what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from upstream_anchors import importing


def use(tree: Path, version: str) -> None:
    r"""{py:func}`upstream_anchors.importing.use`, and what a worker needs beside it."""
    _take_text_without_its_image()
    importing.use(tree, version)


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
