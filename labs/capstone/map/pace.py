r"""Five minutes a file: who keeps the time?

`next` opens a file and notes when. A file is done when its sentence stands in the map, and the
time of that is the time at which the map was saved. So nothing has to be stopped by hand; what
is measured is from one `next` to the save after it, with the coffee in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from upstream_anchors.codebase_map import MapDocument

from capstone.map.tour import MINUTES_A_FILE
from capstone.records import Journal

OPENED, WRITTEN = "map-opened", "map-written"


@dataclass
class Pace:
    r"""What the journal says of a tour: files under way, and minutes of those that are done."""

    open: dict[str, datetime] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, journal: Journal) -> Pace:
        r"""The state after all entries; an entry of another tool is passed over."""
        pace = cls()
        for entry in journal.read():
            path = entry.get("path")
            if entry.get("event") == OPENED and isinstance(path, str):
                pace.open.setdefault(path, _moment(entry))
            elif entry.get("event") == WRITTEN and isinstance(path, str):
                pace.open.pop(path, None)
                pace.minutes[path] = float(entry.get("minutes", 0))
        return pace

    def settle(self, document: MapDocument, saved: datetime, journal: Journal) -> list[str]:
        r"""Note the files whose sentence has been written since they were opened."""
        done = []
        for path, since in list(self.open.items()):
            section = document.files.get(path)
            if section is None or not section.is_filled:
                continue
            spent = round(max(0.0, (saved - since).total_seconds() / 60), 1)
            journal.append(event=WRITTEN, path=path, minutes=spent)
            del self.open[path]
            self.minutes[path] = spent
            done.append(path)
        return done

    def start(self, path: str, journal: Journal) -> None:
        r"""Note that a file is being read; opening it a second time changes nothing."""
        if path not in self.open:
            self.open[path] = _moment(journal.append(event=OPENED, path=path))

    def elapsed(self, path: str) -> float:
        r"""Minutes since a file was opened; 0 for one that is not open."""
        since = self.open.get(path)
        return (datetime.now(UTC) - since).total_seconds() / 60 if since else 0.0

    @property
    def over(self) -> list[str]:
        r"""The files that took longer than a file may."""
        return [path for path, spent in self.minutes.items() if spent > MINUTES_A_FILE]

    @property
    def usual(self) -> float | None:
        r"""The median of a file's minutes; none before the first is done."""
        return median(self.minutes.values()) if self.minutes else None


def saved_at(path: Path) -> datetime:
    r"""When a file was last written."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _moment(entry: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(entry.get("at")))
    except ValueError:
        return datetime.now(UTC)  # a damaged time is no time; the file starts anew
