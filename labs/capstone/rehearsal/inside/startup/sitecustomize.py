r"""Every Python whose path begins with this folder reads this file: one module is stood in for.

Upstream's tests of the encoder cache name a LLaVA model. Its file imports Pixtral's, which wants
torchvision, a tokenizer library and a class that later releases of transformers have dropped. None
of that has to do with scheduling, and LLaVA compares with three class names of it and no more. So
those three are given, and Pixtral's own code is never run.

vLLM looks at a model's class in a process that it starts by itself. Hence a file that any Python
finds by its name, and not a function that somebody would have to call.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_STOOD_IN_FOR = "vllm.model_executor.models.pixtral"
_NAMES = ("PixtralHFEncoderInfo", "PixtralHFVisionModel", "PixtralVisionConfig")


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    r"""Finder and loader of that one module."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == _STOOD_IN_FOR else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        for name in _NAMES:
            setattr(module, name, type(name, (), {}))


sys.meta_path.insert(0, _StandIn())
