r"""Is the wheel that runs here the vLLM that this book is about?

`vllm-cpu` is a community build. It is pinned by hash, so it cannot change; this module says what it
*is*, by comparing each Python file that it installed with the pinned tree.

```
python -m vllm_cpu.wheel [TREE]     # TREE defaults to upstream/
```
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Comparison:
    r"""Python files of two `vllm` packages: how many agree, and the paths of those that do not."""

    same: int
    differing: tuple[str, ...]
    only_installed: tuple[str, ...]
    only_pinned: tuple[str, ...]


def installed() -> Path | None:
    r"""The folder of the installed `vllm` package, or `None`; imports nothing of it."""
    spec = importlib.util.find_spec("vllm")
    return Path(spec.origin).parent if spec and spec.origin else None


def compare(package: Path, pinned: Path) -> Comparison:
    r"""Compare two `vllm` folders byte by byte, Python files only."""
    left, right = _modules(package), _modules(pinned)
    both = sorted(set(left) & set(right))
    differing = tuple(n for n in both if left[n].read_bytes() != right[n].read_bytes())
    return Comparison(
        same=len(both) - len(differing),
        differing=differing,
        only_installed=tuple(sorted(set(left) - set(right))),
        only_pinned=tuple(sorted(set(right) - set(left))),
    )


def difference(name: str, package: Path, pinned: Path) -> list[str]:
    r"""A unified diff without context, from the pinned file to the installed one."""
    old, new = ((root / name).read_text("utf-8").splitlines() for root in (pinned, package))
    return list(difflib.unified_diff(old, new, f"pinned/{name}", f"wheel/{name}", n=0, lineterm=""))


def report(package: Path, pinned: Path) -> str:
    r"""What differs, as text: the counts, the names, and each difference in full."""
    result = compare(package, pinned)
    lines = [f"{result.same} Python files are the same, {len(result.differing)} differ"]
    lines += [f"only in the wheel: {name}" for name in result.only_installed]
    lines += [f"only in the pinned tree: {name}" for name in result.only_pinned]
    for name in result.differing:
        lines += ["", *difference(name, package, pinned)]
    return "\n".join(lines)


def _modules(package: Path) -> dict[str, Path]:
    paths = (path for path in package.rglob("*.py") if "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): path for path in paths}


def main(arguments: list[str]) -> int:
    r"""Print the report; an error when there is no wheel or no tree to compare."""
    package = installed()
    pinned = (Path(arguments[0]) if arguments else REPOSITORY / "upstream") / "vllm"
    if package is None:
        print("vLLM is not installed in this environment: nox -s vllm_cpu makes one")
        return 1
    if not pinned.is_dir():
        print(f"no pinned tree at {pinned.parent}: python -m upstream_anchors fetch")
        return 1
    print(report(package, pinned))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
