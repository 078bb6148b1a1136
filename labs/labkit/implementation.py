r"""Whose code do the tests judge?

`LAB_IMPL=solution` (the default) grades the reference, so that the suite is green on a fresh clone;
`LAB_IMPL=starter` grades the learner. Any other value stops the run before a test is collected:
a typo that quietly graded the solution would tell a learner that unsolved work is done.

A lab's folder has hyphens in its name and every lab calls its files the same, so an implementation
is not imported: it is executed as a module with a name of its own, afresh for every test. Nothing
that one test does to module state reaches the next.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

CHOICES = ("solution", "starter")
VARIABLE = "LAB_IMPL"


class Loaded(ModuleType):
    r"""A module that goes by the name of its file, in what pytest prints of a failure."""

    def __repr__(self) -> str:
        return f"<{Path(self.__file__ or 'code').name}>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{Path(self.__dict__['__file__']).name} has no `{name}`")


@dataclass(frozen=True)
class Implementation:
    r"""A label and where its code comes from: a lab's file, or code made up on the spot.

    `code` is set for mutants and for half-filled starters, which are never written to disk.
    """

    label: str
    code: CodeType | None = None

    def path(self, folder: Path) -> Path:
        r"""The file in a lab's folder that the code is, or was made from."""
        return folder / f"{self.label if self.code is None else 'solution'}.py"

    def load(self, folder: Path) -> ModuleType:
        r"""Execute the code as a fresh module and return it.

        The module stands in `sys.modules` under its unique name (dataclasses look themselves up
        there) until the next load of the same lab. Whatever the file raises, this raises.
        """
        path = self.path(folder)
        code = self.code
        if code is None:
            code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        words = f"lab_implementation.{folder.parent.name}.{folder.name}"
        module = Loaded(re.sub(r"[^\w.]", "_", words))
        module.__file__ = str(path)
        sys.modules[module.__name__] = module
        exec(code, module.__dict__)
        return module


def chosen() -> Implementation:
    r"""The implementation that this process grades.

    Raises `ValueError` naming the value when the variable is set to anything but the two choices.
    """
    if _stand_in:
        return _stand_in[-1]
    value = os.environ.get(VARIABLE, CHOICES[0])
    if value not in CHOICES:
        raise ValueError(f"{VARIABLE}={value!r} is not an implementation: {' or '.join(CHOICES)}")
    return Implementation(value)


_stand_in: list[Implementation] = []


@contextmanager
def standing_in(implementation: Implementation) -> Iterator[None]:
    r"""Grade this implementation instead, whatever the environment says."""
    _stand_in.append(implementation)
    try:
        yield
    finally:
        _stand_in.pop()
