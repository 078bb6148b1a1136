"""The pinned tree, opened once; without it these tests say so and are skipped."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from capstone.plan.upstream import Upstream

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import open_tree

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def upstream() -> Upstream:
    """What the checks ask."""
    tree = open_tree(the_pin())
    if tree is None:
        pytest.skip("the pinned tree is not here")
    return Upstream(tree, the_pin())
