r"""Which class of vLLM is ours the small copy of, and what did the copy leave out?

For every public name of `mini_vllm`, meaning each class and function at the top of a module, there
is one entry in `correspondence.toml`: the anchor of its upstream counterpart with a sentence on
what ours leaves out, or the reason why there is none. Names are found by reading the package, so a
new one without an entry is a problem, and so is an entry whose name is gone. What can be counted is
not written: line counts come from both sources, and so do the methods that two classes share.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from book.module_facts import facts_of_file

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).with_name("correspondence.toml")

_ALONE = "alone"
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class CorrespondenceError(ValueError):
    """The data names something twice, or says too little of it."""


@dataclass(frozen=True)
class Row:
    """One public name: a counterpart and what is left out, or the reason why there is none."""

    module: str
    name: str
    anchor: str | None
    text: str

    @property
    def full_name(self) -> str:
        """The dotted name of ours."""
        return f"{self.module}.{self.name}"


def public_names(package: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each public class and function, in the order of the files."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for name in facts_of_file(path).public:
            yield module, name


def read_rows(path: Path = DATA) -> list[Row]:
    """The entries of the data file; {py:class}`CorrespondenceError` for one that is unfit."""
    rows: list[Row] = []
    for module, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        for group in table.pop(_ALONE, []):
            rows += [Row(module, name, None, group["reason"]) for name in group["names"]]
        rows += [Row(module, name, *_counterpart(module, name, e)) for name, e in table.items()]
    seen: set[str] = set()
    for row in rows:
        if row.full_name in seen:
            raise CorrespondenceError(f"{row.full_name} has two entries")
        if not row.text.strip().endswith("."):
            raise CorrespondenceError(f"{row.full_name}: no sentence on why, or what it leaves out")
        seen.add(row.full_name)
    return rows


def _counterpart(module: str, name: str, entry: dict[str, Any]) -> tuple[str, str]:
    if set(entry) != {"anchor", "without"}:
        raise CorrespondenceError(f"{module}.{name}: wants `anchor` and `without`, has {[*entry]}")
    return entry["anchor"], entry["without"]


def problems(rows: list[Row], package: Path) -> list[str]:
    """Public names without an entry, and entries without a name."""
    wanted = {f"{module}.{name}" for module, name in public_names(package)}
    have = {row.full_name for row in rows}
    missing = [f"{n}: neither a counterpart nor a reason" for n in sorted(wanted - have)]
    return missing + [f"{n}: the package has no such name" for n in sorted(have - wanted)]


def of_room(rows: list[Row], room: str, *, itself: bool = False) -> list[Row]:
    """The rows of a module and of all below it; with `itself`, of the module alone."""
    if itself:
        return [row for row in rows if row.module == room]
    return [row for row in rows if f"{row.module}.".startswith(f"{room}.")]


def public_methods(node: ast.AST | None) -> set[str]:
    """The public methods that a class defines itself; none for a function."""
    if not isinstance(node, ast.ClassDef):
        return set()
    return {n.name for n in node.body if isinstance(n, _DEFINITIONS[1:]) and n.name[0] != "_"}
