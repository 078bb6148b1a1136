r"""Notices a saved source, and a lab that the `labs` command has graded.

The operating system tells of changes, through the watchfiles library: nothing is polled. An editor
writes more than the file it saves (backups, locks, a copy to rename), and a save need not change a
byte; neither starts a build.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from watchfiles import BaseFilter, Change, DefaultFilter, watch

FOLDERS = ("book", "labs", "mini_vllm", "upstream_anchors")
LABS_STATE = ".labs"
# Quiet for so long after the last change, and the save is over. Milliseconds.
SETTLED = 120


class Sources(DefaultFilter):
    """Passes the files that pages are made of."""

    ignore_dirs: ClassVar = (
        *DefaultFilter.ignore_dirs,
        *("_build", ".nox", ".ruff_cache", ".jupyter_cache", ".ipynb_checkpoints", "upstream"),
    )
    ignore_entity_patterns: ClassVar = (
        *DefaultFilter.ignore_entity_patterns,
        *(r"^#.*#$", r"^\.#", r"^4913$", r"\.(?:tmp|temp|bak|orig|new|part)$", r"^\.~lock"),
        r"^\.[^.]*\.kate-swp$",
        # A learner's own work: no page shows it.
        r"^starter\.py$",
    )


class LabsState(BaseFilter):
    """Passes what the `labs` command keeps, once it is whole."""

    ignore_entity_patterns: ClassVar = (r"\.(?:tmp|new|lock)$", r"^\.")


class Watcher:
    """Watches a book's sources from threads of its own, until it is stopped."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._changes: queue.Queue[Path | None] = queue.Queue()
        self._digests: dict[Path, str] = {}
        self._stop = threading.Event()
        (root / LABS_STATE).mkdir(exist_ok=True)  # what is not there cannot be watched
        folders = [root / name for name in FOLDERS if (root / name).is_dir()]
        self._watch(folders, Sources(), recursive=True)
        self._watch([root], Sources(), recursive=False)
        self._watch([root / LABS_STATE], LabsState(), recursive=False)

    def _watch(self, paths: list[Path], passes: BaseFilter, *, recursive: bool) -> None:
        if not paths:
            return
        options = {"step": SETTLED, "stop_event": self._stop, "raise_interrupt": False}

        def follow() -> None:
            for changes in watch(*paths, watch_filter=passes, recursive=recursive, **options):
                self._note(changes)

        threading.Thread(target=follow, daemon=True).start()

    def _note(self, changes: Iterable[tuple[Change, str]]) -> None:
        for change, name in sorted(changes):
            path = Path(name)
            if path.is_dir():
                continue
            digest = "" if change == Change.deleted else _digest(path)
            if self._digests.get(path) != digest:
                self._digests[path] = digest
                self._changes.put(path)

    def next(self, timeout: float | None = None) -> set[Path]:
        """Wait for a change; all files that have changed by then. Empty when the wait is over."""
        found: set[Path] = set()
        with contextlib.suppress(queue.Empty):
            while (path := self._changes.get(timeout=timeout)) is not None:
                found.add(path)
                timeout = SETTLED / 1000
        return found

    @property
    def stopped(self) -> bool:
        """Whether nothing will come any more."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the threads, and the wait of whoever waits."""
        self._stop.set()
        self._changes.put(None)

    def is_labs_state(self, path: Path) -> bool:
        """Whether a changed file is the `labs` command's."""
        return path.is_relative_to(self.root / LABS_STATE)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""  # gone again already
