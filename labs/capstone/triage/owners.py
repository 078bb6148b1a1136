r"""Who must look at a change: the pinned `.github/CODEOWNERS`, last matching line first.

GitHub's rule is that the last pattern that matches a path names its owners. A pattern that begins
with `/` is anchored at the root, one without matches at any depth; `*` stays within a folder and
`**` does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from upstream_anchors.tree import Tree

FILE = ".github/CODEOWNERS"


@dataclass(frozen=True)
class Rule:
    r"""One line: the pattern, its owners without `@`, and where it stands."""

    pattern: str
    owners: tuple[str, ...]
    line: int

    def matches(self, path: str) -> bool:
        r"""Whether the pattern names the file or a folder above it."""
        return re.match(_expression(self.pattern), path) is not None


def read_owners(tree: Tree) -> list[Rule]:
    r"""The rules, in the order of the file."""
    rules = []
    for number, line in enumerate(tree.lines(FILE), start=1):
        words = line.split("#", 1)[0].split()
        if words:
            rules.append(Rule(words[0], tuple(w.lstrip("@") for w in words[1:]), number))
    return rules


def owners_of(rules: list[Rule], path: str) -> Rule | None:
    r"""The rule that names a file's owners; `None` if no line matches."""
    return next((rule for rule in reversed(rules) if rule.matches(path)), None)


def _expression(pattern: str) -> str:
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    body = "".join(wild.get(part, re.escape(part)) for part in parts)
    return f"{'' if anchored else '(?:.*/)?'}{body}(?:/|$)"
