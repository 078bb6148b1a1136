r"""What the shell shows of a comparison.

Counts first, then what a person would have to look at, then one line of summary. What only moved is
counted and not listed, unless asked for: it needs nobody.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from upstream_anchors.drift.fate import Fate
from upstream_anchors.drift.records import Record
from upstream_anchors.drift.touched import Touched
from upstream_anchors.lock import Lock
from upstream_anchors.place import Place
from upstream_anchors.tree import Tree

_QUIET = ("same", "moved")
_PAGES_SHOWN = 4


def print_report(
    record: Record,
    lock: Lock,
    touched: dict[str, list[Touched]],
    console: Console,
    *,
    everything: bool = False,
) -> None:
    r"""Counts, then each anchor that changed: where it is now, how much, and who uses it."""
    release, pin = record.release, lock.pin
    console.print()
    console.print(
        f"{pin.project} {release.version} @ {release.commit}, beside {pin.version}", style="bold"
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("class")
    table.add_column("anchors", justify="right")
    table.add_column("share", justify="right")
    total = len(record.fates)
    for outcome, number in record.counts().items():
        table.add_row(outcome, str(number), f"{number / total:.0%}" if total else "")
    console.print(table)
    for target in sorted(record.fates):
        fate = record.fates[target]
        if everything or fate.outcome not in _QUIET or not fate.holds:
            _print_fate(fate, touched.get(target, []), console)
    broken = sum(not fate.holds for fate in record.fates.values())
    still = total - broken
    console.print()
    console.print(
        f"{still} of {total} anchors would resolve in {release.version} as they are typed; "
        f"{broken} need a person."
    )


def _print_fate(fate: Fate, users: list[Touched], console: Console) -> None:
    console.print()
    score = f", likeness {fate.score:.2f}" if fate.score is not None else ""
    size = f", +{fate.added} -{fate.removed}" if fate.added or fate.removed else ""
    console.print(f"{fate.outcome:<13} {fate.target}", style="bold")
    if fate.outcome != "gone":
        console.print(f"{'':<13} now {fate.where}{score}{size}")
    if fate.note:
        console.print(f"{'':<13} {fate.note}")
    names = [user.name for user in users]
    more = f" and {len(names) - _PAGES_SHOWN} more" if len(names) > _PAGES_SHOWN else ""
    if names:
        console.print(f"{'':<13} used by {', '.join(names[:_PAGES_SHOWN])}{more}", style="dim")


def diff_of(fate: Fate, place: Place, old: Tree, new: Tree, version: str) -> list[str]:
    r"""A unified diff of one anchor's slice. Upstream's text: to be shown, never to be kept."""
    if fate.outcome == "gone":
        return []
    start, end = fate.lines or (None, None)
    there = Place(fate.target, place.kind, fate.path, fate.symbol, start, end)
    return list(
        difflib.unified_diff(
            place.slice(old),
            there.slice(new),
            f"{place.where}",
            f"{fate.where} ({version})",
            lineterm="",
        )
    )


def print_diffs(
    fates: Iterable[Fate], lock: Lock, old: Tree, new: Tree, version: str, console: Console
) -> None:
    r"""The diffs of all anchors whose text differs, coloured at a terminal."""
    for fate in fates:
        lines = diff_of(fate, lock.entries[fate.target].place, old, new, version)
        if not lines:
            continue
        console.print()
        console.print(fate.target, style="bold")
        text = "\n".join(lines)
        if console.is_terminal:
            console.print(Syntax(text, "diff", background_color="default"))
        else:
            console.print(text)
