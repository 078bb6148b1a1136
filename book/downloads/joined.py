r"""The whole book as one HTML page: cover, contents, chapters, and a last page on how it was made.

The file stands beside the downloads and takes styles and pictures from the build that it was made
from. It is an intermediate, worth opening in a browser when something looks wrong in the PDF.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from book.downloads import answers
from book.downloads.article import chapter_of
from book.downloads.chapters import Chapter, chapters
from book.downloads.cover import cover

SHEETS = ("css/fonts.css", "css/theme.css", "css/text.css", "css/code.css", "css/cards.css")
OPTIONAL = ("anchors.css", "trace-player.css")
PRINT = Path(__file__).with_name("print.css")


def join(html: Path, target: Path) -> list[Chapter]:
    """Write the joined page; the chapters that are in it."""
    every = chapters(html)
    by_page = {chapter.page: chapter for chapter in every}
    site = os.path.relpath(html, target.parent).replace(os.sep, "/")
    parts = []
    for chapter in every:
        text = (html / f"{chapter.page}.html").read_text(encoding="utf-8")
        article = chapter_of(text, chapter, by_page, site)
        answers.collect(article)
        parts.append(article.decode(formatter="html"))
    document = [
        "<!doctype html>",
        '<html lang="en" data-theme="light"><head><meta charset="utf-8">',
        "<title>Inside the Engine</title>",
        *(f'<link rel="stylesheet" href="{site}/_static/{name}">' for name in sheets(html)),
        f"<style>{PRINT.read_text(encoding='utf-8')}\n{running_heads(every)}</style>",
        "</head><body>",
        cover(),
        contents(every),
        *parts,
        colophon(html),
        "</body></html>",
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(document), encoding="utf-8")
    return every


def sheets(html: Path) -> list[str]:
    """The site's own styles, in their order, without those of the theme and the home page."""
    static = html / "_static"
    found = [name for name in OPTIONAL if (static / name).is_file()]
    others = {"fonts", "theme", "text", "code", "cards", "site", "home", "progress"}
    extra = sorted(p.name for p in (static / "css").glob("*.css") if p.stem not in others)
    return ["pygments.css", *SHEETS, *found, *(f"css/{name}" for name in extra)]


def running_heads(every: Sequence[Chapter]) -> str:
    """A named page for each chapter, with the part at its left and the chapter at its right."""
    rules = []
    for number, chapter in enumerate(every):
        left, right = map(json.dumps, (chapter.part, chapter.title))
        head = f"@top-left {{ content: {left} }}"
        if chapter.title != chapter.part:
            head += f" @top-right {{ content: {right} }}"
        rules.append(f"@page chapter-{number} {{ {head} }}")
        rules.append(f'[data-page="{chapter.page}"] {{ page: chapter-{number} }}')
    return "\n".join(rules)


def contents(every: Sequence[Chapter]) -> str:
    """The table of contents; the numbers are put in when they are known."""
    rows = []
    for chapter in every:
        rows.append(
            f'<li class="depth-{chapter.depth}"><a class="page-number" href="#{chapter.key}">'
            f"{escape(chapter.title)}</a></li>"
        )
    return (
        '<nav class="contents" id="contents"><h1 class="level-1">Contents</h1>'
        f"<ol>{''.join(rows)}</ol></nav>"
    )


def colophon(html: Path) -> str:
    """What this edition is, what differs from the site, and whose text and type it contains."""
    return """
<section class="colophon" id="colophon"><h1 class="level-1">About this edition</h1>
<p>This file was made from the pages of the site, which were built from the repository: every
number was computed, every notebook executed, and every link into vLLM resolved at its pin by that
build. The site has what paper cannot: previews of the linked lines, traces that play, search.</p>
<p>Answers of exercises and interview questions stand at the end of their page. Links into vLLM lead
to the pinned commit. A traced run of the engine is printed as its tables, with every step in words.
A line of code that is too long goes on below, behind the mark <span class="mark">↪</span>.</p>
<p>Text and code are licensed under Apache-2.0. Excerpts of vLLM are the work of its contributors,
under Apache-2.0, and each names its file and lines. Set in IBM Plex (SIL Open Font License) and,
for formulas, STIX Two Math.</p>
</section>"""
