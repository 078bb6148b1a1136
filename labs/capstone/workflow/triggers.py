r"""Which steps of CI does a changed file start, and whom does it ask?

A step names the paths whose change starts it ({up}`.buildkite/test_areas`). Each is read as the
beginning of a path: some end in a slash, some in the middle of a file's name. A step that names
none is started by every change, and `optional` ones by nobody: a person starts them. Some paths
start everything ({up}`.buildkite/ci_config.yaml@"run_all_patterns:"`), unless an exception names
them.

The program that turns these files into a pipeline is not part of the tree; how it matches is
therefore this reading of the names, and no line can be linked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml
from upstream_anchors.tree import Tree

from capstone.errors import CapstoneError
from capstone.plan.ci_areas import Step

CONFIG = ".buildkite/ci_config.yaml"


@dataclass(frozen=True)
class Everything:
    r"""The paths that start every step, and the exceptions from them."""

    patterns: tuple[str, ...]
    exceptions: tuple[str, ...]

    def match(self, path: str) -> str:
        r"""The pattern that a path begins with, or nothing."""
        if any(path.startswith(exception) for exception in self.exceptions):
            return ""
        return next((pattern for pattern in self.patterns if path.startswith(pattern)), "")


@dataclass(frozen=True)
class Change:
    r"""What one changed file sets in motion."""

    steps: tuple[Step, ...]
    optional: tuple[Step, ...]
    owners: tuple[str, ...]
    everything: str = ""


def read_everything(tree: Tree) -> Everything:
    r"""The two lists of the pipeline's configuration."""
    data = yaml.safe_load(tree.text(CONFIG))
    try:
        patterns, exceptions = data["run_all_patterns"], data["run_all_exclude_patterns"]
    except (KeyError, TypeError) as error:
        raise CapstoneError(f"{CONFIG}: {error} is missing") from error
    return Everything(tuple(map(str, patterns)), tuple(map(str, exceptions)))


def started(
    steps: Sequence[Step], path: str, everything: Everything
) -> tuple[list[Step], list[Step]]:
    r"""The steps that a change of `path` starts, and those that would wait for a person."""
    whole = everything.match(path)
    by_path = [step for step in steps if whole or names(step.sources, path)]
    return (
        [step for step in by_path if not step.optional],
        [step for step in by_path if step.optional],
    )


def names(sources: Iterable[str], path: str) -> bool:
    r"""Whether the path begins with one of the sources; a step without any is for every path."""
    listed = list(sources)
    return not listed or any(path.startswith(source) for source in listed)
