r"""What one edit costs: the finished book is built again after a word was added to one page.

The processor time of the build and of its kernels is printed, and above the limit the check fails:
then something has begun to read, or to write, pages that the edit does not concern. The page is
put back and built again, and then every file has to be what it was: a build that leaves something
of an edit behind has remembered what it should have made anew. Seconds of a processor depend on
the machine less than a clock's do, but they do: the limit is twice what the book promises.

    python -m book.serving.edit_check
"""

from __future__ import annotations

import hashlib
import resource
import sys
from pathlib import Path

from book.serving.building import Book, complete, conclude, full_build

PAGE = "book/phase-00-foundations/EXERCISES.md"
ADDED = "\nOne more line, for the time that it takes.\n"
PROMISED = 10.0
LIMIT = 2 * PROMISED


def build_seconds(book: Book) -> float:
    """Processor seconds of one build with all its kernels; a build that fails ends the check."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    build = full_build(book)
    code = build.run()
    conclude(book, build, code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise SystemExit(f"the build after the edit failed: exit status {code}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cost_of_edit(book: Book, page: Path) -> float:
    """Seconds that the edit of one page costs; page and build are as before when this returns."""
    original = page.read_bytes()
    try:
        page.write_bytes(original + ADDED.encode())
        return build_seconds(book)
    finally:
        page.write_bytes(original)
        build_seconds(book)


def contents(folder: Path) -> dict[str, str]:
    """Every file of a finished book with a digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def main() -> int:
    """Measure, print, compare."""
    book = Book()
    if not complete(book.finished):
        raise SystemExit("the book is not built: python book/serve.py --build-only")
    before = contents(book.finished)
    seconds = cost_of_edit(book, book.source / PAGE)
    print(f"edit of {PAGE}: {seconds:.1f} s of processor time (promised {PROMISED:.0f} s)")
    if seconds > LIMIT:
        print(f"above {LIMIT:.0f} s: what else was read or written? See the lines above")
        return 1
    after = contents(book.finished)
    left = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
    if left:
        print(f"{len(left)} files are not what they were before the edit: {', '.join(left[:8])}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
