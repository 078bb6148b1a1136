"""Small exports, made of the fields that a test is about, and the pinned tree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from capstone.triage.answers import Answers
from capstone.triage.exports import issue_from, pulls_from
from capstone.triage.setting import Setting, Upstream
from capstone.triage.territory import Territory

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import open_tree

URL = "https://github.com/vllm-project/vllm"
NOON = "2026-05-28T12:00:00Z"
GOOD_BODY = (
    "On main, `KVCacheManager.get_computed_blocks()` records its statistics at lookup. When slots "
    "run out, the request is looked up again in the next step and counted twice."
)


@pytest.fixture(scope="session")
def upstream() -> Upstream:
    """The checks' view of the pinned tree, where this machine has it."""
    tree = open_tree(the_pin())
    if tree is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return Upstream(tree)


@pytest.fixture
def export() -> Callable[..., dict[str, Any]]:
    """An issue as `gh` prints it; a free, plain one unless told otherwise."""

    def make(**changes: Any) -> dict[str, Any]:
        issue = {
            "number": 100,
            "title": "[Bug]: hits are counted twice",
            "state": "OPEN",
            "url": f"{URL}/issues/100",
            "author": {"login": "reporter"},
            "assignees": [],
            "labels": [{"name": "bug"}],
            "body": GOOD_BODY,
            "comments": [],
            "closedByPullRequestsReferences": [],
            "createdAt": NOON,
            "updatedAt": NOON,
        }
        return {**issue, **changes}

    return make


@pytest.fixture
def comment() -> Callable[..., dict[str, Any]]:
    """A comment as `gh` prints it."""

    def make(body: str, author: str = "helper", role: str = "NONE", at: str = NOON) -> dict:
        return {
            "author": {"login": author},
            "authorAssociation": role,
            "body": body,
            "createdAt": at,
        }

    return make


@pytest.fixture
def pull() -> Callable[..., dict[str, Any]]:
    """A pull request of a list as `gh` prints it."""

    def make(number: int, title: str = "x", body: str = "", **changes: Any) -> dict:
        one = {
            "number": number,
            "title": title,
            "body": body,
            "state": "OPEN",
            "url": f"{URL}/pull/{number}",
            "author": {"login": "helper"},
            "isDraft": False,
            "updatedAt": NOON,
        }
        return {**one, **changes}

    return make


@pytest.fixture
def setting(upstream: Upstream, export: Callable[..., dict]) -> Callable[..., Setting]:
    """A run on a laptop without a GPU, with a map of the core and the engine."""

    def make(
        pulls: Any = (),
        answers: dict[str, Any] | None = None,
        gpu_gib: float | None = 0.0,
        known: tuple[str, ...] = ("vllm/v1/core", "vllm/v1/engine"),
        **changes: Any,
    ) -> Setting:
        issue = issue_from(export(**changes), "issue.json")
        listed = None if pulls is None else pulls_from(list(pulls), "prs.json")
        territory = Territory.of_folders(upstream.tree, known) if known else None
        said = Answers({issue.number: answers or {}}, gpu_gib)
        today = datetime(2026, 5, 30, tzinfo=UTC)
        return Setting(issue, listed, upstream, territory, said, today)

    return make
