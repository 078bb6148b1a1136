r"""The screens that the book shows, taken from the running program.

`python -m capstone.loop.captures` runs a loop in terminals of 100 and of 46 columns and writes
what stood there into `screens/`, typed lines included. Two answers are those of somebody, in
`screens/answers.toml`: one without and one with a peek. `--matrix` goes on to the end of the loop,
with answers that only a program would give, and leaves the matrix, page and figure of that.

A test compares the two screens with what the program shows now.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from capstone.loop import catalogue, figure, page, report
from capstone.loop.catalogue import Bank
from capstone.loop.draw import draw
from capstone.loop.interview import END, PEEK, Cue, Interview
from capstone.loop.item import LAYERS
from capstone.loop.matrix import matrix, revision
from capstone.loop.screen import Screen
from capstone.loop.transcript import Transcript
from labkit.catalogue import Catalogue

FOLDER = Path(__file__).with_name("screens")
WIDTHS = {"wide": 100, "narrow": 46}


class Watch:
    r"""A clock that goes on when somebody types."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        r"""Seconds so far."""
        return self.now


class Typist:
    r"""Types the answers of a file, and stops, or goes on as a program would, where they end."""

    def __init__(
        self, bank: Bank, transcript: Transcript, console: Console, watch: Watch, *, on: bool
    ) -> None:
        self.bank = bank
        self.transcript = transcript
        self.console = console
        self.on = on
        self.script: dict[str, Any] = answers()
        self.watch = watch

    def __call__(self, cue: Cue) -> str:
        r"""One line, and its echo on the screen."""
        text = self._text(cue)
        line = f"{cue.prompt}{text}"
        # A terminal breaks what is typed at its edge, not between words.
        for start in range(0, len(line), self.console.width):
            self.console.print(line[start : start + self.console.width])
        return text

    def _text(self, cue: Cue) -> str:
        if cue.kind == "choice":
            return "1"
        given = self.script.get(cue.item)
        if given is None and not self.on:
            raise EOFError
        layer = list(LAYERS).index(cue.about) if cue.kind == "grade" else 0
        if given is None:
            return self._program(cue, layer)
        if cue.kind == "grade":
            return str(given["points"][layer])
        if given.get("peek") and not self.transcript.state.of(cue.item).peeked:
            return PEEK
        self.watch.now += given["seconds"] if cue.number < len(given["lines"]) else 5
        return [*given["lines"], END][cue.number]

    def _program(self, cue: Cue, layer: int) -> str:
        item = self.bank.get(cue.item)
        if item is None:
            raise EOFError
        letters = sum(map(ord, cue.item))
        if cue.kind == "grade":
            return str(2 if letters % 3 else max(0, 2 - layer))
        self.watch.now += 24 * item.minutes / len(item.parts) + letters % 97
        values = [value.shown for value in item.demand.values]
        said = "; ".join(values if letters % 4 else values[:1])
        return [f"{said}; {' '.join(item.knobs)}", END][cue.number]


def answers() -> dict[str, Any]:
    r"""The file of answers."""
    return tomllib.loads((FOLDER / "answers.toml").read_text(encoding="utf-8"))


def screen(bank: Bank, width: int, folder: Path, *, on: bool = False) -> tuple[str, Transcript]:
    r"""What stands in a terminal of that width, and the transcript of the loop."""
    seed = answers()["seed"]
    out, watch = io.StringIO(), Watch()
    console = Console(
        file=out, width=width, markup=False, highlight=False, soft_wrap=True, color_system=None
    )
    transcript = Transcript(folder / f"seed-{seed}.jsonl", clock=watch)
    typist = Typist(bank, transcript, console, watch, on=on)
    transcript.begin(draw(bank, seed), bank.digest())
    console.print(f"$ capstone loop start --seed {seed}")
    Interview(bank, transcript, Screen(console), typist).run()
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join(lines) + "\n", transcript


def main(arguments: list[str] | None = None) -> int:
    r"""Take the screens anew."""
    parser = argparse.ArgumentParser(prog="capstone.loop.captures", description=__doc__)
    parser.add_argument("--bank", type=Path, default=catalogue.FOLDER)
    parser.add_argument("--matrix", action="store_true", help="the whole loop, and its outcome")
    options = parser.parse_args(arguments)
    root = Catalogue().root
    bank = catalogue.load(root, options.bank)
    for name, width in WIDTHS.items():
        with tempfile.TemporaryDirectory() as folder:
            text, _ = screen(bank, width, Path(folder))
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
    if options.matrix:
        with tempfile.TemporaryDirectory() as folder:
            _, transcript = screen(bank, WIDTHS["wide"], Path(folder), on=True)
            found = matrix(bank, transcript)
        # The one thing that differs from run to run.
        found = replace(found, began="for this page")
        todo = revision(found, root)
        (FOLDER / "matrix.md").write_text(report.markdown(found, todo), encoding="utf-8")
        (FOLDER / "matrix.html").write_text(page.html(found, todo), encoding="utf-8")
        (FOLDER / "matrix.svg").write_text(figure.svg(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
