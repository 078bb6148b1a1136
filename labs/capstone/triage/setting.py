r"""What the checks look at besides the issue: the tree, the map, the list, the answers, the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from upstream_anchors.tree import Tree

from capstone.plan.ci_areas import Step, read_steps
from capstone.triage.answers import Answers
from capstone.triage.exports import Issue, Pull
from capstone.triage.mentions import Finder, Mentions
from capstone.triage.owners import Rule, read_owners
from capstone.triage.territory import Territory


class Upstream:
    r"""The pinned tree as the checks ask it, each part read when it is first needed."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @cached_property
    def finder(self) -> Finder:
        r"""Looks up what an issue names."""
        return Finder(self.tree)

    @cached_property
    def owners(self) -> list[Rule]:
        r"""The lines of CODEOWNERS."""
        return read_owners(self.tree)

    @cached_property
    def steps(self) -> list[Step]:
        r"""The steps of CI."""
        return read_steps(self.tree)


@dataclass
class Setting:
    r"""One run of the Gauntlet.

    `pulls` is `None` when no list was given, which is not the same as an empty one. `files` are
    the places of the issue, settled by the third check for the two after it.
    """

    issue: Issue
    pulls: list[Pull] | None
    upstream: Upstream
    territory: Territory | None
    answers: Answers
    today: datetime
    files: tuple[str, ...] = ()

    @cached_property
    def mentions(self) -> Mentions:
        r"""What the issue speaks of."""
        return self.upstream.finder.read(self.issue.title, self.issue.body)

    @property
    def is_rfc(self) -> bool:
        r"""Whether the issue is a design to be agreed on."""
        return "RFC" in self.issue.labels or self.issue.title.upper().startswith("[RFC]")

    @property
    def is_feature(self) -> bool:
        r"""Whether the issue asks for something new."""
        named = self.issue.title.lower().startswith(("[feature]", "[new model]"))
        return self.is_rfc or named or bool(self.issue.labels & {"feature request", "new-model"})

    @property
    def is_ci(self) -> bool:
        r"""Whether the issue is about a failing run of CI."""
        title = self.issue.title.lower()
        named = title.startswith("[ci failure]") or "ci flake" in title
        return named or "ci-failure" in self.issue.labels
