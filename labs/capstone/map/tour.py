r"""Which files does a tour of three hours hold?

The classic tour of vLLM goes through four folders: engine, core, worker, attention. Three of them
are gone at the pin; what was in them lies elsewhere. And a file takes five minutes, so that three
hours are 36 files, of a tree in which those folders have four times as many. A tour that is meant
to end has to choose, and says by what: the *traffic* of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from upstream_anchors.codebase_map import CodeGraph, FileEntry, Part, choose_part

#: Skim, close, write the sentence: more than this on one file is reading, which comes later.
MINUTES_A_FILE = 5
#: What the first step of the capstone has.
HOURS = 3.0


@dataclass(frozen=True)
class Stage:
    r"""One folder of the classic tour, and where its files are at the pin."""

    classic: str
    today: tuple[str, ...]

    def holds(self, path: str) -> bool:
        r"""Whether a file lies in this stage."""
        return any(path.startswith(f"{folder}/") for folder in self.today)


STAGES = (
    Stage("vllm/engine", ("vllm/engine",)),
    Stage("vllm/core", ("vllm/v1/core",)),
    Stage("vllm/worker", ("vllm/v1/worker",)),
    Stage("vllm/attention", ("vllm/v1/attention", "vllm/model_executor/layers/attention")),
)


def folders() -> list[str]:
    r"""The folders of today, in the order of the tour."""
    return [folder for stage in STAGES for folder in stage.today]


def stage_of(path: str) -> int:
    r"""The number of a file's stage; past the last one for a file that was added to the tour."""
    return next((at for at, stage in enumerate(STAGES) if stage.holds(path)), len(STAGES))


def traffic(entry: FileEntry) -> int:
    r"""How much passes through a file: files that lean on it, and calls it makes into the tree.

    The first half finds what everybody builds on, and the second what holds it together: a
    scheduler is imported by hardly anyone and calls everyone.
    """
    lean = {one.path for one in entry.importers} | {one.path for one in entry.callers}
    file = entry.file
    return len(lean) + file.calls - file.outside - sum(file.unresolved.values())


def in_order(part: Part) -> list[FileEntry]:
    r"""The files of a part as the tour meets them: by stage, then by traffic."""
    return sorted(part.entries, key=lambda one: (stage_of(one.path), -traffic(one), one.path))


def stops(graph: CodeGraph, hours: float) -> list[str]:
    r"""The files that a tour of so many hours holds, in its order.

    More hours only add files, so that a longer tour goes on where a shorter one ended.
    """
    count = int(hours * 60 // MINUTES_A_FILE)
    busiest = sorted(whole(graph).entries, key=lambda one: (-traffic(one), one.path))[:count]
    chosen = {entry.path for entry in busiest}
    return [entry.path for entry in in_order(whole(graph)) if entry.path in chosen]


def whole(graph: CodeGraph) -> Part:
    r"""All files of the tour's folders."""
    return choose_part(graph, folders())


def beyond(graph: CodeGraph, part: Part) -> dict[str, list[str]]:
    r"""By folder of today, the files with statements that the map does not have."""
    mapped = part.paths
    entries: Sequence[FileEntry] = whole(graph).entries
    return {
        folder: [
            entry.path
            for entry in entries
            if entry.path.startswith(f"{folder}/") and entry.path not in mapped
        ]
        for folder in folders()
    }
