"""What was written stays written: journals after a crash, documents after an edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone import records
from capstone.errors import CapstoneError
from capstone.records import Journal, read_json, write_document
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(said=st.lists(WORDS, min_size=1, max_size=5), cut=st.integers(0, 400))
def test_a_journal_cut_anywhere_keeps_every_whole_entry(tmp_path_factory, said, cut) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.os, "fsync", lambda _: None)  # a busy disk takes its time
        check_cut(tmp_path_factory, said, cut)


def check_cut(tmp_path_factory, said: list[str], cut: int) -> None:
    """Write, cut, read, write again."""
    journal = Journal(tmp_path_factory.mktemp("j") / "answers.jsonl")
    for text in said:
        journal.append(text=text)
    kept = journal.path.read_bytes()[:cut]
    journal.path.write_bytes(kept)
    whole = said[: kept.count(b"\n")]
    assert [entry["text"] for entry in journal.read()][: len(whole)] == whole
    journal.append(text="after the crash")
    texts = [entry["text"] for entry in journal.read()]
    assert texts[: len(whole)] == whole
    assert texts[-1] == "after the crash"
    assert len(journal.damaged()) <= 1
    assert journal.path.read_bytes().startswith(kept)


def test_an_entry_is_on_the_disk_before_append_returns(tmp_path, monkeypatch) -> None:
    synced = []
    monkeypatch.setattr(records.os, "fsync", lambda _: synced.append(path.read_bytes()))
    path = tmp_path / "answers.jsonl"
    Journal(path).append(text="kept")
    assert b'"kept"' in synced[0]


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "none" / "answers.jsonl")
    assert (journal.read(), journal.damaged()) == ([], [])
    assert not journal.path.parent.exists()


def test_lines_that_hold_no_entry_are_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "answers.jsonl")
    journal.path.write_text('{"a": 1}\n[2]\nnot json\n\n{"b": 3}\n')
    assert journal.read() == [{"a": 1}, {"b": 3}]
    assert journal.damaged() == [2, 3]


def test_a_document_that_its_owner_edited_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    assert write_document(path, "one") is None
    path.write_text("mine")
    assert write_document(path, "two", expected="one") == tmp_path / "plan.md.1"
    path.write_text("mine again")
    assert write_document(path, "three", expected="two") == tmp_path / "plan.md.2"
    assert path.read_text() == "three"
    assert (tmp_path / "plan.md.1").read_text() == "mine"
    assert (tmp_path / "plan.md.2").read_text() == "mine again"


def test_a_document_that_nobody_edited_leaves_nothing_aside(tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    write_document(path, "one")
    assert write_document(path, "two", expected="one") is None
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"{", "not JSON"), (b"\xff", "not UTF-8"), (None, "no such file")]
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content, complaint: str) -> None:
    path = tmp_path / "export.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CapstoneError, match=complaint):
        read_json(path)
