"""The outline of the PDF: the words of the headings, everything below the first level shut."""

from __future__ import annotations

import pytest

pikepdf = pytest.importorskip("pikepdf", reason="pikepdf is not installed")


@pytest.fixture
def path(tmp_path):
    """A file with the outline that Chromium writes for a heading that begins a page."""
    pdf = pikepdf.Pdf.new()
    pdf.add_blank_page()
    with pdf.open_outline() as outline:
        part = pikepdf.OutlineItem("A PartA Part", 0)
        section = pikepdf.OutlineItem("TwoTwolines", 0)
        section.children.append(pikepdf.OutlineItem("Below", 0))
        part.children.append(section)
        outline.root.append(part)
    pdf.save(tmp_path / "a.pdf")
    return tmp_path / "a.pdf"


def test_finishing_mends_the_titles_and_shuts_the_outline(path):
    from book.downloads.pdf_file import entries, finish

    finish(path, "A Book", "of pages", ["A Part", "Two\n lines", "Below"])
    with pikepdf.Pdf.open(path) as pdf:
        part = pdf.Root.Outlines.First
        assert [str(e.Title) for e in entries(pdf.Root.Outlines)] == [
            "A Part",
            "Two lines",
            "Below",
        ]
        assert int(part.Count) < 0
        assert int(part.First.Count) < 0
        assert str(part.First.First.Title) == "Below"
        assert str(pdf.docinfo.Title) == "A Book"


@pytest.mark.parametrize(
    ("headings", "message"),
    [
        (["A Part", "Two lines"], "3 entries in the outline, 2 headings"),
        (["A Part", "Other", "Below"], "TwoTwolines stands where Other should"),
    ],
)
def test_an_outline_of_another_page_is_refused(path, headings, message):
    from book.downloads.pdf_file import OutlineMismatch, finish

    with pytest.raises(OutlineMismatch, match=message):
        finish(path, "A Book", "of pages", headings)
