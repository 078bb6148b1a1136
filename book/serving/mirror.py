r"""The pages that are shown, kept apart from those that Sphinx is writing.

A reader never sees a half-written page, and a build that fails leaves the last good one in place.
When a build has ended well, the files that differ are taken over one by one; which they are is
what open pages are told. Sphinx writes many files anew with the bytes that they had: those do not
count.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def refresh(written: Path, shown: Path) -> list[str]:
    """Make `shown` equal to `written`; the addresses of what came, went or differs."""
    wanted = {p.relative_to(written).as_posix(): p for p in written.rglob("*") if p.is_file()}
    changed = [name for name, path in wanted.items() if _take(path, shown / name)]
    for old in [p for p in shown.rglob("*") if p.is_file()]:
        name = old.relative_to(shown).as_posix()
        if name not in wanted:
            old.unlink()
            changed.append(name)
    return sorted(f"/{name}" for name in changed)


def _take(source: Path, target: Path) -> bool:
    """Copy a file if its bytes differ; the time of the last check is kept as its time of change."""
    new = source.stat()
    if target.is_file():
        old = target.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return False
        if old.st_size == new.st_size and source.read_bytes() == target.read_bytes():
            os.utime(target, ns=(new.st_atime_ns, new.st_mtime_ns))
            return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # In one step, for whoever reads it at this moment.
    beside = target.with_name(f".{target.name}.new")
    shutil.copy2(source, beside)
    os.replace(beside, target)
    return True
