"""Each row of the page of beliefs has evidence, and what it says is gone is gone at the pin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from upstream_anchors.absence import parse_absences
from upstream_anchors.pin import PACKAGE_DIR, Pin
from upstream_anchors.tree import Tree, open_tree

PAGE = Path(__file__).resolve().parents[2] / "book" / "reference" / "believed.md"
ROW = re.compile(r"^```\{belief\} (?P<name>\S+)\n(?P<text>.*?)^```$", re.M | re.S)
OPTION = re.compile(r"^:(?P<key>[a-z]+): (?P<value>.*)$")
ANCHOR = re.compile(r"\{up\}`[^`]+`")


class Belief(NamedTuple):
    name: str
    options: dict[str, str]
    body: str


def beliefs(text: str) -> Iterator[Belief]:
    for row in ROW.finditer(text):
        options, lines = {}, row["text"].splitlines()
        while lines and (option := OPTION.match(lines[0])):
            options[option["key"]] = option["value"].strip("'")
            lines.pop(0)
        yield Belief(row["name"], options, "\n".join(lines))


def complaints(row: Belief) -> list[str]:
    found = []
    if not row.options.get("often", "").endswith((".", "?")):
        found.append("no sentence that is often said")
    if not ANCHOR.search(row.body):
        found.append("no anchor")
    if row.body.count("`") % 2:
        found.append("a backtick without its other half")
    return found


ROWS = list(beliefs(PAGE.read_text(encoding="utf-8")))


def test_the_page_is_read_whole() -> None:
    # A fence that the pattern cannot read would leave its row unchecked.
    assert len(ROWS) == PAGE.read_text(encoding="utf-8").count("```{belief}") >= 44


def test_no_two_rows_share_a_name() -> None:
    assert [n for n, times in Counter(row.name for row in ROWS).items() if times > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_what_is_believed_and_cites_what_is_true(row: Belief) -> None:
    assert complaints(row) == []


def test_a_row_without_evidence_is_found() -> None:
    text = "```{belief} bare\n:often: It is fast\n`fast` is a word.\n```\n"
    (row,) = beliefs(text)
    assert complaints(row) == ["no sentence that is often said", "no anchor"]


@pytest.fixture(scope="module")
def pinned_tree() -> Tree:
    tree = open_tree(Pin.load(PACKAGE_DIR / "pin.toml"))
    if tree is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return tree


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "absent" in row.options], ids=lambda row: row.name
)
def test_what_is_said_to_be_gone_is_gone_at_the_pin(row: Belief, pinned_tree: Tree) -> None:
    for absence in parse_absences(row.options["absent"]):
        assert absence.check(pinned_tree) >= 1
