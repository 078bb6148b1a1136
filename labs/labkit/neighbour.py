r"""What do two test files of one lab share?

A module beside them. A lab's folder has hyphens in its name and is no package, so nothing in it can
be imported; it is loaded by its path.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def beside(file: str, name: str) -> ModuleType:
    r"""The module `name` in the folder of a file, which says `__file__`.

    It is executed anew for every caller and stands in no table of modules, so two labs may have
    modules of one name. Raises `FileNotFoundError` with the path when there is none.
    """
    path = Path(file).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}.{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
