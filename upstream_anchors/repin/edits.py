r"""New targets in the pages, when somebody has asked for it.

A target is replaced where it stands as one ({py:func}`.spelled`). Each edit is printed, and so is a
use that could not be edited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.repin.decisions import Decision
from upstream_anchors.spelled import spelled


@dataclass(frozen=True)
class Edit:
    r"""Old target to new target, on one line of one file."""

    file: str
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.old} -> {self.new}"


def planned_edits(
    root: Path, decisions: Iterable[Decision]
) -> tuple[list[Edit], list[tuple[str, str]]]:
    r"""The edits that the suggestions ask for, and the `(file, target)` that are not found so.

    Nothing is written.
    """
    edits: list[Edit] = []
    missed: list[tuple[str, str]] = []
    for decision in decisions:
        if decision.suggestion is None:
            continue
        for name in sorted({use.file for use in decision.uses}):
            text = (root / name).read_text(encoding="utf-8")
            found = [
                Edit(name, text.count("\n", 0, m.start()) + 1, decision.target, decision.suggestion)
                for m in spelled(decision.target).finditer(text)
            ]
            edits += found
            if not found:
                missed.append((name, decision.target))
    return sorted(edits, key=lambda e: (e.file, e.line, e.old)), missed


def apply_edits(root: Path, edits: Iterable[Edit]) -> list[Path]:
    r"""Write the edits; the files that were changed."""
    by_file: dict[str, dict[str, str]] = {}
    for edit in edits:
        by_file.setdefault(edit.file, {})[edit.old] = edit.new
    changed = []
    for name, pairs in sorted(by_file.items()):
        file = root / name
        # All at once: a new target may be another's old one.
        either = re.compile("|".join(spelled(old).pattern for old in pairs))

        def new_target(found: re.Match[str], pairs: dict[str, str] = pairs) -> str:
            return pairs[" ".join(found[0].split())]

        text = file.read_text(encoding="utf-8")
        file.write_text(either.sub(new_target, text), encoding="utf-8")
        changed.append(file)
    return changed
