r"""A copy of the pinned tree that may be changed: how is it made, and how is it kept honest?

The copy is a git repository whose first commit, under the tag `pin`, is the pinned tree as it was
fetched. What the learner did is then `git diff pin`, whatever was committed since. A tag can be
moved, so the hash of that commit's tree is kept outside the repository, in the journal; if the two
differ, every check refuses to go on.

Writes below its own folder and nowhere else; `upstream/` is only read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.tree import Tree

from capstone.errors import CapstoneError
from capstone.rehearsal.stand_ins import write_stand_ins
from capstone.rehearsal.workshop import TEMPLATES, Workshop

#: What the eight steps read: the package, its tests of the core, and the rules for contributors.
PARTS = ("vllm", "tests/v1", "docs/contributing", ".github", ".buildkite/test_areas")
FILES = ("AGENTS.md", "LICENSE", "pyproject.toml", "tests/__init__.py", "tests/utils.py")
_ENDINGS = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".cfg", ""}
_LARGEST = 2_000_000
#: Put beside the tree by `start`, for the learner to read or to fill in.
PAPERS = (
    "reproduce.py",
    "report.json",
    "pulls.json",
    "pulls-august.json",
    "MAP.md",
    "answers.toml",
)
TAG = "pin"


@dataclass(frozen=True)
class Change:
    r"""One file that differs from the pin: its path, and the lines added and removed."""

    path: str
    added: int
    removed: int

    @property
    def is_test(self) -> bool:
        return self.path.startswith("tests/")


def make(workshop: Workshop, upstream: Tree) -> str:
    r"""Build the sandbox from a verified tree, and return the hash of what was committed.

    Refuses an edited pin, and a sandbox that is already there. A copy cut short leaves no sandbox:
    it is made beside the final place and moved there whole.
    """
    if workshop.tree.exists():
        raise CapstoneError(
            f"{workshop.tree}: there is a sandbox already; `capstone rehearse reset` puts it aside"
        )
    _refuse_edited(upstream, list(upstream.edited))
    half = workshop.folder / "tree.partial"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    for path in _wanted(upstream.root):
        target = half / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(upstream.root / path, target)
    _git(half, "init", "--quiet", "--initial-branch=main")
    _git(half, "config", "core.autocrlf", "false")
    _git(half, "add", "--force", "--all")
    _git(half, *_AUTHOR, "commit", "--quiet", "--no-verify", "-m", "The pinned tree")
    _git(half, "tag", TAG)
    made = _git(half, "rev-parse", f"{TAG}^{{tree}}").strip()
    half.rename(workshop.tree)
    write_stand_ins(workshop.hub)
    for name in PAPERS:
        if not workshop.paper(name).exists():
            shutil.copyfile(TEMPLATES / name, workshop.paper(name))
    workshop.journal.append(event="start", tree=made)
    return made


def _refuse_edited(upstream: Tree, edited: list[str]) -> None:
    if edited:
        raise CapstoneError(
            f"{upstream.root}: {', '.join(edited[:3])} edited; before and after are compared with "
            f"the pin as it was published, so put that back. A repair belongs into the sandbox"
        )


def need_clean_pin(workshop: Workshop, upstream: Tree) -> None:
    r"""Refuse a pin that is no longer what the sandbox was made from, file by file.

    Somebody who repairs `upstream/` and not the sandbox would compare a repair with itself.
    """
    listed = _git(workshop.tree, "ls-tree", "-r", "-z", TAG, "--", "vllm/v1", "tests/v1")
    edited = list(upstream.edited)
    for entry in filter(None, listed.split("\0")):
        about, path = entry.split("\t", 1)
        there = upstream.root / path
        content = there.read_bytes() if there.is_file() else b""
        # As git names a file's content.
        name = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        if name.hexdigest() != about.split()[2]:
            edited.append(path)
    _refuse_edited(upstream, edited)


def verify(workshop: Workshop) -> None:
    r"""Refuse a sandbox whose `pin` is no longer what `make` committed."""
    workshop.need_sandbox()
    starts = [entry for entry in workshop.journal.read() if entry.get("event") == "start"]
    if not starts:
        raise CapstoneError(
            f"{workshop.journal.path}: no entry of `start`, so nobody knows what {TAG} was; "
            f"`capstone rehearse reset` begins anew and keeps what is here"
        )
    expected = starts[-1].get("tree")
    found = _git(workshop.tree, "rev-parse", f"{TAG}^{{tree}}").strip()
    if found != expected:
        raise CapstoneError(
            f"{workshop.tree}: the tag {TAG} holds {found[:12]}, and `start` committed "
            f"{str(expected)[:12]}; the comparison needs the pin itself (reset begins anew)"
        )


def changes(workshop: Workshop) -> list[Change]:
    r"""Every file that differs from the pin, committed or not, new files included."""
    _see_new_files(workshop)
    text = _git(workshop.tree, "diff", "--numstat", "--no-renames", TAG, "--")
    found = []
    for line in text.splitlines():
        added, removed, path = line.split("\t")
        found.append(Change(path, _number(added), _number(removed)))
    return found


def diff(workshop: Workshop, *paths: str) -> str:
    r"""The diff against the pin, of some paths or of all; the same before a commit and after."""
    _see_new_files(workshop)
    # Names of content in full: how far git cuts them depends on how much else there is.
    return _git(workshop.tree, "diff", "--full-index", "--no-renames", TAG, "--", *paths)


def _see_new_files(workshop: Workshop) -> None:
    _git(workshop.tree, "add", "--intent-to-add", "--all")


def at_pin(workshop: Workshop, path: str) -> str:
    r"""A file as it was at the pin; empty if there was none."""
    command = ["git", "-C", str(workshop.tree), "show", f"{TAG}:{path}"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return "" if done.returncode else done.stdout.decode("utf-8", errors="replace")


def messages(workshop: Workshop) -> list[str]:
    r"""The messages of the learner's commits, newest first."""
    text = _git(workshop.tree, "log", "--format=%B%x00", f"{TAG}..HEAD")
    return [message.strip() for message in text.split("\0") if message.strip()]


