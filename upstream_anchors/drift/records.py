r"""What is committed of a comparison: one file a release, one anchor a line.

A record holds names, numbers and classes, and nothing of upstream's text. It names the archive that
it was made from by hash, and the lock by a digest, so the same two inputs give the same bytes.

**When the book gains anchors.** A record does not go stale because a writer adds an anchor: what it
says about the others is as true as before. So a reader of records takes, of each, the anchors that
the lock still has with the same lines and text at the pin, and counts the rest: *so many added
since*. Three things are refused by the tests: a record of another pin; records that were not made
from one and the same lock; and records that cover less than `COVERED` of the lock of today, which
is when the page would begin to be about another book. Making them anew is one command,
`nox -s drift -- all --record`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.version import Version

from upstream_anchors.drift.fate import OUTCOMES, Fate
from upstream_anchors.drift.releases import Release
from upstream_anchors.errors import TreeError
from upstream_anchors.lock import Lock

RECORDS_DIR = Path(__file__).with_name("records")
COVERED = 0.66


@dataclass
class Record:
    r"""The fates of a lock's anchors in one release.

    `slices` are the first digits of the locked hashes: an anchor whose slice at the pin is another
    one by now is another anchor.
    """

    release: Release
    pin: str
    lock_sha256: str
    fates: dict[str, Fate] = field(default_factory=dict)
    added_since: tuple[str, ...] = ()
    dropped_since: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        r"""The release's version."""
        return self.release.version

    def counts(self) -> dict[str, int]:
        r"""How many anchors each class has, in the order of the classes."""
        found = Counter(fate.outcome for fate in self.fates.values())
        return {outcome: found[outcome] for outcome in OUTCOMES}


def make_record(lock: Lock, release: Release, fates: list[Fate]) -> Record:
    r"""A record of freshly classified anchors."""
    by_target = {fate.target: fate for fate in fates}
    return Record(release, lock.pin.version, lock_digest(lock), by_target)


def lock_digest(lock: Lock) -> str:
    r"""A SHA-256 over every anchor of a lock with the hash of its slice."""
    lines = (f"{target}\t{lock.entries[target].sha256}" for target in lock)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def as_text(record: Record, lock: Lock) -> str:
    r"""The file of a record: sorted, one anchor a line."""
    anchors = ",\n".join(
        f"{json.dumps(target, ensure_ascii=False)}: {_entry(record.fates[target], lock)}"
        for target in sorted(record.fates)
    )
    head = {
        "release": asdict(record.release),
        "pin": record.pin,
        "lock_sha256": record.lock_sha256,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    return "{\n" + "\n".join(lines) + f'\n"anchors": {{\n{anchors}\n}}\n}}\n'


def _entry(fate: Fate, lock: Lock) -> str:
    locked = lock.entries[fate.target]
    text = fate.as_json(locked.place)
    return f'{{"at": "{locked.sha256[:8]}", {text.removeprefix("{")}'


def write_record(record: Record, lock: Lock, folder: Path = RECORDS_DIR) -> Path:
    r"""Write a record beside the others."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.version}.json"
    path.write_text(as_text(record, lock), encoding="utf-8")
    return path


def read_record(path: Path, lock: Lock) -> Record:
    r"""A record, cut down to the anchors that the lock still has as they were.

    A record of another pin is a {py:class}`.TreeError`: it says what became of other lines.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["pin"] != lock.pin.version:
        raise TreeError(
            f"{path.name} was made against {data['pin']}, the pin is {lock.pin}; make it anew with "
            f"`python -m upstream_anchors drift all --record`"
        )
    record = Record(Release(**data["release"]), data["pin"], data["lock_sha256"])
    for target, entry in data["anchors"].items():
        locked = lock.entries.get(target)
        if locked is not None and locked.sha256.startswith(entry["at"]):
            record.fates[target] = Fate.from_json(locked.place, entry)
    record.added_since = tuple(target for target in lock if target not in record.fates)
    record.dropped_since = tuple(sorted(data["anchors"].keys() - record.fates.keys()))
    return record


def read_records(lock: Lock, folder: Path = RECORDS_DIR) -> list[Record]:
    r"""Every committed record, oldest release first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: Version(path.stem))
    return [read_record(path, lock) for path in paths]
