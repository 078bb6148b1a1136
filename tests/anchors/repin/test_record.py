"""The recorded move: its summary is what its list adds up to, and the page shows what is in it."""

from __future__ import annotations

import re

from upstream_anchors.pin import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "book" / "reference"


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_summary_is_what_the_list_adds_up_to() -> None:
    text = (FOLDER / "moving-the-pin.txt").read_text(encoding="utf-8")
    total, calm = map(
        number, re.search(r"^([\d,]+) anchors: ([\d,]+) are the same", text, re.M).groups()
    )
    listed = {}
    for kind, count, body in re.findall(r"^([A-Z]+) \(([\d,]+)\)\..*\n((?:  .*\n)+)", text, re.M):
        anchors = re.findall(r"^  (\S.*)$", body, re.M)
        assert len(set(anchors)) == len(anchors) == number(count)
        listed[kind.lower()] = len(anchors)
    assert total - calm == sum(listed.values())
    summary = re.findall(r"^ +([\d,]+)  (\w+) ", text.split("\nRENAMED")[0], re.M)
    assert {kind: number(count) for count, kind in summary} == listed


def test_the_page_shows_lines_that_the_record_has() -> None:
    page = (FOLDER / "moving-the-pin.md").read_text(encoding="utf-8")
    record = (FOLDER / "moving-the-pin.txt").read_text(encoding="utf-8")
    marks = re.findall(r'^:(?:start-at|end-before): "?([^"\n]+)"?$', page, re.M)
    assert len(marks) > 8
    for mark in marks:
        assert mark in record
