r"""What else names the old release, besides the anchors?

A version in a sentence, a hash in a table, the requirements of another environment, a capture of a
real run: no resolver finds these, and they go wrong quietly. So every tracked file is searched for
the pin's own words, and each file that has one is listed with what kind of thing it is. Numbers
that were counted in the tree (how many files, how many importers) name no release at all; those are
counted in both trees and shown side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from upstream_anchors.pin import Pin
from upstream_anchors.repin.branch import git

# Written by the move itself.
WRITTEN = frozenset(("upstream_anchors/pin.toml", "upstream_anchors/lock.json"))

_RULES = (
    ("labs/vllm_cpu/*", "the environment of real vLLM: take its versions and hashes anew"),
    ("*/records/*", "made against the old pin: make it anew"),
    ("*.json", "a record or a capture of the old release: run it again, or let it say so"),
    ("*.log", "a record or a capture of the old release: run it again, or let it say so"),
    ("*.txt", "a record or a capture of the old release: run it again, or let it say so"),
    ("tests/*", "a test that expects the old release"),
    ("*.md", "text that names the release"),
    ("*", "code or configuration that names the release"),
)


@dataclass(frozen=True)
class Mention:
    r"""A file that names the old pin: how often, on which lines first, and what to do about it."""

    file: str
    count: int
    lines: tuple[int, ...]
    advice: str


def find_mentions(root: Path, pin: Pin) -> list[Mention]:
    r"""Every tracked file that names the version, the commit or the hash of a pin."""
    # A version is not the beginning of a longer one; of a hash the first digits are enough.
    hashes = "|".join(re.escape(word[:16]) for word in (pin.commit, pin.sdist_sha256) if word)
    pattern = re.compile(rf"(?<![\d.]){re.escape(pin.version)}(?!\d|\.\d)|{hashes}")
    found = []
    for name in git(root, "ls-files").splitlines():
        file = root / name
        if name in WRITTEN or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = [at for at, line in enumerate(text.split("\n"), start=1) if pattern.search(line)]
        if lines:
            found.append(Mention(name, len(lines), tuple(lines), _advice(name)))
    return sorted(found, key=lambda mention: (_order(mention.advice), mention.file))


def advices() -> list[str]:
    r"""The kinds of mentions, in the order in which they are listed."""
    return list(dict.fromkeys(advice for _, advice in _RULES))


def _advice(name: str) -> str:
    path = PurePosixPath(name)
    return next(text for rule, text in _RULES if _matches(path, rule))


def _matches(path: PurePosixPath, rule: str) -> bool:
    if rule.startswith("*/"):
        return rule[2:-2] in path.parts
    if rule.endswith("/*"):
        return str(path).startswith(rule[:-1])
    return path.match(rule)


def _order(advice: str) -> int:
    return advices().index(advice)


@dataclass(frozen=True)
class Count:
    r"""A number of the tree that the book states: what it counts, and then and now."""

    what: str
    old: int
    new: int


def changed_counts(pairs: Sequence[Count]) -> list[Count]:
    r"""Those that differ."""
    return [count for count in pairs if count.old != count.new]
