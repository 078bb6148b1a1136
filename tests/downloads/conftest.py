"""A site of three pages, as small as can be, and the chapters that it makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from book.downloads.chapters import Chapter, chapters

PAGES = {
    "index": """<section id="home"><h1>Home<a class="headerlink" href="#home">#</a></h1>
<p>To <a class="reference internal" href="part/guide.html#labs">labs</a>,
<a href="part/guide.html">the guide</a>, <a href="genindex.html">the index</a>,
<a href="https://example.org/x#y" target="_blank">elsewhere</a>, <a href="#home">up</a>.</p>
<div data-progress-phase="00">
0 / 5 labs, 98 minutes of 10 / 20</div>
<button class="copybtn">copy</button><script>let x = 1;</script></section>""",
    "part/guide": """<section id="labs"><h1>Guide</h1><img src="../_images/a.png" loading="lazy">
<svg viewBox="0 0 1 1" aria-labelledby="t"><title id="t">T</title><g id="g" fill="url(#g)"></g>
<use href="#g"></use></svg><section id="two"><h2>Two</h2>
<details class="admonition hide above-input"><summary><p>Show code cell source</p></summary>
<div class="highlight"><pre><span></span>if a:
    <span class="n">b</span>
</pre></div></details></section></section>""",
    "part/exercises": """<section id="labs"><h1>Exercises</h1>
<div class="entry entry-exercise tier-core" id="exercise-one"><div class="entry-prompt"><p>Why?</p>
</div><details class="entry-answer"><summary>Answer</summary><p>Because.</p></details></div>
<div class="entry entry-exercise tier-core" id="exercise-two"><div class="entry-prompt"><p>How?</p>
</div><details class="entry-answer"><summary>Answer</summary><p>So.</p></details></div>
</section>""",
}
DEPTHS = {"index": 0, "part/guide": 0, "part/exercises": 1}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A finished build."""
    html = tmp_path / "html"
    rows = []
    for page, body in PAGES.items():
        path = html / f"{page}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        article = f'<article class="bd-article">{body}</article>'
        path.write_text(f"<html><body><nav>x</nav>{article}<footer></footer></body></html>")
        rows.append({"page": page, "title": page.title(), "depth": DEPTHS[page]})
    (html / "_static" / "css").mkdir(parents=True)
    (html / "contents.json").write_text(json.dumps(rows))
    return html


@pytest.fixture
def every(site: Path) -> dict[str, Chapter]:
    """Its chapters by page."""
    return {chapter.page: chapter for chapter in chapters(site)}
