r"""The branch on which the pin moves.

Two refusals come before anything is written. With uncommitted work in the tree, the move could not
be told from it afterwards, nor undone. And a branch of that name is somebody's half-finished move.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from upstream_anchors.errors import TreeError


def branch_name(version: str) -> str:
    r"""`pin-0.23.0`."""
    return f"pin-{version}"


def refuse_unless_clean(root: Path, version: str) -> None:
    r"""{py:class}`.TreeError` for a folder without git, with uncommitted work, or with the branch.

    Who is to be the author of the commit is asked here as well, while nothing has been done yet.
    """
    top = git(root, "rev-parse", "--show-toplevel")
    if Path(top).resolve() != root.resolve():
        raise TreeError(f"{root} is not the top of a git repository; the pin moves on a branch")
    status = git(root, "status", "--porcelain").splitlines()
    if status:
        shown = ", ".join(line[3:] for line in status[:5])
        more = f" and {len(status) - 5} more" if len(status) > 5 else ""
        raise TreeError(f"There is uncommitted work ({shown}{more}): commit it or stash it first.")
    name = branch_name(version)
    if git(root, "branch", "--list", name):
        raise TreeError(
            f"There is a branch {name} already: go on there, or delete it "
            f"(`git branch -D {name}`) and begin again."
        )
    git(root, "var", "GIT_COMMITTER_IDENT")


def start_branch(root: Path, version: str) -> str:
    r"""Make the branch and switch to it; its name."""
    name = branch_name(version)
    git(root, "switch", "--quiet", "--create", name)
    return name


def commit(root: Path, paths: Sequence[Path], message: str) -> None:
    r"""Commit these files and no others."""
    names = [path.relative_to(root).as_posix() for path in paths]
    git(root, "add", "--", *names)
    git(root, "commit", "--quiet", "--message", message, "--", *names)


def git(root: Path, *arguments: str) -> str:
    r"""The output of a git command; {py:class}`.TreeError` with its message when it fails."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TreeError(f"git could not be asked: {error}") from error
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise TreeError(f"`git {' '.join(arguments)}` failed: {said}")
    return done.stdout.rstrip("\n")
