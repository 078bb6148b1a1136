r"""One page of the site as a chapter: its article, without what only a screen can use.

Ids get the chapter's key in front, so that the sections of all pages can live in one file, and
every link between pages becomes a link within it. Folds are opened. Buttons, scripts and the marks
that link a heading to itself go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from book.downloads.chapters import Chapter
from book.downloads.code_lines import wrap_long
from upstream_anchors.pin import the_pin

DROPPED = (
    "script",
    "style",
    "noscript",
    "button",
    "input",
    ".headerlink",
    ".lab-done",
    ".card-ways",
    ".page-ways",
    ".keys-hint",
    ".viewcode-link",
    ".only-screen",
    ".toctree-wrapper",
    ".phase-lines",  # they join the tiles of a wide screen
    ".home-button",
    ".home-anchor strong",  # what a pointer or a finger may do
)
_URL_REFERENCE = re.compile(r"url\((['\"]?)#([^)'\"]+)\1\)")
_NONE_OF = re.compile(r"\b0 / (?=\d)")
_ID_LISTS = ("aria-labelledby", "aria-describedby", "for", "headers")


class BrokenLink(ValueError):
    """A link of a page leads nowhere in the book."""


def extract(html: str) -> Tag:
    """The article of a page of the site."""
    start = html.index("<article")
    end = html.rindex("</article>") + len("</article>")
    soup = BeautifulSoup(html[start:end], "html.parser")
    article = soup.article
    if article is None:
        raise ValueError("a page without an article")
    return article


def chapter_of(html: str, chapter: Chapter, every: Mapping[str, Chapter], site: str) -> Tag:
    """The chapter's `<section>`; `site` is the way from the joined file to the HTML build."""
    article = extract(html)
    clean(article)
    open_folds(article)
    relabel(article, chapter)
    lead_links(article, chapter, every)
    lead_images(article, chapter, site)
    shift_headings(article, chapter.depth)
    for pre in article.select("div.highlight > pre"):
        before = pre.decode_contents(formatter="html")
        inside = wrap_long(before)
        if inside != before:
            # Parsed inside a `<pre>`: anywhere else the parser would collapse the blanks.
            again = BeautifulSoup(f"<pre>{inside}</pre>", "html.parser").pre
            pre.replace_with(again or pre)
    article["class"] = ["bd-article", "chapter", f"depth-{chapter.depth}"]
    article["id"] = chapter.key
    article["data-page"] = chapter.page
    return article


def clean(article: Tag) -> None:
    """Take out what does nothing on paper."""
    for selector in DROPPED:
        for element in article.select(selector):
            element.decompose()
    for holder in article.select("[data-progress-phase]"):
        # A file knows no reader: of `0 / 5 labs` the total stays.
        for text in holder.find_all(string=_NONE_OF):
            text.replace_with(_NONE_OF.sub("", str(text)))
    for link in article.select("a[target]"):
        del link["target"]


def open_folds(article: Tag) -> None:
    """A fold becomes a block; its summary the line above it, unless it only says `show`."""
    for fold in article.find_all("details"):
        classes = list(fold.get("class") or [])
        fold.name = "div"
        fold["class"] = ["opened", *classes]
        for attribute in ("open", "name"):
            fold.attrs.pop(attribute, None)
        summary = fold.find("summary", recursive=False)
        if summary is None:
            continue
        summary.name = "div"
        summary["class"] = ["opened-summary"]
        if "hide" in classes:
            summary.string = "The code of the cell"


def relabel(article: Tag, chapter: Chapter) -> None:
    """Put the chapter's key in front of every id, and of everything that names one."""
    for element in article.find_all(True):
        if element.get("id"):
            element["id"] = chapter.identify(str(element["id"]))
        for name in _ID_LISTS:
            if element.get(name):
                value = element[name]
                parts = value.split() if isinstance(value, str) else list(value)
                element[name] = " ".join(chapter.identify(part) for part in parts)
        for name, value in element.attrs.items():
            if isinstance(value, str) and "url(" in value:
                element[name] = _URL_REFERENCE.sub(
                    lambda found: f"url(#{chapter.identify(found[2])})", value
                )
        if element.name == "use":
            for name in ("href", "xlink:href"):
                if str(element.get(name, "")).startswith("#"):
                    element[name] = "#" + chapter.identify(str(element[name])[1:])


def lead_links(article: Tag, chapter: Chapter, every: Mapping[str, Chapter]) -> None:
    """Links between pages become links within the book; what is not in the book loses its link."""
    for link in article.find_all("a", href=True):
        target = in_book(str(link["href"]), chapter, every)
        if target is None:
            link["class"] = [*(link.get("class") or []), "not-in-book"]
            del link["href"]
        else:
            link["href"] = target


def in_book(href: str, chapter: Chapter, every: Mapping[str, Chapter]) -> str | None:
    """Where a link of a page leads in the joined book: an id, another host, or nowhere."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href
    if not parts.path:
        return "#" + chapter.identify(unquote(parts.fragment))
    path = posixpath.normpath(posixpath.join(posixpath.dirname(chapter.page), unquote(parts.path)))
    if path.startswith(".."):
        raise BrokenLink(f"{chapter.page}: {href} leaves the book")
    if path.startswith("upstream/"):
        return upstream_address(path, unquote(parts.fragment))
    other = every.get(path.removesuffix(".html"))
    return "#" + other.identify(unquote(parts.fragment)) if other else None


def upstream_address(path: str, fragment: str) -> str | None:
    """Upstream's files are pages of the site and not of the book: their lines are on GitHub."""
    file = path.removeprefix("upstream/").removesuffix(".html")
    if file == "index":
        return None
    lines = [int(number) for number in re.findall(r"L(\d+)", fragment)]
    return the_pin().permalink(file, *lines)


def lead_images(article: Tag, chapter: Chapter, site: str) -> None:
    """Pictures are found from the joined file."""
    for image in article.find_all(["img", "source", "object"]):
        name = "data" if image.name == "object" else "src"
        source = str(image.get(name, ""))
        if source and not urlsplit(source).scheme:
            folder = posixpath.dirname(chapter.page)
            image[name] = posixpath.normpath(posixpath.join(site, folder, source))
        for attribute in ("loading", "srcset"):
            image.attrs.pop(attribute, None)


def shift_headings(article: Tag, depth: int) -> None:
    """Levels become those of the whole book; the class keeps what the heading is on its page."""
    for heading in article.find_all(re.compile(r"^h[1-6]$")):
        level = int(heading.name[1])
        heading["class"] = [*(heading.get("class") or []), "on-page", f"level-{level}"]
        heading.name = f"h{min(level + depth, 6)}"
