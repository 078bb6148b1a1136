"""The finished PDF, read as a viewer reads it. Runs inside `nox -s downloads`, which makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from book.downloads import HTML, NAME, TARGET, WORK
from book.downloads.chapters import chapters

pytestmark = pytest.mark.downloads
pikepdf = pytest.importorskip("pikepdf", reason="pikepdf is not installed")
pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed")

PDF = TARGET / f"{NAME}.pdf"
MEGABYTES = 25


@pytest.fixture(scope="module")
def pdf() -> Iterator[pikepdf.Pdf]:
    if not PDF.is_file():
        pytest.fail(f"{PDF} is missing: python -m book.downloads pdf")
    with pikepdf.Pdf.open(PDF) as opened:
        yield opened


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """What each page says."""
    document = pdfium.PdfDocument(PDF)
    found = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    return found


@cache
def joined() -> BeautifulSoup:
    return BeautifulSoup((WORK / "book.html").read_text(), "html.parser")


def links(pdf: pikepdf.Pdf) -> Iterator[tuple[int, pikepdf.Object]]:
    for number, page in enumerate(pdf.pages, 1):
        for note in page.get("/Annots", []):
            if note.get("/Subtype") == "/Link":
                yield number, note


def test_every_link_inside_the_book_arrives(pdf):
    from book.downloads.pdf_file import named_places

    places = named_places(pdf)
    broken, inside = [], 0
    for number, note in links(pdf):
        action = note.get("/A", {})
        target = note.get("/Dest", action.get("/D"))
        if target is None:
            continue
        inside += 1
        name = str(target).removeprefix("/")
        if not isinstance(target, pikepdf.Array) and name not in places:
            broken.append(f"page {number}: {name}")
    assert broken == []
    anchors = joined().select('a[href^="#"]')
    ids = {e["id"] for e in joined().find_all(id=True)}
    assert [a["href"] for a in anchors if a["href"][1:] not in ids] == []
    assert inside >= len(anchors)  # a link over two lines is two


def test_links_that_leave_the_book_name_a_host(pdf):
    addresses = {str(note.A.URI) for _, note in links(pdf) if "/URI" in note.get("/A", {})}
    assert [a for a in addresses if not a.startswith(("https://", "http://"))] == []
    # Files and folders of the tree; a pull request has no version.
    blobs = [a for a in addresses if re.search("github.com/vllm-project/vllm/(?!pull/)", a)]
    pinned = "0decac0d9"
    assert [a for a in blobs if pinned not in a and "v0.22.1" not in a] == []
    assert len(blobs) > 100


def test_no_reference_was_left_unresolved(texts):
    marks = re.compile(r"\?\?|on page \?|\bTODO\b.*unresolved|None\.html|undefined label")
    assert [(n, m[0]) for n, t in enumerate(texts, 1) for m in marks.finditer(t)] == []


def test_the_contents_name_the_page_on_which_the_title_stands(pdf, texts):
    from book.downloads.pdf_file import destinations

    places = destinations(PDF)
    squeeze = re.compile(r"\W+")
    wrong = []
    for chapter in chapters(HTML):
        page = squeeze.sub("", texts[places[chapter.key] - 1])
        if squeeze.sub("", chapter.title) not in page:
            wrong.append(f"{chapter.title}: page {places[chapter.key]}")
        if not re.search(rf"{places[chapter.key]}\b", " ".join(texts[1:4])):
            wrong.append(f"{chapter.title}: number {places[chapter.key]} not in the contents")
    assert wrong == []


def test_figures_and_tables_are_all_there():
    counts = {"figure": [0, 0], "table": [0, 0], "svg": [0, 0], "pre": [0, 0]}
    for chapter in chapters(HTML):
        text = (HTML / f"{chapter.page}.html").read_text()
        article = text[text.index("<article") : text.rindex("</article>")]
        for tag in counts:
            counts[tag][0] += len(re.findall(rf"<{tag}[\s>]", article))
        counts["svg"][0] -= article.count('class="phase-lines"')  # lines of a wide screen
    book = joined().select("article.chapter")
    for tag in counts:
        counts[tag][1] = sum(len(article.find_all(tag)) for article in book)
    assert all(there == here for there, here in counts.values()), counts
    assert counts["figure"][0] > 30


def prose(element: Tag) -> Iterator[str]:
    """The text of a chapter without its code, whose lines are cut, and its drawings."""
    for child in element.children:
        if not isinstance(child, Tag):
            yield str(child)
        elif child.name not in {"svg", "pre"}:
            yield from prose(child)


def test_no_words_of_a_chapter_were_lost(texts):
    """A table that is wider than the page loses its last columns, and nothing else says so."""
    from book.downloads.pdf_file import destinations

    places = destinations(PDF)
    every = chapters(HTML)
    starts = [places[chapter.key] for chapter in every] + [len(texts)]
    blanks = re.compile(r"[\s\u00ad\ufffe\u200b-]+")
    lost = []
    for chapter, first, after in zip(every, starts, starts[1:]):
        printed = blanks.sub("", " ".join(texts[first - 1 : max(first, after - 1)]))
        article = joined().find("article", id=chapter.key)
        words = re.findall(r"[A-Za-z]{4,}", " ".join(prose(article)))
        missing = [word for word in words if word not in printed]
        if len(missing) > 0.02 * len(words):
            sample = ", ".join(sorted(set(missing))[:8])
            lost.append(f"{chapter.page}: {len(missing)} of {len(words)} words: {sample}")
    assert lost == []


def test_the_outline_leads_to_every_chapter(pdf):
    def titles(item: pikepdf.Object) -> Iterator[str]:
        child = item.get("/First")
        while child is not None:
            yield str(child.Title)
            yield from titles(child)
            child = child.get("/Next")

    found = [re.sub(r"\s+", " ", title).strip() for title in titles(pdf.Root.Outlines)]
    assert [c.title for c in chapters(HTML) if c.title not in found] == []
    assert len(found) > 400


def test_the_outline_opens_shut(pdf):
    first = pdf.Root.Outlines.First
    open_entries = []
    while first is not None:
        if int(first.get("/Count", 0)) > 0:
            open_entries.append(str(first.Title))
        first = first.get("/Next")
    assert open_entries == []


def test_no_character_leaves_its_page():
    document = pdfium.PdfDocument(PDF)
    outside = []
    for number, page in enumerate(document, 1):
        width, height = page.get_size()
        text = page.get_textpage()
        for index in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(index)
            if right <= left or top <= bottom:
                continue  # a blank
            if left < 0 or bottom < 0 or right > width or top > height:
                outside.append((number, text.get_text_range(index, 1)))
    document.close()
    assert outside == []


def test_every_typeface_is_embedded(pdf):
    bare = set()
    for page in pdf.pages:
        for font in page.get("/Resources", {}).get("/Font", {}).values():
            if font.get("/Subtype") == "/Type3":
                continue  # its glyphs are drawings in the file
            for inner in font.get("/DescendantFonts", [font]):
                descriptor = inner.get("/FontDescriptor", {})
                if not any(f"/FontFile{n}" in descriptor for n in ("", "2", "3")):
                    bare.add(str(inner.get("/BaseFont")))
    assert bare == set()


def test_plex_is_what_the_text_is_set_in(pdf):
    names = {
        str(font.get("/BaseFont", ""))
        for page in list(pdf.pages)[3:40]
        for font in page.get("/Resources", {}).get("/Font", {}).values()
    }
    for family in ("IBMPlexSerif", "IBMPlexSans", "IBMPlexMono"):
        assert any(family in name for name in names), f"{family} is not among {sorted(names)}"


def test_the_file_can_be_mailed():
    assert PDF.stat().st_size < MEGABYTES * 1e6


def test_nothing_of_this_machine_is_in_the_file():
    root = str(Path(__file__).resolve().parents[2]).encode()
    assert root not in PDF.read_bytes()
