"""`python -m book.flash_cards OUT.apkg`: write the package, and say what is in it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from book.flash_cards.notes import all_notes
from book.flash_cards.package import moment, package

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Write to the one path given."""
    if len(arguments) != 1:
        print("usage: python -m book.flash_cards OUT.apkg", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    notes = all_notes(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(package(notes, moment(ROOT)))
    kinds = Counter(note.kind for note in notes)
    counts = ", ".join(f"{count} {kind}s" for kind, count in sorted(kinds.items()))
    print(f"{target}: {len(notes)} notes ({counts}), {target.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
