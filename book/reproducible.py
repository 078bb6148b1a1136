"""Build the book twice from nothing and compare: `python -m book.reproducible`.

Nothing is shared by the two builds: each runs every notebook, computes every quantity and reads
every page anew, in folders of its own. Equal means equal to the byte, in every file.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from book.serving.building import Book, Build, sphinx

IGNORED = {".buildinfo", ".buildinfo.bak"}  # Sphinx writes its own settings there


def files(folder: Path) -> dict[str, Path]:
    """Every file of a build, by its path."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in IGNORED
    }


def differences(first: Path, second: Path) -> list[str]:
    """Paths that only one build has, or that differ."""
    ours, theirs = files(first), files(second)
    found = [f"only in one build: {name}" for name in sorted(set(ours) ^ set(theirs))]
    for name in sorted(set(ours) & set(theirs)):
        if not filecmp.cmp(ours[name], theirs[name], shallow=False):
            found.append(f"differs: {name}{first_difference(ours[name], theirs[name])}")
    return found


def first_difference(first: Path, second: Path) -> str:
    """Where two text files part; nothing for what is no text."""
    try:
        pairs = zip(first.read_text().splitlines(), second.read_text().splitlines(), strict=False)
    except UnicodeDecodeError:
        return ""
    for number, (one, other) in enumerate(pairs, 1):
        if one != other:
            start = next(
                (i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other))
            )
            around = slice(max(start - 40, 0), start + 60)
            return f", line {number}: {one[around]!r} and {other[around]!r}"
    return ", in length"


def main() -> int:
    """Two builds, one comparison; 0 when they are equal."""
    book = Book()
    book.folder.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="twice-", dir=book.folder))
    try:
        for name in ("first", "second"):
            state = (work / name / "state").relative_to(book.source).as_posix()
            # The same output path for both, since a page may name it.
            options = ["-E", "-D", f"build_state={state}"]
            command = sphinx(book, work / "html", work / "doctrees", *options)
            if Build(command, f"{name} build", book.source).run():
                return 1
            (work / "html").rename(work / name / "html")
            shutil.rmtree(work / "doctrees")
        found = differences(work / "first" / "html", work / "second" / "html")
        for line in found:
            print(line)
        count = len(files(work / "first" / "html"))
        print(f"{count} files, {len(found)} differences")
        return 1 if found else 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
