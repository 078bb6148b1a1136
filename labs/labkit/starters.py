r"""Is the starter still the solution with its regions taken out?

Two people write to `starter.py`: the generator, when an author changes the solution, and the
learner, who fills it in. So the check must not look at the work tree, where a starter that differs
is a starter that someone has begun to solve. It compares what git has recorded, and
`labs reset` restores the file from the solution beside it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from labkit import regions
from labkit.catalogue import Lab, LabError


def generate(lab: Lab) -> str:
    r"""The starter that follows from the solution in the work tree; a process lab has none."""
    if lab.is_process:
        raise LabError(f"{lab.short} is a process lab: it has no starter")
    return _render(lab, lab.solution.read_text(encoding="utf-8"))


def write(lab: Lab) -> bool:
    r"""Write the generated starter; returns whether the file changed."""
    text = generate(lab)
    if lab.starter.exists() and lab.starter.read_text(encoding="utf-8") == text:
        return False
    lab.starter.write_text(text, encoding="utf-8")
    return True


def problems(lab: Lab) -> list[str]:
    r"""What is wrong with the recorded pair of starter and solution; empty when nothing is.

    Reads both files from git's index, which in a fresh clone is the commit. Outside a git checkout
    there is no record, and the files themselves are compared.
    """
    solution = _recorded(lab.root, lab.solution)
    if solution is None:
        return [f"{lab.name}: solution.py is not recorded in git"]
    starter = _recorded(lab.root, lab.starter)
    if starter is None:
        return [f"{lab.name}: starter.py is not recorded in git: python -m labkit starters --write"]
    if starter != _render(lab, solution):
        return [
            f"{lab.name}: starter.py is not what solution.py generates: "
            "python -m labkit starters --write, then commit both"
        ]
    return []


def _render(lab: Lab, solution: str) -> str:
    try:
        found = regions.titles(regions.parse(solution))
    except regions.RegionError as error:
        raise LabError(f"{lab.solution}: {error}") from None
    declared = dict(enumerate(lab.tasks, start=1))
    if found != declared:
        raise LabError(
            f"{lab.solution}: the markers name the tasks {found}, lab.toml says {declared}"
        )
    return regions.render(solution)


def _recorded(root: Path, path: Path) -> str | None:
    """A file's text in git's index, or on disk where there is no git checkout."""
    inside = _git(root, "rev-parse", "--is-inside-work-tree")
    if inside is None or inside.returncode:
        return path.read_text(encoding="utf-8") if path.exists() else None
    shown = _git(root, "show", f":./{path.relative_to(root).as_posix()}")
    return None if shown is None or shown.returncode else shown.stdout


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, encoding="utf-8"
        )
    except FileNotFoundError:
        return None
