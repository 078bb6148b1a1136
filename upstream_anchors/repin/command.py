r"""`python -m upstream_anchors pin VERSION`: move the pin on a branch, and say what is left to do.

```text
pin VERSION                  a branch pin-VERSION with pin.toml and lock.json, and the list
pin VERSION --dry-run        the list alone; nothing is written, uncommitted work does not matter
pin VERSION --apply-renames  and the new targets put into the pages, each edit printed
```

Exit status: 0 the pin has moved (or would), 3 refused, with nothing written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from upstream_anchors.codebase_map.graph import CodeGraph
from upstream_anchors.drift.classify import classify
from upstream_anchors.drift.fate import Fate
from upstream_anchors.drift.releases import checked_version, release_of, release_tree
from upstream_anchors.drift.touched import touched_by
from upstream_anchors.errors import TreeError
from upstream_anchors.lock import Lock
from upstream_anchors.pin import PROJECT_ROOT, Pin, the_pin
from upstream_anchors.repin.branch import commit, refuse_unless_clean, start_branch
from upstream_anchors.repin.decisions import Move, move
from upstream_anchors.repin.edits import Edit, apply_edits, planned_edits
from upstream_anchors.repin.listing import edits_listing, listing, mentions_listing, summary
from upstream_anchors.repin.mentions import Count, changed_counts, find_mentions
from upstream_anchors.repin.pin_file import moved_pin, rewritten
from upstream_anchors.resolver import Resolver
from upstream_anchors.scanner import Use, scan_book
from upstream_anchors.tree import Tree, need_tree


def run_pin(options: argparse.Namespace, console: Console) -> int:
    r"""Move the pin, or list what moving it would take."""
    pin = the_pin()
    version = checked_version(options.version)
    if version == pin.version:
        raise TreeError(f"The pin is {pin} already.")
    if not options.dry_run:
        refuse_unless_clean(PROJECT_ROOT, version)
    new_tree = release_tree(version, console=Console(stderr=True))
    plan = make_plan(pin, need_tree(pin, options.tree), new_tree)
    for line in [*summary(plan.move, plan.fates), *listing(plan.move, touched_by(pin))]:
        console.print(line)
    console.print("\nNOT ANCHORS. What else names the old release, or was counted in its tree.")
    counts = changed_counts(counts_of(pin, need_tree(pin, options.tree), plan.pin, new_tree))
    for line in mentions_listing(find_mentions(PROJECT_ROOT, pin), counts):
        console.print(line)
    console.print()
    edits, missed = planned_edits(PROJECT_ROOT, plan.move.decisions)
    applied = options.apply_renames and not options.dry_run
    for line in edits_listing(edits, missed, applied):
        console.print(line)
    if options.dry_run:
        console.print(f"\nNothing was written. {pin} is still the pin.")
        return 0
    name = write_plan(PROJECT_ROOT, plan, new_tree, edits if applied else [])
    console.print(
        f"\nOn the branch {name}, {plan.pin} is the pin. Next: `python -m upstream_anchors fetch` "
        "after upstream/ was removed, then `check` until the list above is done."
    )
    return 0


@dataclass(frozen=True)
class Plan:
    r"""The new pin, what became of every anchor, and the new lock with its decisions."""

    pin: Pin
    fates: Sequence[Fate]
    move: Move


def make_plan(pin: Pin, old: Tree, new: Tree, root: Path = PROJECT_ROOT) -> Plan:
    r"""Hold the lock against the new tree; nothing is written.

    {py:class}`.TreeError` when the lock is not of the book as it stands: an anchor that it does
    not know could not be followed, and would be lost without a word.
    """
    lock = Lock.load(pin, root / "upstream_anchors" / "lock.json")
    uses = _uses(root, pin)
    unlocked, unused = sorted(uses.keys() - set(lock)), sorted(set(lock) - uses.keys())
    if unlocked or unused:
        shown = ", ".join([*unlocked, *unused][:3])
        raise TreeError(
            f"The lock is not of this book: {len(unlocked)} anchors are not in it and "
            f"{len(unused)} are not used ({shown}). Make it anew first: `nox -s anchors -- --lock`."
        )
    moved = moved_pin(pin, release_of(new))

    def tracked(targets: list[str]) -> Iterable[str]:
        what = f"Looking for {len(targets)} anchors in {moved.version}"
        return track(targets, description=what, console=Console(stderr=True), transient=True)

    fates = classify(lock, old, new, version=moved.version, track=tracked)
    return Plan(moved, fates, move(fates, uses, moved, new))


def write_plan(root: Path, plan: Plan, tree: Tree, edits: Sequence[Edit]) -> str:
    r"""Make the branch and commit the pin and the lock on it, then the edits, if any; its name.

    Nothing else is written. The edits are a commit of their own, so that they can be read, or taken
    back, by themselves.
    """
    folder = root / "upstream_anchors"
    pin_file, lock_file = folder / "pin.toml", folder / "lock.json"
    text = rewritten(pin_file.read_text(encoding="utf-8"), plan.pin)
    name = start_branch(root, plan.pin.version)
    pin_file.write_text(text, encoding="utf-8")
    plan.move.lock.save(lock_file)
    commit(root, [pin_file, lock_file], f"Pin {plan.pin.project} {plan.pin.version}")
    if edits:
        changed = apply_edits(root, edits)
        # What was renamed has an address again, and belongs into the lock.
        resolver = Resolver(tree, plan.pin)
        for new in {edit.new for edit in edits}:
            plan.move.lock.add(resolver.resolve(new), tree)
        plan.move.lock.save(lock_file)
        commit(root, [*changed, lock_file], f"New names of {plan.pin.version} in the anchors")
    return name


def counts_of(old_pin: Pin, old: Tree, new_pin: Pin, new: Tree) -> list[Count]:
    r"""What the book counts in the tree, in both trees."""
    before = CodeGraph.cached(old, old_pin, _tracked)
    after = CodeGraph.cached(new, new_pin, _tracked)
    logger = f"{old_pin.project}/logger.py"
    return [
        Count(f"Python files of {old_pin.project}/", len(before.files), len(after.files)),
        Count(
            f"importers of {logger}",
            len(before.importers.get(logger, ())),
            len(after.importers.get(logger, ())),
        ),
    ]


def _tracked(paths: list[str], description: str) -> Iterable[str]:
    return track(paths, description=description, console=Console(stderr=True), transient=True)


def _uses(root: Path, pin: Pin) -> dict[str, list[Use]]:
    uses: dict[str, list[Use]] = {}
    for use in scan_book(root, pin)[0]:
        uses.setdefault(use.target, []).append(use)
    return uses
