r"""From a lock and two trees to one fate an anchor.

```python
from upstream_anchors.drift import classify, release_tree

fates = classify(lock, pinned_tree, release_tree("0.33.0"))
```

Nothing is modified, and nothing but the two trees is looked at: the same lock and the same trees
give the same answer on every machine.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from upstream_anchors.drift.fact_fates import follow_default, follow_log, follow_registration
from upstream_anchors.drift.fate import Fate
from upstream_anchors.drift.likeness import overlap
from upstream_anchors.drift.line_fates import follow_line
from upstream_anchors.drift.search import Found, Lost, Search
from upstream_anchors.drift.wording import compared, line_changes
from upstream_anchors.lock import Lock
from upstream_anchors.pin import Pin
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.target import Target
from upstream_anchors.tree import Tree

_SAME_FOLDER = 0.5


def classify(
    lock: Lock,
    old_tree: Tree,
    new_tree: Tree,
    *,
    version: str = "",
    track: Callable[[list[str]], Iterable[str]] = iter,
) -> list[Fate]:
    r"""The fate of every anchor of a lock, sorted by target.

    `old_tree` is the one that the lock was made from, and `new_tree` any other of the same project.
    `version` only names the newer one in messages; `track` may wrap the loop in a progress bar.
    """
    pin = lock.pin
    newer: Pin = replace(pin, version=version or pin.version, sdist_only=pin.sdist_only)
    search = Search(Resolver(old_tree, pin), Resolver(new_tree, newer), pin.project)
    with _no_collecting():
        return [fate_of(lock.entries[target].place, search) for target in track(list(lock))]


@contextmanager
def _no_collecting() -> Iterator[None]:
    # Syntax trees hold no cycles, and a collector that walks them all takes half of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def fate_of(place: Place, search: Search) -> Fate:
    r"""The fate of one locked place."""
    target = Target.parse(place.target)
    if place.kind == "folder":
        return _folder(place, search)
    if target.kind in {"flag", "env"}:
        return _fact(place, follow_registration(search, place), search)
    if target.kind == "log":
        return _fact(place, follow_log(search, place, target.fragment or ""), search)
    if target.kind == "default":
        return _default(place, search)
    if target.fragment is not None:
        return _line(place, target.fragment, search)
    if place.symbol is None:
        return _finish(place, search.file(place.path), search)
    return _finish(place, search.definition(place.path, place.symbol), search)


def gone(place: Place, note: str = "") -> Fate:
    r"""The fate of what is nowhere."""
    lines = None if place.start is None or place.end is None else (place.start, place.end)
    return Fate(place.target, "gone", place.path, place.symbol, lines, holds=False, note=note)


def _finish(place: Place, found: Found | Lost, search: Search) -> Fate:
    # The two slices are compared, and where it is gives the rest of the class.
    if isinstance(found, Lost):
        return gone(place, found.note)
    there = Place(place.target, place.kind, found.path, found.symbol, found.start, found.end)
    old, new = place.slice(search.old.tree), there.slice(search.new.tree)
    text = compared(old, new, place.path)
    added, removed = line_changes(old, new) if text != "same" else (0, 0)
    lines = None if found.start is None or found.end is None else (found.start, found.end)
    outcome = _outcome(place, found, text)
    return Fate(
        place.target,
        outcome,
        found.path,
        found.symbol,
        lines,
        text,
        found.holds,
        found.score,
        added,
        removed,
        found.note,
    )


def _outcome(place: Place, found: Found, text: str) -> str:
    new_path, new_name = found.path != place.path, found.symbol != place.symbol
    if new_path and new_name:
        # A method is in its class, and a class that was renamed has renamed all of it.
        return "renamed-moved"
    if new_path:
        return "moved-file"
    if new_name:
        return "renamed"
    if text != "same":
        return text
    return "same" if (found.start, found.end) == (place.start, place.end) else "moved"


def _fact(place: Place, found: Found | Lost, search: Search) -> Fate:
    if isinstance(found, Found):
        found = replace(found, symbol=place.symbol)
    return _finish(place, found, search)


def _line(place: Place, fragment: str, search: Search) -> Fate:
    found = follow_line(search, place, fragment)
    if isinstance(found, Lost):
        return gone(place, found.note)
    here = Found(
        found.path, found.symbol, found.number, found.number, found.score, found.holds, found.note
    )
    return _finish(place, here, search)


def _default(place: Place, search: Search) -> Fate:
    found, value = follow_default(search, place)
    fate = _finish(place, found, search)
    if isinstance(found, Lost):
        return fate
    claimed = Target.parse(place.target).value or ""
    # The value is the fact: what else the declaration says is wording.
    stands = found.holds or (found.score is not None and value == claimed)
    text = fate.text if fate.text == "same" else ("reworded" if stands else "changed")
    if not stands:
        text = "changed"
    outcome = _outcome(place, found, text)
    return replace(fate, text=text, outcome=outcome, note="" if stands else f"now {value}")


def _folder(place: Place, search: Search) -> Fate:
    new = search.new.tree
    path, score = place.path, None
    if not new.is_folder(path):
        names = _names(search.old.tree, path)
        scored = sorted(
            ((overlap(names, _names(new, other)), other) for other in new.folders),
            key=lambda pair: (-pair[0], pair[1]),
        )
        if not scored or scored[0][0] < _SAME_FOLDER:
            return gone(place)
        score, path = round(scored[0][0], 2), scored[0][1]
    old_list = [name.removeprefix(place.path) for name in place.slice(search.old.tree)]
    there = replace(place, path=path)
    new_list = [name.removeprefix(path) for name in there.slice(new)]
    added, removed = line_changes(old_list, new_list)
    text = "changed" if added or removed else "same"
    found = Found(path, score=score, holds=score is None)
    outcome = _outcome(place, found, text)
    return Fate(place.target, outcome, path, None, None, text, found.holds, score, added, removed)


def _names(tree: Tree, folder: str) -> set[str]:
    prefix = f"{folder}/"
    return {path.removeprefix(prefix) for path in tree.files if path.startswith(prefix)}
