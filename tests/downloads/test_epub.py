"""The finished ePub, as a device opens it. Runs inside `nox -s downloads`, which makes it."""

from __future__ import annotations

import posixpath
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote, urlsplit

import pytest

from book.downloads import HTML, NAME, TARGET
from book.downloads.chapters import chapters

pytestmark = pytest.mark.downloads

EPUB = TARGET / f"{NAME}.epub"
MEGABYTES = 25
XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
OPF = "{http://www.idpf.org/2007/opf}"


@cache
def package() -> zipfile.ZipFile:
    if not EPUB.is_file():
        pytest.fail(f"{EPUB} is missing: python -m book.downloads epub")
    return zipfile.ZipFile(EPUB)


@cache
def page(name: str) -> ET.Element:
    return ET.fromstring(package().read(name))


def pages() -> list[str]:
    return [n for n in package().namelist() if n.endswith(".xhtml")]


def every_link() -> Iterator[tuple[str, str]]:
    for name in pages():
        for element in page(name).iter():
            for attribute in ("href", "src", "{http://www.w3.org/1999/xlink}href"):
                if attribute in element.attrib:
                    yield name, element.attrib[attribute]


def test_every_link_and_every_picture_arrives():
    files = set(package().namelist())
    ids = {name: {e.get("id") for e in page(name).iter() if e.get("id")} for name in pages()}
    broken = []
    for name, link in every_link():
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
        target = path if parts.path else name
        missing = target not in files
        if missing or (parts.fragment and unquote(parts.fragment) not in ids.get(target, set())):
            broken.append(f"{name} -> {link}")
    assert broken == []


def test_ids_are_unique_on_a_page():
    twice = []
    for name in pages():
        ids = [e.get("id") for e in page(name).iter() if e.get("id")]
        twice += [f"{name}: {i}" for i in set(ids) if ids.count(i) > 1]
    assert twice == []


def test_every_page_of_the_book_is_in_the_reading_order():
    content = ET.fromstring(package().read("content.opf"))
    addresses = {i.get("id"): i.get("href") for i in content.iter(f"{OPF}item")}
    spine = [addresses[i.get("idref")] for i in content.iter(f"{OPF}itemref")]
    wanted = [f"{chapter.page}.xhtml" for chapter in chapters(HTML)]
    assert [w for w in wanted if w not in spine] == []
    order = [s for s in spine if s in wanted]
    assert order == wanted


def test_the_navigation_names_every_page():
    nav = {urlsplit(a.get("href", "")).path for a in page("nav.xhtml").iter(f"{XHTML}a")}
    assert [c.page for c in chapters(HTML) if f"{c.page}.xhtml" not in nav] == []


def test_the_navigation_keeps_the_reading_order():
    content = ET.fromstring(package().read("content.opf"))
    addresses = {i.get("id"): i.get("href", "") for i in content.iter(f"{OPF}item")}
    spine = [unquote(addresses[i.get("idref")]) for i in content.iter(f"{OPF}itemref")]
    contents = next(page("nav.xhtml").iter(f"{XHTML}nav"))
    pages = [unquote(urlsplit(a.get("href", "")).path) for a in contents.iter(f"{XHTML}a")]
    places = [spine.index(path) for path in pages]
    back = [pages[n] for n in range(1, len(pages)) if places[n] < places[n - 1]]
    assert back == []
    ids = {name: [e.get("id") for e in page(name).iter() if e.get("id")] for name in set(pages)}
    links = [urlsplit(a.get("href", "")) for a in contents.iter(f"{XHTML}a")]
    within = [
        (link.path, ids[unquote(link.path)].index(unquote(link.fragment)))
        for link in links
        if link.fragment
    ]
    assert within == sorted(within, key=lambda w: (pages.index(unquote(w[0])), w[1]))


def test_figures_tables_formulas_and_code_are_all_there():
    wrong = []
    for chapter in chapters(HTML):
        text = (HTML / f"{chapter.page}.html").read_text()
        article = text[text.index("<article") : text.rindex("</article>")]
        here = page(f"{chapter.page}.xhtml")
        for tag in ("figure", "table", "pre"):
            there, found = (
                len(re.findall(rf"<{tag}[\s>]", article)),
                len(list(here.iter(XHTML + tag))),
            )
            if there != found:
                wrong.append(f"{chapter.page}: {there} of <{tag}> on the site, {found} here")
        there = article.count('class="formula"')
        found = sum(svg.get("class") == "formula" for svg in here.iter(f"{SVG}svg"))
        if there != found:
            wrong.append(f"{chapter.page}: {there} formulas on the site, {found} here")
    assert wrong == []


def test_nothing_needs_a_script_a_fold_or_a_variable():
    needy = []
    for name in pages():
        text = package().read(name).decode()
        needy += [
            f"{name}: {w}" for w in ("<script", "<details", "var(--", "onclick=") if w in text
        ]
    assert needy == []
    assert [n for n in package().namelist() if n.endswith((".js", ".json"))] == []


def test_nothing_is_taken_from_another_host():
    foreign = [
        f"{name}: {element.get('src') or element.get('href')}"
        for name in pages()
        for element in page(name).iter()
        if element.tag in {f"{XHTML}img", f"{XHTML}link"}
        and urlsplit(element.get("src") or element.get("href") or "").netloc
    ]
    assert foreign == []


def test_there_is_a_cover_and_the_file_can_be_mailed():
    content = package().read("content.opf").decode()
    assert 'properties="cover-image"' in content
    assert EPUB.stat().st_size < MEGABYTES * 1e6


def test_the_validator_finds_nothing():
    from book.downloads.epub import VALIDATOR, validate

    verdict = validate(EPUB)
    if verdict is None:
        pytest.skip(f"{VALIDATOR} is not installed: the ePub was NOT validated")
    status, words = verdict
    found = [line for line in words.splitlines() if re.match(r"(ERROR|FATAL|WARNING)", line)]
    assert (status, found) == (0, [])
