r"""Where did a target lead?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from upstream_anchors.pin import Pin
from upstream_anchors.tree import Tree


@dataclass(frozen=True)
class Place:
    r"""A resolved target: a file, a folder, or a range of lines.

    `start` and `end` are 1-based and inclusive, and `None` for a whole file or folder. `kind` is
    what was found (file, folder, class, method, line, variable, flag, log, default, …), which says
    more than the kind of the target that asked.
    """

    target: str
    kind: str
    path: str
    symbol: str | None = None
    start: int | None = None
    end: int | None = None

    def permalink(self, pin: Pin) -> str:
        r"""The address of these lines at the tag of the pin."""
        if self.kind == "folder":
            return pin.folder_link(self.path)
        return pin.permalink(self.path, self.start, self.end)

    @property
    def where(self) -> str:
        r"""`path`, or `path, lines 3 to 9`: for captions and messages, never to be parsed."""
        if self.start is None:
            return self.path
        if self.start == self.end:
            return f"{self.path}, line {self.start}"
        return f"{self.path}, lines {self.start} to {self.end}"

    @property
    def label(self) -> str:
        r"""The short name that a link shows when the writer gave none."""
        if self.symbol is None:
            return self.path
        return self.symbol

    def slice(self, tree: Tree) -> list[str]:
        r"""The lines of the tree that this place covers; the listing, for a folder."""
        if self.kind == "folder":
            return sorted(path for path in tree.files if path.startswith(f"{self.path}/"))
        lines = tree.lines(self.path)
        if self.start is None or self.end is None:
            return list(lines)
        return list(lines[self.start - 1 : self.end])

    def digest(self, tree: Tree) -> str:
        r"""SHA-256 of the slice, newlines normalised: equal digests mean equal text."""
        return hashlib.sha256("\n".join(self.slice(tree)).encode()).hexdigest()
