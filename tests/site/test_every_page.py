"""Every page of the built book: links, headings, alternatives, scripts, hosts."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
HTML = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))


class Reader(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.scripts_from_elsewhere: list[str] = []
        self._print_only = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag == "a" and values.get("href") is not None:
            self.links.append(values["href"] or "")
        if tag == "link" and values.get("rel") in {"stylesheet", "icon", "preload"}:
            self.resources.append(values.get("href") or "")
        if tag in {"script", "img", "source", "iframe", "audio", "video"} and values.get("src"):
            self.resources.append(values["src"] or "")
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"} and not self._print_only:
            self.headings.append(int(tag[1]))
        if tag == "img" or (tag == "svg" and values.get("role") == "img"):
            self.images.append(values)
        if tag == "div" and (self._print_only or values.get("id") == "jb-print-docs-body"):
            self._print_only += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._print_only:
            self._print_only -= 1


@functools.cache
def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def pages() -> list[Path]:
    if not (HTML / "index.html").is_file():
        pytest.skip("the book is not built: python book/serve.py --build-only")
    # Upstream's files are many and of one make; test_local_pages.py looks at them.
    aside = {"_static", "upstream"}
    return sorted(p for p in HTML.rglob("*.html") if p.relative_to(HTML).parts[0] not in aside)


def name(path: Path) -> str:
    return path.relative_to(HTML).as_posix()


def test_there_are_pages_of_every_part():
    names = [name(p) for p in pages()]
    assert "index.html" in names
    assert any("/00-guide" in n for n in names)
    assert any(n.startswith("labs/") for n in names)
    assert any("reference/" in n for n in names)


def test_internal_links_lead_to_a_page_and_to_a_place_on_it():
    broken = []
    for page in pages():
        for link in read(page).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("mailto:"):
                continue
            target = page if not parts.path else Path(urljoin(f"file://{page}", parts.path)[7:])
            target = Path(unquote(str(target)))
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                broken.append(f"{name(page)} -> {link}")
            elif HTML / "upstream" in target.parents:
                continue  # test_local_pages.py knows their lines
            elif parts.fragment and target.suffix == ".html":
                wanted = unquote(parts.fragment)
                if wanted not in read(target).ids and wanted != "top":
                    broken.append(f"{name(page)} -> {link} (no such place)")
    assert broken == []


def test_nothing_is_loaded_from_another_host():
    foreign = [
        f"{name(page)}: {resource}"
        for page in pages()
        for resource in read(page).resources
        if urlsplit(resource).netloc
    ]
    styles = [
        f"{path.name}: {chunk[:60]}"
        for path in HTML.rglob("*.css")
        for chunk in path.read_text(encoding="utf-8", errors="replace").split("url(")[1:]
        if chunk.lstrip("\"' ").startswith(("http:", "https:", "//"))
    ]
    assert foreign == []
    assert styles == []


def test_headings_start_with_one_h1_and_skip_no_level():
    wrong = []
    for page in pages():
        levels = read(page).headings
        if levels.count(1) != 1 and name(page) not in {"genindex.html", "search.html"}:
            wrong.append(f"{name(page)}: {levels.count(1)} headings of the first level")
        for before, after in itertools.pairwise(levels):
            if after > before + 1:
                wrong.append(f"{name(page)}: h{before} then h{after}")
    assert wrong == []


def test_pictures_have_words():
    silent = []
    for page in pages():
        for image in read(page).images:
            words = image.get("alt") or image.get("aria-label") or image.get("aria-labelledby")
            decorative = image.get("alt") == "" and image.get("role") == "presentation"
            if not words and not decorative:
                silent.append(f"{name(page)}: {image.get('src') or image.get('class')}")
    assert silent == []


def test_ids_are_unique_on_a_page():
    twice = []
    for page in pages():
        counts = Counter(read(page).ids)
        # the theme prints its own search field and its contents twice
        twice += [f"{name(page)}: {i}" for i, n in counts.items() if n > 1]
    assert twice == []


def test_every_page_of_the_book_leads_home_and_on():
    lost = []
    for page in pages():
        if name(page) in {"genindex.html", "search.html", "py-modindex.html", "index.html"}:
            continue
        text = page.read_text(encoding="utf-8")
        if 'class="way-home"><a' not in text or 'rel="prev"' not in text:
            lost.append(name(page))
    assert lost == []


def test_folded_answers_are_closed_and_labelled():
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if "entry-answer" in text:
            folds = re.findall(r'<details class="[^"]*entry-answer[^"]*"[^>]*>\s*(<summary)?', text)
            assert folds
            assert all(folds), "an answer without the line that says what is folded away"
            assert not re.search(r"<details[^>]*entry-answer[^>]*\sopen", text)


def test_no_page_shows_a_role_or_directive_that_was_not_understood():
    leaked = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<(pre|code|script|style|title)\b.*?</\1>", "", text, flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", "", text)
        for match in re.finditer(r"\{(?:up|qty|inv|q|py:\w+|given|cite)\}`|:::\{|@@[A-Z]+@@", text):
            leaked.append(f"{name(page)}: {text[match.start() : match.start() + 40]!r}")
    assert leaked == []
