r"""The whole book as one file: a PDF for paper and tablets, an ePub for readers' devices.

Both are made from the same sources as the site. The PDF joins the articles of the finished HTML
build into one page and lets Chromium print it, because then a figure, a formula and a listing look
as they do on the site, and because Chromium is what the site's own checks need anyway. What paper
wants and a browser does not know comes from here: the contents with page numbers, running heads,
answers at the end of their page instead of under a fold, long lines of code with a mark where they
go on. The ePub comes from Sphinx's own builder.

    python -m book.downloads            # both, from the build in _build/html
    python -m book.downloads pdf        # one of them
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
TARGET = ROOT / "_build" / "downloads"
WORK = ROOT / "_build" / ".downloads"  # what is of use only while they are made
NAME = "inside-the-engine"
