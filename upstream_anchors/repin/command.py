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
        refuse_unless_clean(PROJECT_ROOT, version)  # before anything is downloaded
    old = need_tree(pin, options.tree)
    new = release_tree(version, console=Console(stderr=True))
    plan = make_plan(pin, old, new)
    counts = changed_counts(counts_of(pin, old, plan.pin, new))
    carry_out(
        plan,
        new,
        console,
        counts=counts,
        dry_run=options.dry_run,
        apply_renames=options.apply_renames,
    )
    return 0


def carry_out(
    plan: Plan,
    tree: Tree,
    console: Console,
    *,
    root: Path = PROJECT_ROOT,
    counts: Sequence[Count] = (),
    dry_run: bool = False,
    apply_renames: bool = False,
) -> None:
    r"""Print the whole list, and unless it is a dry run make the branch; `tree` is the new one."""
    for line in [*summary(plan.move, plan.fates), *listing(plan.move, touched_by(plan.old, root))]:
        console.print(line)
    console.print("\nNOT ANCHORS. What else names the old release, or was counted in its tree.")
    for line in mentions_listing(find_mentions(root, plan.old), counts):
        console.print(line)
    console.print()
    edits, missed = planned_edits(root, plan.move.decisions)
    applied = apply_renames and not dry_run
    for line in edits_listing(edits, missed, applied):
        console.print(line)
    if dry_run:
        console.print(f"\nNothing was written. {plan.old} is still the pin.")
        return
    name = write_plan(root, plan, tree, edits if applied else [])
    console.print(
        f"\nOn the branch {name}, {plan.pin} is the pin. Next: remove upstream/, then "
        "`nox -s anchors` until it is content, and the rest of this list."
    )


@dataclass(frozen=True)
class Plan:
    r"""The old pin and the new, what became of every anchor, the new lock with its decisions."""

    old: Pin
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
    return Plan(pin, moved, fates, move(fates, uses, moved, new))


def write_plan(root: Path, plan: Plan, tree: Tree, edits: Sequence[Edit]) -> str:
    r"""Make the branch and commit the pin and the lock on it, then the edits, if any; its name.

    Refuses as `refuse_unless_clean` does. Nothing else is written. The edits are a commit of their
    own, so that they can be read, or taken back, by themselves.
    """
    refuse_unless_clean(root, plan.pin.version)
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
