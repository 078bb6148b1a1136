r"""The book's contents beside every page, made once a build.

The theme resolves the whole table of contents anew for every page, parses what came out, and
prints it: a tenth of a second a page, and with each page that the book gets, more for every other.
But the tables of two pages differ in three things only: the links are relative to the page, the way
to the page is marked as current, and the page's own link leads nowhere. So the theme is asked once,
for a page that is in no table, and {py:class}`Contents` keeps its answer in pieces, cut where those
three things stand. A test holds the result to the theme's, byte by byte.

The arrow that unfolds a part has no name of its own: it gets that of the part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from bs4 import BeautifulSoup, Tag
from pydata_sphinx_theme.toctree import add_toctree_functions
from sphinx.application import Sphinx

# A page at the root that no table of contents has.
NOWHERE = "search"
_SLOT = re.compile(r' data-slot="(\d+)"')


class Slot:
    """Attributes of one element: as they are, and as they are on the way to the current page."""

    def __init__(self, plain: str, current: str, page: str | None = None) -> None:
        self.plain, self.current, self.page = plain, current, page


class Contents:
    """The table of contents as pieces of text with a slot between each two."""

    def __init__(self, soup: BeautifulSoup, pages: dict[str, str]) -> None:
        self._slots: list[Slot] = []
        self._ways: dict[str, set[int]] = {}
        numbers: dict[int, int] = {}
        for link in soup.find_all("a"):
            page = pages.get(link["href"])
            if page is None:
                continue  # to another site
            way = [self._number(tag, numbers) for tag in _around(link)]
            self._ways.setdefault(page, set()).update([self._link(link, page), *way])
        parts = _SLOT.split(str(soup))
        self._texts, self._order = parts[::2], [int(number) for number in parts[1::2]]

    def on(self, page: str, address: Callable[[str], str]) -> str:
        """The table as it stands beside a page; `address` leads from there to another page."""
        current = self._ways.get(page, set())
        out = [self._texts[0]]
        for number, text in zip(self._order, self._texts[1:], strict=True):
            slot = self._slots[number]
            out.append(slot.current if number in current else slot.plain)
            if slot.page is not None:
                out.append(f' href="{"#" if number in current else address(slot.page)}"')
            out.append(text)
        return "".join(out)

    def _add(self, tag: Tag, slot: Slot) -> int:
        tag.attrs = {"data-slot": str(len(self._slots))}
        self._slots.append(slot)
        return len(self._slots) - 1

    def _link(self, link: Tag, page: str) -> int:
        classes = " ".join(link["class"])
        slot = Slot(f' class="{classes}"', f' class="current {classes}"', page)
        return self._add(link, slot)

    def _number(self, tag: Tag, numbers: dict[int, int]) -> int:
        if id(tag) not in numbers:
            numbers[id(tag)] = self._add(tag, _slot(tag))
        return numbers[id(tag)]


def _around(link: Tag) -> Iterator[Tag]:
    """The lists, items and folds that a link stands in."""
    own = link.find_parent("li")
    yield from link.find_parents(("ul", "li"))
    # The fold of an item with pages below it is beside its link.
    for item in [own, *own.find_parents("li")]:
        yield from item.find_all("details", recursive=False)


def _slot(tag: Tag) -> Slot:
    classes = tag.get("class") or []
    plain = f' class="{" ".join(classes)}"' if classes else ""
    if tag.name == "details":
        return Slot("", ' open="open"')
    if tag.name == "ul":
        return Slot(plain, f' class="{" ".join(["current", *classes])}"')
    level, *others = classes
    return Slot(plain, f' class="{" ".join([level, "current", "active", *others])}"')


def name_arrows(soup: BeautifulSoup) -> BeautifulSoup:
    """Each `<summary>` of a table of contents says what it unfolds."""
    for summary in soup.find_all("summary"):
        item = summary.find_parent("li")
        link = item.find("a") if item is not None else None
        if link is not None and not summary.get_text(strip=True):
            summary["aria-label"] = f"Pages of {link.get_text(' ', strip=True)}"
    return soup


def of_theme(app: Sphinx, context: dict[str, Any], page: str, **options: Any) -> BeautifulSoup:
    """The table that the theme makes for a page, with named arrows."""
    scratch = dict(context)
    scratch["toctree"] = lambda **kw: app.builder._get_local_toctree(page, **kw)  # type: ignore[attr-defined]
    add_toctree_functions(app, page, "page.html", scratch, None)  # type: ignore[arg-type]
    return name_arrows(scratch["generate_toctree_html"]("sidebar", startdepth=0, **options))


def give(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: object) -> None:
    """Let the template of the sidebar ask for the table; most local pages never do."""

    @cache
    def book_contents(**options: Any) -> str:
        kept: dict[tuple[tuple[str, Any], ...], Contents]
        kept = app.__dict__.setdefault("book_contents", {})
        key = tuple(sorted(options.items()))
        if key not in kept:
            pages = {app.builder.get_relative_uri(NOWHERE, d): d for d in app.env.found_docs}
            kept[key] = Contents(of_theme(app, context, NOWHERE, **options), pages)
        return kept[key].on(page, lambda other: app.builder.get_relative_uri(page, other))

    context["book_contents"] = book_contents


def setup(app: Sphinx) -> dict[str, object]:
    """Before the theme, which renders every template to see whether it is empty."""
    app.connect("html-page-context", give, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
