r"""What does the outcome of a mutant run depend on?

On the lab's own modules, all but the learner's, and on its mistakes and proofs; on the operators,
which say what is broken; and on the modules of `labkit` that the lab's own import, by themselves or
through one another. A simulator of kernels that forgives more than before lets mutants live, and
the record has to be taken anew; a change of a module that this lab does not import leaves its
record alone. Of a module of `labkit` the docstrings do not count, since a better sentence kills
nobody.

What the machinery does to every lab alike (the bench, the plugin, the guard), the engine under the
tests, and recordings that tests read are left out: the sample that each commit tries again is there
for these.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from labkit.catalogue import Lab
from labkit.mutation import operators

#: The folder of this package.
LABKIT = Path(__file__).parents[1]


def of(lab: Lab) -> dict[str, str]:
    r"""SHA-256 of everything that a lab's outcome depends on, by name."""
    own = sorted(path for path in lab.folder.glob("*.py") if path != lab.starter)
    files = [*own, *sorted(lab.folder.glob("mutants/*.toml"))]
    digests = {
        each.relative_to(lab.folder).as_posix(): _digest(each.read_bytes()) for each in files
    }
    digests["labkit operators"] = _digest(Path(operators.__file__).read_bytes())
    for path in _reached(own):
        name = path.relative_to(LABKIT.parent).as_posix()
        digests[name] = _digest(_without_docstrings(path).encode())
    return digests


def _reached(sources: Iterable[Path]) -> list[Path]:
    """The modules of labkit that the sources import, and those that these import in turn."""
    found: set[Path] = set()
    ahead = [*sources]
    while ahead:
        new = set(_imported(ahead.pop())) - found
        found |= new
        ahead += new
    return sorted(path for path in found if _without_docstrings(path).strip())


def _imported(source: Path) -> Iterator[Path]:
    """The modules of labkit that one file imports, anywhere in it, each with its package."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from labkit import machine`: what is imported may be a module itself.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *parts = name.split(".")
            if package == LABKIT.name:
                for place in accumulate(parts, Path.__truediv__, initial=LABKIT):
                    candidates = [place / "__init__.py", place.with_suffix(".py")]
                    yield from (path for path in candidates if path.is_file())


def _without_docstrings(source: Path) -> str:
    """The text of a module, with nothing where its docstrings stand."""
    text = source.read_text(encoding="utf-8")
    lines = text.splitlines()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            for number in range(docstring.lineno - 1, docstring.end_lineno or docstring.lineno):
                lines[number] = ""
    return "\n".join(line for line in lines if line.strip())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
