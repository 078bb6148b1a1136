r"""Lab 02, the mock staff loop: which of its six steps are done?

The four sessions and the report are those of the loop that was worked at last. The sixth step is
the reason for the lab: no row that was asked about is below solid. Who has weak rows revises them
and begins another loop, with another seed; then that one is the last, and is looked at.
"""

from __future__ import annotations

from pathlib import Path

from capstone.errors import CapstoneError
from capstone.loop import catalogue
from capstone.loop.catalogue import Bank
from capstone.loop.interview import complete
from capstone.loop.item import SESSIONS
from capstone.loop.matrix import SOLID, Matrix, matrix
from capstone.loop.transcript import State, Transcript
from capstone.records import record_folder
from labkit.process import Finding, Look

#: Where the bank's pages lie, whatever repository is looked at.
BOOK = Path(__file__).resolve().parents[3]


def look(root: Path, folder: Path = catalogue.FOLDER) -> Look:
    r"""All six steps, for the repository at `root`; `folder` is the bank's."""
    loops = sorted(
        (record_folder(root) / "loop").glob("*.jsonl"),
        key=lambda path: (path.stat().st_mtime, path.name),
    )
    if not loops:
        return Look(tuple(Finding(False, "no loop has been begun") for _ in range(6)))
    transcript = Transcript(loops[-1])
    try:
        bank = catalogue.load(BOOK, folder)
        found = matrix(bank, transcript)
    except CapstoneError as error:
        return Look(tuple(Finding(False, str(error)) for _ in range(6)))
    sessions = [_session(bank, transcript.state, name) for name in SESSIONS]
    whole = all(session.done for session in sessions)
    report = loops[-1].with_suffix(".md")
    return Look(
        (*sessions, _report(report, whole), _rows(found, whole)),
        _truths(found) if whole else {},
    )


def _session(bank: Bank, state: State, session: str) -> Finding:
    names = [state.chosen] if session == "design" else list(state.asked[session])
    items = [item for name in names if (item := bank.get(name)) is not None]
    if not items:
        return Finding(False, "no scenario is chosen yet")
    done = sum(complete(item, state.of(item.id)) for item in items)
    return Finding(done == len(items), f"{done} of {len(items)} answered and graded")


def _report(path: Path, whole: bool) -> Finding:
    if not path.is_file():
        return Finding(False, f"loop/{path.name} is not written yet")
    if not whole:
        return Finding(False, f"loop/{path.name} is that of an unfinished loop")
    return Finding(True, f"loop/{path.name}, and the page and the figure beside it")


def _rows(found: Matrix, whole: bool) -> Finding:
    low = [row for row in found.rows if row.mean is not None and row.mean < SOLID]
    if found.remarks:
        return Finding(False, f"the transcript of {found.name}: {found.remarks[0]}")
    if not whole:
        return Finding(False, "the loop is not finished")
    if low:
        names = "; ".join(f"{row.number} {row.title}, {row.mean:.1f}" for row in low)
        return Finding(False, f"below solid: {names}")
    asked = sum(row.mean is not None for row in found.rows)
    return Finding(True, f"{asked} rows asked about, each of them solid")


def _truths(found: Matrix) -> dict[str, str]:
    asked = [row for row in found.rows if row.mean is not None]
    weakest = min(asked, key=lambda row: (row.mean or 0.0, row.number))
    solid = sum(result.grade.score >= SOLID for result in found.results)
    return {"weakest-row": str(weakest.number), "solid-answers": str(solid)}
