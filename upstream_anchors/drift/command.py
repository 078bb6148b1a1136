r"""`python -m upstream_anchors drift VERSION…`: get the trees, classify, print, record.

Several releases are classified in two to four processes, by the cores there are; a release is
one process's work, since all of it rests on the same two trees.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import track

from upstream_anchors.drift.classify import classify
from upstream_anchors.drift.records import (
    RECORDS_DIR,
    Record,
    as_text,
    make_record,
    read_records,
    write_record,
)
from upstream_anchors.drift.releases import (
    checked_version,
    release_of,
    release_tree,
    versions_after_pin,
)
from upstream_anchors.drift.report import print_diffs, print_report
from upstream_anchors.drift.touched import touched_by
from upstream_anchors.drift.users import write_users
from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.lock import Lock
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree, need_tree

# Each holds the syntax trees of a release, some hundreds of megabytes.
_PROCESSES = 4


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Run the command; 0 unless an error is raised."""
    pin, progress = the_pin(), Console(stderr=True)
    old = need_tree(pin, options.tree)
    lock = Lock.load(pin)
    for target in options.anchor or []:
        if target not in lock:
            near = nearest_names(target, lock.entries)
            raise AnchorError(f"{target} is no anchor of the lock", near)
    versions = _wanted(options.versions, lock)
    trees = {version: release_tree(version, console=progress) for version in versions}
    records = _records(lock, old, trees, progress)
    touched = {} if options.json and not options.record else touched_by(pin)
    if options.record:
        write_users({target: users for target, users in touched.items() if target in lock})
    for record in records:
        if options.record:
            console.print(f"{write_record(record, lock)} written.")
        shown = _narrowed(record, options)
        if options.json:
            print(as_text(shown, lock), end="")
        elif not options.record:
            everything = options.all or bool(options.only or options.anchor)
            print_report(shown, lock, touched, console, everything=everything)
        if options.diff:
            tree = trees[record.version]
            fates = [shown.fates[target] for target in sorted(shown.fates)]
            print_diffs(fates, lock, old, tree, record.version, console)
    return 0


def _wanted(asked: list[str], lock: Lock) -> list[str]:
    if "all" in asked:
        return versions_after_pin(lock.pin)
    if asked:
        return list(dict.fromkeys(checked_version(version) for version in asked))
    recorded = [record.version for record in read_records(lock, RECORDS_DIR)]
    return recorded[-1:] or versions_after_pin(lock.pin)[-1:]


def _narrowed(record: Record, options: argparse.Namespace) -> Record:
    fates = {
        target: fate
        for target, fate in record.fates.items()
        if (not options.only or fate.outcome in options.only)
        and (not options.anchor or target in options.anchor)
    }
    return Record(record.release, record.pin, record.lock_sha256, fates)


def _records(lock: Lock, old: Tree, trees: dict[str, Tree], progress: Console) -> list[Record]:
    if len(trees) == 1:
        [(version, tree)] = trees.items()

        def tracked(targets: list[str]) -> Iterable[str]:
            what = f"Holding {len(targets)} anchors against {version}"
            return track(targets, description=what, console=progress, transient=True)

        fates = classify(lock, old, tree, version=version, track=tracked)
        return [make_record(lock, release_of(tree), fates)]
    found: dict[str, Record] = {}
    workers = max(2, min(os.cpu_count() or 2, len(trees), _PROCESSES))
    with ProcessPoolExecutor(workers) as executor:
        jobs = [
            executor.submit(_one, lock, old.root, tree.root, version)
            for version, tree in trees.items()
        ]
        done = track(
            as_completed(jobs),
            total=len(jobs),
            description=f"Holding {len(lock.entries)} anchors against {len(jobs)} releases",
            console=progress,
            transient=True,
        )
        for job in done:
            record = job.result()
            found[record.version] = record
    return [found[version] for version in trees]


def _one(lock: Lock, old: Path, new: Path, version: str) -> Record:
    tree = Tree(new)
    return make_record(lock, release_of(tree), classify(lock, Tree(old), tree, version=version))
