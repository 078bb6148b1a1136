r"""Where is the pinned tree on this machine, and is it really the pinned one?

Three answers are possible. `VLLM_UPSTREAM_TREE` names a tree of the reader's own, a git checkout or
an unpacked sdist; or `upstream/` beside the book holds the one that `fetch` unpacked; or there is
none, and the book is built from the lock. A tree of the wrong version is never the fourth answer:
line numbers of another release look plausible and are wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cached_property
from pathlib import Path

from upstream_anchors.errors import TreeError
from upstream_anchors.pin import PROJECT_ROOT, Pin

TREE_VARIABLE = "VLLM_UPSTREAM_TREE"
DEFAULT_TREE = PROJECT_ROOT / "upstream"

# Written into a tree that `fetch` unpacked, so that `fetch` may also replace it.
MARKER = ".fetched-by-upstream-anchors.json"

_COMMIT_ID = re.compile(r"""^__commit_id__ = commit_id = ['"]g?([0-9a-f]+)['"]""", re.MULTILINE)
_VERSION = re.compile(r"""^__version__ = version = ['"]([^'"]+)['"]""", re.MULTILINE)


class Tree:
    r"""A verified tree, read lazily and never written.

    Paths are relative to the root, with forward slashes, as in an anchor. Lines are what GitHub
    counts: the text between newlines, whatever form feeds stand in it. Files read are kept, since
    one page names the same file again and again.
    """

    def __init__(self, root: Path, *, origin: str = "sdist", edited: tuple[str, ...] = ()) -> None:
        self.root = root
        self.origin = origin
        # Tracked files that a git checkout has changed: their lines are not the pin's.
        self.edited = edited
        self._lines: dict[str, tuple[str, ...]] = {}
        self._searched: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Tree({str(self.root)!r}, origin={self.origin!r})"

    def is_file(self, path: str) -> bool:
        r"""Whether `path` is a file of the tree, spelled the way the tree spells it."""
        return path in self.files

    def is_folder(self, path: str) -> bool:
        r"""Whether `path` is a folder of the tree that holds at least one file."""
        return path in self.folders

    def lines(self, path: str) -> tuple[str, ...]:
        r"""The lines of a file without their newlines; `lines(path)[0]` is line 1."""
        if path not in self._lines:
            text = (self.root / path).read_bytes().decode("utf-8", errors="replace")
            text = text.replace("\r\n", "\n")
            self._lines[path] = tuple(text.removesuffix("\n").split("\n"))
        return self._lines[path]

    def text(self, path: str) -> str:
        r"""The whole file, newlines normalised."""
        return "\n".join(self.lines(path)) + "\n"

    def files_matching(self, pattern: bytes, under: str = "vllm") -> list[str]:
        r"""The Python files below one folder in which a pattern occurs: a search before parsing.

        The bytes are kept, some 25 MB for the whole package: the next search is in memory.
        """
        wanted = re.compile(pattern)
        hits = []
        for path in self.python_files(under):
            if path not in self._searched:
                self._searched[path] = (self.root / path).read_bytes()
            if wanted.search(self._searched[path]):
                hits.append(path)
        return hits

    @cached_property
    def files(self) -> frozenset[str]:
        r"""Every file, version control's own and compiled Python aside."""
        found: set[str] = set()
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [name for name in subfolders if name not in {".git", "__pycache__"}]
            base = Path(folder).relative_to(self.root).as_posix()
            prefix = "" if base == "." else f"{base}/"
            found.update(prefix + name for name in names)
        return frozenset(found - {MARKER})

    @cached_property
    def folders(self) -> frozenset[str]:
        r"""Every folder that a file stands under."""
        found: set[str] = set()
        for path in self.files:
            parts = path.split("/")[:-1]
            found.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
        return frozenset(found)

    def python_files(self, under: str = "vllm") -> list[str]:
        r"""The Python files below one folder, sorted."""
        return sorted(p for p in self.files if p.startswith(f"{under}/") and p.endswith(".py"))


