r"""Which pages make the book, in which order, and to which phase each belongs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class NotBuilt(RuntimeError):
    """There is no finished HTML build to make a download from."""


@dataclass(frozen=True)
class Chapter:
    """One page of the site as a chapter of the book."""

    page: str
    title: str
    depth: int
    part: str

    @property
    def key(self) -> str:
        """What the ids of this chapter begin with: two pages may both have a section `labs`."""
        return self.page.replace("/", ".")

    def identify(self, fragment: str) -> str:
        """The id, in the joined book, of an id on this page; of the page itself without one."""
        return f"{self.key}--{fragment}" if fragment else self.key


def with_parts(entries: Iterable[dict]) -> list[Chapter]:
    """Chapters from the rows of `contents.json`: a page of depth 0 opens a part."""
    part = ""
    found = []
    for entry in entries:
        if entry["depth"] == 0:
            part = entry["title"]
        found.append(Chapter(entry["page"], entry["title"], entry["depth"], part))
    return found


def chapters(html: Path) -> list[Chapter]:
    """The chapters of a finished build; a build that never ended well is refused."""
    listing = html / "contents.json"
    if not listing.is_file():
        raise NotBuilt(f"{listing} is missing: run `nox -s book -- --build-only` first")
    found = with_parts(json.loads(listing.read_text(encoding="utf-8")))
    missing = [c.page for c in found if not (html / f"{c.page}.html").is_file()]
    if missing:
        raise NotBuilt(f"{html} lacks {len(missing)} pages, the first of them {missing[0]}")
    return found
