r"""`capstone loop`: begin, go on, report, compare.

| command | does |
|---|---|
| `capstone loop start --seed 7` | begins a loop; without a seed one is drawn and shown |
| `capstone loop resume [LOOP]` | goes on where it stopped |
| `capstone loop report [LOOP]` | writes the matrix: Markdown, HTML, SVG |
| `capstone loop compare A B` | two loops beside one another |
| `capstone loop list` | which loops there are |
| `capstone loop rules` | how answers are graded |

A loop is named, or given as the path of its file; without one the latest is meant. Files lie in
`.labs/capstone/loop/`. Exit status 1: a transcript was read that is damaged or was changed.
"""

from __future__ import annotations

import argparse
import contextlib
import random
from pathlib import Path

from rich.console import Console

from capstone.errors import CapstoneError
from capstone.loop import catalogue, compare, figure, grading, page, report, walk
from capstone.loop.draw import draw
from capstone.loop.interview import Cue, Interview, finished
from capstone.loop.matrix import Matrix, matrix, revision
from capstone.loop.plain import plain
from capstone.loop.screen import Screen
from capstone.loop.transcript import Transcript
from capstone.records import record_folder, write_document

ROOT = Path(__file__).resolve().parents[3]
SUFFIX = ".jsonl"
#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The commands of the loop."""
    parser.add_argument("--bank", type=Path, default=catalogue.FOLDER, help="another bank's folder")
    parser.add_argument("--records", type=Path, help="where transcripts lie, instead of .labs")
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = commands.add_parser("start", help="begin a loop")
    start.add_argument("--seed", type=int, help="the same seed asks the same questions")
    start.add_argument(
        "--name", help="what the loop is called; loop-1, loop-2 and so on if left out"
    )
    resume = commands.add_parser("resume", help="go on where it stopped")
    resume.add_argument("loop", nargs="?", help="its name; the latest if left out")
    show = commands.add_parser("report", help="write the matrix: Markdown, HTML, SVG")
    show.add_argument("loop", nargs="?", help="its name; the latest if left out")
    show.add_argument("--to", type=Path, help="the folder to write to; beside the transcript else")
    two = commands.add_parser("compare", help="two loops beside one another")
    two.add_argument("first")
    two.add_argument("second")
    commands.add_parser("list", help="which loops there are")
    commands.add_parser("rules", help="how answers are graded")


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Run one of them."""
    folder = options.records or record_folder(ROOT) / "loop"
    if options.action == "rules":
        # The docstrings are the rule book; the formulas in them are plain enough for a terminal.
        for module in (grading, walk):
            console.print(plain(module.__doc__ or ""), markup=False)
            console.print()
        return 0
    if options.action == "list":
        return _list(folder, console)
    if options.action == "start":
        # What is wrong with a name is said before the bank is read: that takes a second or two.
        transcript = Transcript(folder / f"{_name(folder, options.name)}{SUFFIX}")
    elif options.action == "compare":
        transcripts = [_open(folder, name) for name in (options.first, options.second)]
    else:
        transcript = _open(folder, options.loop)
    bank = catalogue.load(ROOT, options.bank)
    if options.action == "compare":
        first, second = (matrix(bank, transcript) for transcript in transcripts)
        console.print(compare.markdown(first, second), end="")
        return int(bool(first.remarks or second.remarks))
    if options.action == "report":
        return _report(matrix(bank, transcript), options.to or transcript.path.parent, console)
    if options.action == "start":
        seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
        drawn = draw(bank, seed)
        transcript.begin(drawn, bank.digest())
        console.print(f"loop {transcript.name}, seed {seed}: {transcript.path}")
    else:
        for remark in transcript.state.remarks:
            console.print(f"{transcript.path.name}: {remark}")
    if transcript.state.asked and finished(bank, transcript.state):
        console.print(f"{transcript.name} is complete; `capstone loop report {transcript.name}`")
        return 0
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - arrow keys and history while typing an answer
    further = f"`capstone loop resume {transcript.name}` goes on from here"
    try:
        if not Interview(bank, transcript, Screen(console), _read).run():
            console.print(f"\nstopped; {further}")
            return 0
    except KeyboardInterrupt:
        console.print(f"\n\nstopped; each line up to the last Enter is kept, and {further}")
        return INTERRUPTED
    return _report(matrix(bank, transcript), transcript.path.parent, console)


def _read(cue: Cue) -> str:
    return input(cue.prompt)


def _report(found: Matrix, folder: Path, console: Console) -> int:
    todo = revision(found, ROOT)
    text = report.markdown(found, todo)
    written = {
        f"{found.name}.md": text,
        f"{found.name}.html": page.html(found, todo),
        f"{found.name}.svg": figure.svg(found),
    }
    for name, content in written.items():
        aside = write_document(folder / name, content, expected="")
        if aside is not None and aside.read_text(encoding="utf-8") != content:
            console.print(f"an older {name} is kept as {aside.name}")
    console.print()
    console.print(text.split("\n## Answers", 1)[0])
    console.print(f"\nwritten to {folder}: {', '.join(written)}")
    for remark in found.remarks:
        console.print(f"transcript: {remark}")
    return int(bool(found.remarks))


def _open(folder: Path, name: str | None) -> Transcript:
    if name is None:
        paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda p: (p.stat().st_mtime, p.name))
        if not paths:
            raise CapstoneError(f"{folder}: no loop yet; `capstone loop start` begins one")
        return Transcript(paths[-1])
    path = Path(name) if name.endswith(SUFFIX) else folder / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))) or "none"
        raise CapstoneError(f"{path}: no such loop; there are: {known}")
    return Transcript(path)


def _name(folder: Path, wanted: str | None) -> str:
    if wanted is not None:
        if not wanted or Path(wanted).name != wanted or wanted.startswith("."):
            raise CapstoneError(f"{wanted!r} is no name for a file")
        return wanted
    number = 1
    while (folder / f"loop-{number}{SUFFIX}").exists():
        number += 1
    return f"loop-{number}"


def _list(folder: Path, console: Console) -> int:
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    for path in paths:
        state = Transcript(path).state
        answered = sum(bool(progress.points) for progress in state.progress.values())
        damage = f", {len(state.remarks)} remarks" if state.remarks else ""
        console.print(f"{path.stem}  seed {state.seed}  {state.began}  {answered} graded{damage}")
    if not paths:
        console.print(f"{folder}: no loop yet")
    return 0
