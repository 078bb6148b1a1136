r"""The screens on the pages of the two labs, taken from the running commands.

`python -m capstone.progress.screens` runs them in a repository of its own and writes what stood
there beside the labs' READMEs; a test compares the files with what the commands print now. The
learner in them has judged three issues, written a plan with three mistakes in it, and nothing else.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from capstone.plan import command as plan
from capstone.plan.checking import check_plan
from capstone.plan.markdown import Document
from capstone.plan.upstream import Upstream
from capstone.progress import first_pr, staff_loop
from capstone.records import Journal, record_folder
from capstone.triage.findings import CHECKS
from labkit import process, tables
from labkit.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[3]
PHASE = ROOT / "labs" / "phase-19-capstone-maintainer-and-startup"
GOOD = PHASE / "lab-01-find-and-scope-a-pr" / "example-plan.txt"
WIDTH = 84
#: What the learner of the screens got wrong: text of the good plan → what stood there instead.
MISTAKES = {
    '`vllm/v1/core/block_pool.py#BlockPool.evict_blocks@"assert block_id < len(self.blocks)"`': (
        '`vllm/v1/core/block_pool.py#BlockPool.evict_blocks@"assert block_id < len(blocks)"`'
    ),
    "- LoRA: the adapter is part of a block's hash, and evicting never computes one\n": "",
    "Estimate: 55 lines: 10 code, 45 tests": "Estimate: small",
}
#: The Gauntlet's verdicts: issue → checks passed, the next one being the end.
VERDICTS = {41951: 0, 12283: 2, 43736: len(CHECKS)}


@contextmanager
def learner() -> Iterator[Path]:
    r"""A repository in which somebody has worked at lab 01 for an evening."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        journal = Journal(record_folder(root) / "journal.jsonl")
        for issue, passed in VERDICTS.items():
            for number, check in enumerate(CHECKS[: passed + 1]):
                verdict = "passed" if number < passed else "failed"
                journal.append(kind="triage", issue=issue, check=check, verdict=verdict)
        (record_folder(root) / first_pr.FOLDER).mkdir()
        (record_folder(root) / first_pr.FOLDER / first_pr.PLAN).write_text(_plan(), "utf-8")
        yield root


def _plan() -> str:
    text = GOOD.read_text(encoding="utf-8")
    for good, bad in MISTAKES.items():
        if text.count(good) != 1:
            raise ValueError(f"{GOOD.name}: {good!r} stands there {text.count(good)} times")
        text = text.replace(good, bad)
    return text


def screens() -> dict[Path, str]:
    r"""Each file beside a README, with what stands in it."""
    catalogue = Catalogue(ROOT)
    one, two = (catalogue.find(f"phase-19/lab-0{number}") for number in (1, 2))
    with learner() as root:
        return {
            one.folder / "check.txt": _check(one, first_pr, root),
            one.folder / "plan-check.txt": _complaints(),
            two.folder / "check.txt": _check(two, staff_loop, root),
        }


def _check(lab, grader, root: Path) -> str:
    seen = grader.look(root)
    out, console = _console()
    console.print(f"$ labs check {lab.short}")
    console.print(tables.standing(process.Standing(lab, seen.findings, seen.truths)))
    return _lines(out)


def _complaints() -> str:
    upstream, document = Upstream.open(), Document(_plan(), "plan.md")
    out, console = _console()
    console.print("$ capstone plan check plan.md")
    plan.report(check_plan(document, upstream), document, upstream, console)
    return _lines(out)


def _console() -> tuple[io.StringIO, Console]:
    out = io.StringIO()
    return out, Console(file=out, width=WIDTH, highlight=False, markup=False, color_system=None)


def _lines(out: io.StringIO) -> str:
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def main() -> int:
    r"""Take the screens anew."""
    for path, text in screens().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
