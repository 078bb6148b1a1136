"""`python -m book.downloads [pdf] [epub]`: make the downloads from a finished build."""

from __future__ import annotations

import argparse
import sys
import time

from book.downloads import HTML, NAME, TARGET, WORK

SUBJECT = "LLM inference, executed: a book, an engine and labs"


def make_pdf() -> None:
    """Join, print, finish."""
    from book.downloads.joined import join
    from book.downloads.pdf_file import finish, page_count
    from book.downloads.printing import print_page

    started = time.monotonic()
    source, target = WORK / "book.html", TARGET / f"{NAME}.pdf"
    every = join(HTML, source)
    say(f"pdf: {len(every)} chapters joined after {time.monotonic() - started:.0f} s")
    headings = print_page(source, target, lambda text: say(f"pdf: {text}"))
    finish(target, "Inside the Engine", SUBJECT, headings)
    size = target.stat().st_size / 1e6
    pages = page_count(target)
    say(f"pdf: {pages} pages, {size:.1f} MB, {time.monotonic() - started:.0f} s")


def make_epub() -> None:
    """Build, and say what the validator says, or that there is none."""
    from book.downloads.epub import VALIDATOR, make, validate

    started = time.monotonic()
    target = TARGET / f"{NAME}.epub"
    make(target)
    say(f"epub: {target.stat().st_size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s")
    verdict = validate(target)
    if verdict is None:
        say(f"epub: NOT validated, {VALIDATOR} is not installed (Debian: {VALIDATOR})")
    else:
        say(f"epub: {VALIDATOR}: {verdict[1].splitlines()[-1]}")


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Make what is named, everything when nothing is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=["pdf", "epub", []], help="pdf, epub, or both")
    kinds = parser.parse_args(arguments).kinds or ["pdf", "epub"]
    TARGET.mkdir(parents=True, exist_ok=True)
    if "pdf" in kinds:
        make_pdf()
    if "epub" in kinds:
        make_epub()
    return 0


if __name__ == "__main__":
    sys.exit(main())
