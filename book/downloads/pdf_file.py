r"""Reading and finishing a PDF: where its places are, how it is named, its outline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pikepdf
from pikepdf import Dictionary, Name, Object, Pdf


class OutlineMismatch(RuntimeError):
    """The outline is not that of the page that was printed."""


def page_count(path: Path) -> int:
    """How many pages a PDF has."""
    with Pdf.open(path) as pdf:
        return len(pdf.pages)


def destinations(path: Path) -> dict[str, int]:
    """Page number, from 1, of every named place of a PDF."""
    with Pdf.open(path) as pdf:
        numbers = {page.objgen: number for number, page in enumerate(pdf.pages, 1)}
        return {name: numbers[place[0].objgen] for name, place in named_places(pdf).items()}


def named_places(pdf: Pdf) -> dict[str, Object]:
    """Name and destination of every named place: `[page, how, left, top, zoom]`.

    Chromium keeps them in the old dictionary, other programs in a name tree.
    """
    root = pdf.Root
    found = {str(name)[1:]: place for name, place in root.get("/Dests", Dictionary()).items()}
    if "/Names" in root and "/Dests" in root.Names:
        found |= dict(pikepdf.NameTree(root.Names.Dests).items())
    return found


def finish(path: Path, title: str, subject: str, headings: Sequence[str]) -> None:
    """Name the book in the file, tidy the outline, and pack the file.

    Half of what Chromium writes is the tree of tags that lets a screen reader find its way. Packed
    it takes a tenth of the room, so it stays.
    """
    with Pdf.open(path, allow_overwriting_input=True) as pdf:
        with pdf.open_metadata(set_pikepdf_as_editor=False) as data:
            data["dc:title"] = title
            data["dc:description"] = subject
            data["dc:creator"] = [f"The authors of {title}"]
        pdf.Root.PageMode = Name.UseOutlines
        pdf.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
        if "/Outlines" in pdf.Root:
            retitle(pdf.Root.Outlines, headings)
            shut(pdf.Root.Outlines)
        pdf.save(
            path,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            recompress_flate=True,
            deterministic_id=True,
        )


def entries(item: Object) -> Iterator[Object]:
    """Every entry below one of the outline, in the order of the book."""
    child = item.get("/First")
    while child is not None:
        yield child
        yield from entries(child)
        child = child.get("/Next")


def retitle(outlines: Object, headings: Sequence[str]) -> None:
    """Give every entry the words of its heading.

    Chromium writes the first line of a heading that begins a page twice, and joins the words where
    a line breaks.
    """
    found = list(entries(outlines))
    if len(found) != len(headings):
        raise OutlineMismatch(f"{len(found)} entries in the outline, {len(headings)} headings")
    for entry, heading in zip(found, headings, strict=True):
        if not made_from(letters(str(entry.Title)), letters(heading)):
            raise OutlineMismatch(f"entry {entry.Title!s} stands where {heading} should")
        entry.Title = " ".join(heading.split())


def made_from(written: str, heading: str) -> bool:
    """Whether some first part of the heading, written twice, and the rest give what is written."""
    extra = len(written) - len(heading)
    return 0 <= extra <= len(heading) and written == heading[:extra] + heading


def letters(text: str) -> str:
    """A text without its blanks."""
    return "".join(text.split())


def shut(item: Object) -> int:
    """Show what is below an entry only when it is asked for; how many children it has.

    A negative count is the file format's word for a shut entry.
    """
    count = 0
    child = item.get("/First")
    while child is not None:
        if inside := shut(child):
            child.Count = -inside
        count += 1
        child = child.get("/Next")
    if count:
        item.Count = count
    return count
