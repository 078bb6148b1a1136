"""What the labs' pages show is what the commands print, and the example plan is a good one."""

from __future__ import annotations

import pytest
from capstone.plan.checking import check_plan
from capstone.plan.markdown import Document
from capstone.plan.upstream import Upstream
from capstone.progress import screens

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import open_tree

pytestmark = pytest.mark.skipif(open_tree(the_pin()) is None, reason="the pinned tree is not here")


def test_a_screen_is_as_it_was_taken() -> None:
    for path, shown in screens.screens().items():
        kept = path.read_text(encoding="utf-8")
        assert shown == kept, "take them anew: python -m capstone.progress.screens"
        assert path.name in (path.parent / "README.md").read_text(encoding="utf-8")
        assert max(map(len, kept.splitlines())) <= screens.WIDTH


def test_the_example_plan_has_nothing_to_complain_of() -> None:
    assert check_plan(Document.read(screens.GOOD), Upstream.open()) == []
    assert len(screens.MISTAKES) == 3
