"""An edit that a reference page cannot show leaves its outline as it was; any other changes it."""

from __future__ import annotations

import os

import pytest

from book._ext.weave.outline import outline

MODULE = '''"""About the module."""
import json

LIMIT = 3


class Shown:
    """About the class."""

    size: int = 0

    def method(self, one: int) -> int:
        """About the method."""
        return one + 1


def elsewhere(one):
    """A chapter shows this."""


def _private():
    """Nobody sees this."""
'''
HOMES = {"sample.elsewhere": "chapter"}


def digest(tmp_path, text):
    path = tmp_path / "sample.py"
    path.write_text(text)
    os.utime(path, ns=(digest.clock, digest.clock))
    digest.clock += 1
    return outline(path, "sample", HOMES)


digest.clock = 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return one + 1", "return one + 2"),
        ("About the module", "Of the module"),
        ("A chapter shows", "A chapter prints"),
        ("Nobody sees", "None sees"),
        ("import json\n", "# a comment\n\nimport json\n"),
    ],
)
def test_what_it_cannot_show(tmp_path, before, after):
    changed = MODULE.replace(before, after)
    assert changed != MODULE
    assert digest(tmp_path, changed) == digest(tmp_path, MODULE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("About the class", "Of the class"),
        ("About the method", "Of the method"),
        ("one: int", "one: float"),
        ("size: int = 0", "size: int = 1"),
        ("LIMIT = 3", "#: At most.\nLIMIT = 3"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("import json", "import json as text"),
        ("def _private", "def public"),
    ],
)
def test_what_it_may_show(tmp_path, before, after):
    changed = MODULE.replace(before, after)
    assert changed != MODULE
    assert digest(tmp_path, changed) != digest(tmp_path, MODULE)


def test_what_moves_to_a_chapter(tmp_path):
    before = digest(tmp_path, MODULE)
    assert outline(tmp_path / "sample.py", "sample", HOMES | {"sample.Shown": "chapter"}) == before
    homes = HOMES | {"sample.Shown": "chapter", "sample.Shown.*": "chapter"}
    assert outline(tmp_path / "sample.py", "sample", homes) != before
