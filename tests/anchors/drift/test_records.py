"""What is committed: readable, of one lock and one pin, right as often as the page says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from upstream_anchors.drift import Fate
from upstream_anchors.drift.classify import fate_of
from upstream_anchors.drift.fate import OUTCOMES, RELOCATED
from upstream_anchors.drift.records import (
    COVERED,
    RECORDS_DIR,
    as_text,
    make_record,
    read_record,
    read_records,
    write_record,
)
from upstream_anchors.drift.releases import RELEASES_DIR, Release, cached_versions
from upstream_anchors.drift.search import Search
from upstream_anchors.drift.sheets import misses, read_sheet
from upstream_anchors.drift.users import read_users
from upstream_anchors.errors import TreeError
from upstream_anchors.lock import Lock, LockedPlace
from upstream_anchors.pin import the_pin
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree, open_tree


@pytest.fixture(scope="module")
def lock() -> Lock:
    """The lock of the book."""
    return Lock.load(the_pin())


@pytest.fixture(scope="module")
def records(lock: Lock):
    """The committed records."""
    return read_records(lock)


def test_every_release_after_the_pin_is_recorded(records) -> None:
    found = [record.version for record in records]
    assert len(found) >= 6
    assert (found[0], found[-1]) == ("0.23.0", "0.33.0")


def test_all_are_of_one_lock_and_cover_most_of_it(records, lock: Lock) -> None:
    assert len({record.lock_sha256 for record in records}) == 1
    assert len({tuple(sorted(record.fates)) for record in records}) == 1
    for record in records:
        covered = len(record.fates) / len(lock.entries)
        assert covered >= COVERED, (
            f"{record.version} covers {covered:.0%} of the lock; make the records anew with "
            f"`nox -s drift -- all --record`"
        )


def test_a_record_holds_no_text_of_upstream() -> None:
    known = {"at", "is", "path", "symbol", "lines", "text", "holds", "score", "size", "note"}
    for path in RECORDS_DIR.glob("*.json"):
        for entry in json.loads(path.read_text(encoding="utf-8"))["anchors"].values():
            assert set(entry) <= known
            assert entry["is"] in OUTCOMES
            assert "\n" not in entry.get("note", "")
            assert len(entry.get("note", "")) < 200


def test_a_file_is_what_writing_it_again_gives(lock: Lock) -> None:
    for path in sorted(RECORDS_DIR.glob("*.json"))[::4]:
        record = read_record(path, lock)
        if not record.dropped_since:
            assert as_text(record, lock) == path.read_text(encoding="utf-8")


def test_every_recorded_anchor_has_users(records) -> None:
    assert set(records[0].fates) <= set(read_users())


@pytest.mark.parametrize(
    ("name", "number", "floor"), [("traced_first", 30, 0.90), ("relocated", 50, 0.95)]
)
def test_precision(records, name: str, number: int, floor: float) -> None:
    sheet = read_sheet(name)
    assert len(sheet) >= number
    wrong = misses(sheet, records)
    assert 1 - len(wrong) / len(sheet) >= floor, [(j.release, j.target, f) for j, f in wrong]


def test_the_second_sheet_is_about_what_was_relocated(records) -> None:
    fates = {record.version: record.fates for record in records}
    sheet = read_sheet("relocated")
    said = [fates[judged.release][judged.target] for judged in sheet]
    assert all(fate.outcome in RELOCATED for fate in said)
    assert len({(judged.release, judged.target) for judged in sheet}) == len(sheet)


def test_the_first_sheet_again_from_the_trees(lock: Lock, records) -> None:
    # Needs trees that only a machine that ran `drift` has; one release is enough here.
    sheet = [judged for judged in read_sheet("traced_first") if judged.target in lock]
    here = {judged.release for judged in sheet} & set(cached_versions())
    old = open_tree(lock.pin)
    if old is None or not here:
        pytest.skip("no pinned tree, or no other release's tree in the cache")
    version = min(here)
    newer = Resolver(Tree(RELEASES_DIR / version), replace(lock.pin, version=version))
    search = Search(Resolver(old, lock.pin), newer, lock.pin.project)
    recorded = next(record for record in records if record.version == version).fates
    for judged in sheet:
        if judged.release == version:
            assert fate_of(lock.entries[judged.target].place, search) == recorded[judged.target]


# The form of a record.


def locked(pin, target: str, digest: str = "a" * 64) -> LockedPlace:
    """A locked place at lines 3 to 9."""
    return LockedPlace(Place(target, "function", "vllm/a.py", "f", 3, 9), digest)


@pytest.fixture
def small(pin) -> Lock:
    """A lock of two anchors."""
    targets = ("vllm/a.py#f", "vllm/a.py#g")
    return Lock(pin, {target: locked(pin, target) for target in targets})


@pytest.fixture
def written(small: Lock, tmp_path: Path) -> Path:
    """A record of both."""
    fates = [
        Fate("vllm/a.py#f", "moved", "vllm/a.py", "f", (5, 11), "same"),
        Fate("vllm/a.py#g", "moved-file", "vllm/b.py", "f", (1, 2), "changed", False, 0.8, 4, 1),
    ]
    record = make_record(small, Release("2.0", "fff", "0" * 64), fates)
    return write_record(record, small, tmp_path)


def test_a_record_reads_back(small: Lock, written: Path) -> None:
    record = read_record(written, small)
    assert record.fates["vllm/a.py#f"].lines == (5, 11)
    far = record.fates["vllm/a.py#g"]
    assert (far.path, far.score, far.added, far.removed, far.holds) == (
        "vllm/b.py",
        0.8,
        4,
        1,
        False,
    )
    assert record.added_since == record.dropped_since == ()
    assert record.counts()["moved"] == 1


def test_one_anchor_is_one_line(written: Path) -> None:
    assert sum(line.startswith('"vllm/') for line in written.read_text().splitlines()) == 2


def test_an_anchor_added_later_is_counted_and_nothing_fails(
    small: Lock, written: Path, pin
) -> None:
    small.entries["vllm/a.py#h"] = locked(pin, "vllm/a.py#h")
    record = read_record(written, small)
    assert record.added_since == ("vllm/a.py#h",)
    assert len(record.fates) == 2


def test_an_anchor_whose_slice_is_another_is_another_anchor(
    small: Lock, written: Path, pin
) -> None:
    small.entries["vllm/a.py#f"] = locked(pin, "vllm/a.py#f", "b" * 64)
    record = read_record(written, small)
    assert record.dropped_since == record.added_since == ("vllm/a.py#f",)


def test_a_record_of_another_pin_is_refused(small: Lock, written: Path) -> None:
    other = Lock(replace(small.pin, version="1.1"), small.entries)
    with pytest.raises(TreeError, match=r"made against 1\.0"):
        read_record(written, other)


def test_same_input_same_bytes(fates: Callable, files: dict) -> None:
    change = {"vllm/core/blocks.py": files["vllm/core/blocks.py"].replace("Pool", "Store")}
    assert fates(change) == fates(change)