def open_tree(pin: Pin, root: Path | None = None) -> Tree | None:
    r"""The verified tree, or `None` when this machine has none.

    `root`, when given, comes before the environment and the default place. A tree that was *named*,
    by `root` or by `VLLM_UPSTREAM_TREE`, must exist; only the default place may be empty.

    Raises {py:class}`.TreeError` for a tree of another version or commit.
    """
    if root is not None:
        return verify_tree(pin, root, named_by="the --tree option")
    if named := os.environ.get(TREE_VARIABLE):
        return verify_tree(pin, Path(named).expanduser(), named_by=TREE_VARIABLE)
    if not DEFAULT_TREE.is_dir():
        return None
    return verify_tree(pin, DEFAULT_TREE, named_by="the default place")


def need_tree(pin: Pin, root: Path | None = None) -> Tree:
    r"""The verified tree, or a {py:class}`.TreeError` that says how to get one."""
    tree = open_tree(pin, root)
    if tree is None:
        raise TreeError(
            f"There is no tree of {pin} at {DEFAULT_TREE}. Fetch it with "
            f"`python -m upstream_anchors fetch`, or let {TREE_VARIABLE} name a git checkout of "
            f"tag {pin.tag}."
        )
    return tree


def verify_tree(pin: Pin, root: Path, *, named_by: str) -> Tree:
    r"""Check that `root` is the pinned tree, by whichever fingerprint it carries.

    A git checkout answers with its HEAD, which must begin with the pinned commit; files edited in
    it are remembered in `Tree.edited`. An unpacked sdist answers with `vllm/_version.py`. Both are
    quick: what is *in* the files is checked anchor by anchor, against the lock.
    """
    if not root.is_dir():
        raise TreeError(f"{named_by} names {root}, which is not a folder.")
    version_file = root / pin.project / "_version.py"
    if (root / ".git").exists():
        return _verify_checkout(pin, root, named_by)
    if not version_file.is_file():
        raise TreeError(
            f"{root} ({named_by}) is neither a git checkout nor an unpacked sdist of "
            f"{pin.project}: it has no .git and no {pin.project}/_version.py. Remove it, or point "
            f"{TREE_VARIABLE} elsewhere."
        )
    version, commit = read_identity(version_file)
    if version != pin.version or not _same_commit(commit, pin.commit):
        raise TreeError(
            f"{root} ({named_by}) holds {pin.project} {version} @ {commit or 'no commit'}; this "
            f"book is pinned to {pin}. Remove the folder and run `python -m upstream_anchors "
            f"fetch`, or point {TREE_VARIABLE} at the pinned tree."
        )
    return Tree(root, origin="sdist")


def read_identity(version_file: Path) -> tuple[str | None, str | None]:
    r"""Version and commit id that a built `_version.py` declares; `None` for what it lacks."""
    text = version_file.read_text(encoding="utf-8", errors="replace")
    version, commit = _VERSION.search(text), _COMMIT_ID.search(text)
    return (version and version[1]) or None, (commit and commit[1]) or None


def _same_commit(found: str | None, pinned: str) -> bool:
    # Either may be the longer abbreviation of the same id.
    return found is not None and (found.startswith(pinned) or pinned.startswith(found))


def _verify_checkout(pin: Pin, root: Path, named_by: str) -> Tree:
    head = _git(root, "rev-parse", "HEAD")
    if not head.startswith(pin.commit):
        raise TreeError(
            f"{root} ({named_by}) is a git checkout at {head[:12]}; this book is pinned to {pin}. "
            f"Run `git -C {root} checkout {pin.tag}`."
        )
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    edited = tuple(line[3:] for line in status.splitlines())
    return Tree(root, origin="checkout", edited=edited)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TreeError(f"{root} is a git checkout, but git could not be asked: {error}") from error
    if done.returncode:
        raise TreeError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")
