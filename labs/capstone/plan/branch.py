r"""Does the branch hold what the plan said, and can it be merged?

Git is asked and never told: the history of the branch since it left its base, who signed off which
commit, which files changed and by how many lines. A sign-off counts when it is the author's.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capstone.errors import CapstoneError
from capstone.plan.one_pager import Plan
from capstone.plan.rules import Complaint

#: How much larger than its estimate a diff may be before the plan is no longer the plan.
TOLERANCE = 1.5

_SIGNED = re.compile(r"^Signed-off-by: .+ <([^<>\s]+)>\s*$", re.MULTILINE)
_HELPED = re.compile(
    r"^(Co-authored-by|Assisted-by|Generated-by): \S", re.MULTILINE | re.IGNORECASE
)


@dataclass(frozen=True)
class Commit:
    r"""A commit: its short id, its author's address, its subject, its whole message."""

    id: str
    email: str
    subject: str
    message: str


@dataclass(frozen=True)
class Branch:
    r"""A branch since it left its base: commits, oldest first, and lines changed per file."""

    name: str
    commits: tuple[Commit, ...]
    changed: dict[str, int]
    base: str = "main"

    @classmethod
    def read(cls, repository: Path, name: str, base: str) -> Branch:
        r"""Ask git; {py:class}`.CapstoneError` if there is no repository, branch or base."""
        _git(repository, "rev-parse", "--git-dir")
        for one in (name, base):
            if one.startswith("-"):
                raise CapstoneError(f"{one!r} is no name of a branch")
            _git(repository, "rev-parse", "--verify", "--quiet", f"{one}^{{commit}}")
        pattern = "%h%x1f%ae%x1f%s%x1f%B%x1e"
        log = _git(repository, "log", "--reverse", f"--format={pattern}", f"{base}..{name}")
        commits = [
            Commit(*one.strip("\n").split("\x1f")) for one in log.split("\x1e") if one.strip()
        ]
        stat = _git(repository, "diff", "--numstat", "--no-renames", "-z", f"{base}...{name}")
        changed = {}
        for entry in filter(None, stat.split("\0")):
            added, removed, path = entry.split("\t", 2)
            changed[path] = int(added) + int(removed) if added != "-" else 0
        return cls(name, tuple(commits), changed, base)


def check_branch(branch: Branch, plan: Plan | None, *, ai_helped: bool) -> Iterator[Complaint]:
    r"""Every complaint about a branch; scope and size only where there is a plan."""
    if not branch.commits:
        yield Complaint(0, "branch-empty", f"{branch.name} has no commit of its own")
        return
    for commit in branch.commits:
        signed = _SIGNED.findall(commit.message)
        who = f"commit {commit.id} ({commit.subject[:50]})"
        if not signed:
            text = f"{who} has no Signed-off-by; `git rebase --signoff {branch.base}` adds it"
            yield Complaint(0, "branch-sign-off", text)
        elif commit.email not in signed:
            text = f"{who} is signed off by {', '.join(signed)}, its author is {commit.email}"
            yield Complaint(0, "branch-sign-off", text)
    if ai_helped and not any(_HELPED.search(commit.message) for commit in branch.commits):
        text = "the description says that AI helped; no commit has Co-authored-by or Assisted-by"
        yield Complaint(0, "branch-trailer", text)
    if plan is not None:
        yield from _against(branch, plan)


def _against(branch: Branch, plan: Plan) -> Iterator[Complaint]:
    allowed = plan.touched()
    for path in branch.changed:
        if not any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in allowed):
            text = f"{path} is not in the plan; it names {', '.join(allowed)}"
            yield Complaint(0, "branch-scope", text)
    if plan.place and plan.place not in branch.changed:
        yield Complaint(0, "branch-test", f"the plan's test, {plan.place}, is unchanged")
    estimate, total = plan.estimate, sum(branch.changed.values())
    if estimate is not None and total > TOLERANCE * estimate.total:
        text = (
            f"{total} lines changed, {estimate.total} were planned: more than {TOLERANCE} times "
            "as many; split it, or say in the issue that the plan has changed"
        )
        yield Complaint(0, "branch-size", text)


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CapstoneError(f"git could not be asked: {error}") from error
    if done.returncode:
        asked = arguments[-1].removesuffix("^{commit}")
        reason = done.stderr.strip() or f"there is no branch or commit {asked!r}"
        raise CapstoneError(f"{repository}: {reason}")
    return done.stdout
