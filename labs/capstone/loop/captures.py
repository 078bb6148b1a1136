r"""The screens that the book shows, taken from the running program.

`python -m capstone.loop.captures` runs a loop in terminals of 100 and of 46 columns and writes
what stood there into `screens/`, typed lines included. Two answers are those of somebody, in
`screens/answers.toml`: one without and one with a peek; so is the walk through one tree, which has
a screen of its own. `--matrix` goes on to the end of the loop, with answers that only a program
would give, and leaves the matrix, page and figure of that.

A test compares the screens with what the program shows now.
"""

from __future__ import annotations

import argparse
import contextlib
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
from capstone.loop.draw import Draw, draw
from capstone.loop.interview import CAUSE, END, PEEK, Cue, Interview, Stopped
from capstone.loop.item import LAYERS, SESSIONS, Item
from capstone.loop.matrix import matrix, revision
from capstone.loop.screen import Screen
from capstone.loop.transcript import State, Transcript
from capstone.loop.walk import Walked, good
from labkit.catalogue import Catalogue

FOLDER = Path(__file__).with_name("screens")
WIDTHS = {"wide": 100, "narrow": 46}


def typed_walk(item: Item, state: State, cue: Cue, way: Walked) -> str:
    r"""What is typed next by somebody who goes that way through the tree of an item."""
    if item.tree is None:
        raise ValueError(f"{item.id} has no tree")
    if cue.kind == "cause":
        return str([cause.id for cause in item.tree.named(state.seed)].index(way.cause) + 1)
    left = [name for name in way.looks if name not in state.of(item.id).looks]
    return str(item.tree.offered(state.seed).index(left[0]) + 1) if left else CAUSE


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
        item = self.bank.get(cue.item)
        if cue.kind in {"look", "cause"} and item is not None:
            self.watch.now += given["walk"]["seconds"]
            way = Walked(tuple(given["walk"]["looks"]), given["walk"]["cause"])
            return typed_walk(item, self.transcript.state, cue, way)
        if cue.kind == "grade":
            return str(given["points"][layer])
        if given.get("peek") and not self.transcript.state.of(cue.item).peeked:
            return PEEK
        lines = given["lines"] if cue.about == "answer" else given[cue.about]
        self.watch.now += given["seconds"] if cue.number < len(lines) else 5
        return [*lines, END][cue.number]

    def _program(self, cue: Cue, layer: int) -> str:
        item = self.bank.get(cue.item)
        if item is None:
            raise EOFError
        letters = sum(map(ord, cue.item))
        if cue.kind == "grade":
            return str(2 if letters % 3 else max(0, 2 - layer))
        if item.tree is not None and cue.kind in {"look", "cause"}:
            self.watch.now += 20
            return typed_walk(item, self.transcript.state, cue, good(item.tree))
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
    console = _console(out, width)
    transcript = Transcript(folder / f"seed-{seed}.jsonl", clock=watch)
    typist = Typist(bank, transcript, console, watch, on=on)
    transcript.begin(draw(bank, seed), bank.digest())
    console.print(f"$ capstone loop start --seed {seed}")
    Interview(bank, transcript, Screen(console), typist).run()
    return _lines(out), transcript


def walk_screen(bank: Bank, width: int, folder: Path) -> str:
    r"""What stands there when somebody walks through the tree that `answers.toml` names."""
    script, out, watch = answers(), io.StringIO(), Watch()
    console = _console(out, width)
    transcript = Transcript(folder / "walk.jsonl", clock=watch)
    asked: dict[str, tuple[str, ...]] = dict.fromkeys(SESSIONS, ())
    asked["debugging"] = (script["walked"],)
    transcript.begin(Draw(script["seed"], asked), bank.digest())
    transcript.sit()
    typist = Typist(bank, transcript, console, watch, on=False)
    with contextlib.suppress(Stopped):
        Interview(bank, transcript, Screen(console), typist).session("debugging")
    return _lines(out)


def _console(out: io.StringIO, width: int) -> Console:
    return Console(
        file=out, width=width, markup=False, highlight=False, soft_wrap=True, color_system=None
    )


def _lines(out: io.StringIO) -> str:
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).lstrip("\n") + "\n"


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
            walked = walk_screen(bank, width, Path(folder))
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
        (FOLDER / f"walk-{name}.txt").write_text(walked, encoding="utf-8")
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
