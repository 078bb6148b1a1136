"""The Anki package: one note a source, ids that outlive rewording, HTML that stands alone."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("genanki", reason="the book's own requirements are not installed")

from book._ext.invariants import registry
from book.flash_cards import package as packages
from book.flash_cards.markup import MarkupError, html
from book.flash_cards.notes import FIELDS, CardNote, all_notes
from book.flash_cards.package import moment, package
from book.phases import phases
from book.quantities.registry import all_quantities
from book.questions import read

ROOT = Path(__file__).resolve().parents[2]
WHEN = 1_767_225_600
VOID = {"br", "hr", "img"}


@pytest.fixture(scope="module")
def notes() -> list[CardNote]:
    return all_notes(ROOT)


@pytest.fixture(scope="module")
def rows(notes) -> list[tuple]:
    return opened(package(notes, WHEN), "SELECT guid, mid, flds, tags, mod FROM notes")


def opened(data: bytes, query: str) -> list[tuple]:
    """Rows of the collection inside a package."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["collection.anki2", "media"]
        assert archive.read("media") == b"{}"
        collection = archive.read("collection.anki2")
    connection = sqlite3.connect(":memory:")
    connection.deserialize(collection)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_there_is_one_note_and_one_card_for_each_source(notes, rows):
    written = [phase for phase in phases() if phase.written()]
    numbers = {phase.number for phase in written}
    pages = [ROOT / "book" / phase.folder / "INTERVIEW.md" for phase in written]
    questions = [entry.id for page in pages for entry in read(page)]
    invariants = [i.id for i in registry(ROOT / "mini_vllm").values() if i.phase in numbers]
    quantities = [q.name for q in all_quantities() if set(q.phases) & numbers]
    ids = [row[2].split("\x1f")[0] for row in rows]
    assert sorted(ids) == sorted(questions + invariants + quantities)
    assert len(questions) >= 50
    assert len({row[0] for row in rows}) == len(rows)
    (cards,) = opened(package(notes, WHEN), "SELECT count(*), count(DISTINCT nid) FROM cards")
    assert cards == (len(rows), len(rows))


def test_the_same_source_gives_the_same_bytes(notes):
    assert package(notes, WHEN) == package(all_notes(ROOT), WHEN)
    assert package(notes, WHEN) != package(notes, WHEN + 2)


def test_a_reworded_note_keeps_its_guid_and_another_id_is_another_note(notes):
    note = next(n for n in notes if n.kind == "question")
    reworded = replace(note, fields=(note.id, *("new" for _ in note.fields[1:])), tags=("other",))
    assert reworded.guid == note.guid
    assert replace(note, id=f"{note.id}-x").guid != note.guid
    assert replace(note, kind="invariant").guid != note.guid


def test_the_ids_that_readers_have_already_imported_never_change(notes, rows):
    # If one of these changes, every reader's history is lost: mend the code, not the test.
    guids = {note.id: note.guid for note in notes}
    assert guids["p02-why-blocks"] == "80fb202f79ca7623f332"
    assert guids["free-iff-unreferenced"] == "2e58a0a3fa4eec1371b5"
    assert {row[1] for row in rows} == {1980239920533, 2183129571727}
    ((decks,),) = opened(package(notes, WHEN), "SELECT decks FROM col")
    ours = [d["id"] for d in json.loads(decks).values() if d["name"].endswith("00 Foundations")]
    assert ours == [1441626521360]


def test_an_edit_is_newer_so_that_an_import_takes_it(rows):
    assert {row[4] for row in rows} == {WHEN}


def test_notes_carry_their_phase_and_their_competency(notes, rows):
    for note, row in zip(notes, rows):
        tags = row[3].split()
        assert f"phase::{note.phase.number:02d}-{note.phase.slug}" in tags
        assert any(t.startswith("competency::") for t in tags) == (note.kind == "question")


def test_every_field_of_a_question_is_filled(notes):
    for note in notes:
        assert len(note.fields) == len(FIELDS[note.model])
        empty = [n for n, f in zip(FIELDS[note.model], note.fields) if not f]
        assert empty in ([], ["Source"]), note.id


class Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_html_is_well_formed_and_refers_to_nothing_outside(notes):
    for note in notes:
        for field in note.fields:
            parser = Balance()
            parser.feed(field)
            parser.close()
            assert parser.open == [], note.id
            for tag, attributes in parser.seen:
                assert tag not in {"a", "img", "script", "iframe", "link", "style"}, note.id
                assert not set(attributes) & {"src", "href", "style", "onclick"}, note.id
            assert "://" not in re.sub(r"<code>.*?</code>", "", field), note.id


def test_no_markup_of_the_book_is_left_over(notes):
    for note in notes:
        text = re.sub(r"<(pre|code).*?</\1>", "", " ".join(note.fields), flags=re.DOTALL)
        text = re.sub(r"\\\(.*?\\\)|\\\[.*?\\\]", "", text, flags=re.DOTALL)
        for leftover in (r"\{[a-z:-]+\}", "`", r"\*\*", r"\]\(", r"\$[a-zA-Z\\]", ":::"):
            assert not re.search(leftover, text), (note.id, leftover)


def test_numbers_are_computed_as_on_the_page(notes):
    by_id = {note.id: note for note in notes}
    assert "131,072" in by_id["llama3-8b-kv-bytes-per-token"].fields[2]
    assert "131,072" not in by_id["llama3-8b-kv-bytes-per-token"].fields[1]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("a $x < y$ b", r"<p>a \(x &lt; y\) b</p>"),
        ("$$\nx\n$$", r"<p>\[x\]</p>"),
        ("{up}`the pool <vllm/v1/core/block_pool.py#BlockPool>`", "<p>the pool</p>"),
        ("{up}`vllm/v1/core/block_pool.py#BlockPool`", "<p><code>BlockPool</code></p>"),
        ("{up}`flag:--block-size`", "<p><code>--block-size</code></p>"),
        ("{inv}`one-home`", "<p><code>one-home</code></p>"),
        ("{given}`7 µs`", "<p>7 µs</p>"),
        ("{py:class}`~mini_vllm.core.request.Request`", "<p><code>Request</code></p>"),
        ("[the text](01-deep-dive.md)", "<p>the text</p>"),
        ("`a < b`", "<p><code>a &lt; b</code></p>"),
    ],
)
def test_markup_becomes_what_a_reader_sees(markdown, expected):
    assert html(markdown) == expected


def test_code_is_coloured_by_classes():
    made = html("```python\ndef f(): pass\n```")
    assert made.startswith('<pre class="code"><code><span class="k-k">def</span>')


@pytest.mark.parametrize(
    "markdown",
    ["{unknown}`x`", "```{table}\n```", "![x](y.png)", "a <b>c</b>", "<div>x</div>", "{doc}`/x`"],
)
def test_what_has_no_form_on_a_card_is_refused(markdown):
    with pytest.raises(MarkupError):
        html(markdown)


def test_the_moment_is_the_commit_unless_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert moment(tmp_path) == 1_700_000_000
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    with pytest.raises(RuntimeError, match="SOURCE_DATE_EPOCH"):
        moment(tmp_path)
    with pytest.raises(ValueError, match="1980"):
        packages.package([], 5)