def uncommitted(workshop: Workshop) -> list[str]:
    r"""Paths whose content is not that of the last commit."""
    text = _git(workshop.tree, "status", "--porcelain", "--no-renames")
    return [line[3:] for line in text.splitlines()]


def put_aside(workshop: Workshop) -> Path | None:
    r"""Rename the whole rehearsal, so that nothing in it is lost; `None` if there is none."""
    if not workshop.folder.exists():
        return None
    number = 1
    while (aside := workshop.folder.with_name(f"{workshop.folder.name}.{number}")).exists():
        number += 1
    workshop.folder.rename(aside)
    return aside


def _wanted(root: Path) -> list[Path]:
    found = [Path(name) for name in FILES if (root / name).is_file()]
    for part in PARTS:
        for folder, subfolders, names in os.walk(root / part):
            subfolders[:] = sorted(set(subfolders) - {"__pycache__", ".git"})
            for name in sorted(names):
                path = Path(folder) / name
                small = path.stat().st_size <= _LARGEST
                if (path.suffix in _ENDINGS or path.suffix == ".jinja") and small:
                    found.append(path.relative_to(root))
    return found


def _number(text: str) -> int:
    return 0 if text == "-" else int(text)


# The first commit is nobody's, and needs no identity on this machine.
_AUTHOR = (
    "-c",
    "user.name=The pin",
    "-c",
    "user.email=pin@localhost",
    "-c",
    "commit.gpgsign=false",
)


def _git(folder: Path, *arguments: str) -> str:
    if not folder.is_dir():
        raise CapstoneError(f"{folder}: no such folder")
    # Without a repository of its own, git would answer for the one around it.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CapstoneError(f"{folder}: git could not be asked: {error}") from error
    if done.returncode:
        raise CapstoneError(f"{folder}: `git {arguments[0]}` failed: {done.stderr.strip()}")
    return done.stdout
