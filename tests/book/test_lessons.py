"""Modules beside the phases: which lessons are listed, and what counts their progress."""

from __future__ import annotations

import pytest

from book._ext.lessons import lessons, title_of
from book._ext.progress import budget, course
from book.phases import ROOT, declared_minutes, is_lesson, others, phases

MODULE = "book/inference-internals"
LISTED = [d for d in others() if d.startswith(f"{MODULE}/") and is_lesson(d)]


def test_every_page_that_declares_minutes_exists_and_no_lesson_goes_without():
    assert LISTED
    for document in others():
        assert (ROOT / f"{document}.md").is_file(), document
    pages = {f"{MODULE}/{p.stem}" for p in (ROOT / MODULE).glob("[0-9][0-9]-*.md")}
    assert pages == set(LISTED)


def test_only_lessons_that_exist_are_listed_in_the_order_of_their_names():
    assert lessons(MODULE, set()) == []
    assert [d for d, _ in lessons(MODULE, set(LISTED))] == sorted(LISTED)
    assert lessons("book/other", set(LISTED)) == []


def test_the_script_counts_lessons_for_their_module_and_not_for_a_phase():
    first, *_ = LISTED
    found = course(ROOT, {first, "book/CAREER", phases()[0].guide})
    assert found["inference-internals"] == {"labs": [], "pages": [[first, others()[first]]]}
    assert set(found) == {"inference-internals", "00"}
    assert "inference-internals" not in course(ROOT, {phases()[0].guide})


def test_a_page_that_is_no_lesson_has_minutes_and_counts_for_no_module():
    whole = {d for d in others() if d.startswith(f"{MODULE}/")}
    assert whole - set(LISTED) == {f"{MODULE}/capstone", f"{MODULE}/worked-change"}
    assert {d for d, _ in lessons(MODULE, whole)} == set(LISTED)
    assert course(ROOT, whole)["inference-internals"]["pages"] == [[d, others()[d]] for d in LISTED]
    assert not is_lesson("book/CAREER")
    # Every page of the module but its list of lessons.
    pages = {f"{MODULE}/{page.stem}" for page in (ROOT / MODULE).glob("*.md")}
    assert pages - {f"{MODULE}/index"} == whole


def test_a_page_can_be_ticked_where_it_declares_minutes():
    assert budget("book/CAREER") == declared_minutes("book/CAREER") == others()["book/CAREER"]
    assert budget(f"{MODULE}/index") is None
    assert (
        declared_minutes(f"book/{phases()[0].folder}/00-guide") == phases()[0].minutes["00-guide"]
    )


def test_a_lesson_has_a_heading(tmp_path):
    page = tmp_path / "x.md"
    page.write_text("---\na: 1\n---\n\n# The loop\n\ntext\n", encoding="utf-8")
    assert title_of(page) == "The loop"
    page.write_text("text\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no heading"):
        title_of(page)
