"""A small bank, and a learner whose every answer follows from what is asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from capstone import records
from capstone.loop import catalogue, draw
from capstone.loop.captures import typed_walk
from capstone.loop.catalogue import Bank
from capstone.loop.interview import Cue, Interview
from capstone.loop.item import Item
from capstone.loop.screen import Screen
from capstone.loop.transcript import Transcript
from capstone.loop.walk import Walked, good
from rich.console import Console

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).with_name("bank")


@pytest.fixture(scope="session")
def bank() -> Bank:
    """The interviews of phases 0 to 3, with samples for the rest."""
    return catalogue.load(ROOT, SAMPLE)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of five items instead of seventeen."""
    monkeypatch.setattr(
        draw, "SIZES", {"rapid-fire": 2, "deep-dive": 1, "design": 3, "debugging": 1}
    )


class Learner:
    """Answers by item, part and line, so that a resumed loop gets the same answers."""

    def __init__(self, bank: Bank, transcript: Transcript) -> None:
        self.bank = bank
        self.transcript = transcript

    def __call__(self, cue: Cue) -> str:
        """What this learner types."""
        if cue.kind == "choice":
            return "2"
        number = sum(map(ord, cue.item))
        if cue.kind == "grade":
            return str((number + len(cue.about)) % 3)
        if number % 3 == 0 and not self.transcript.state.of(cue.item).peeked:
            return ":peek"
        item = self.bank.get(cue.item)
        assert item is not None
        if cue.kind in {"look", "cause"}:
            assert item.tree is not None
            way = good(item.tree)
            tempted = [item.tree.tempting[number % 2].id] if number % 4 else []
            way = Walked((*tempted, *way.looks), way.cause)
            return typed_walk(item, self.transcript.state, cue, way)
        lines = [f"about {cue.item}, {cue.about}", *(v.shown for v in item.demand.values), "."]
        if number % 5 == 0:
            lines = ["words only", "."]
        return lines[cue.number]


class Quiet(Screen):
    """Shows nothing: what is shown is the terminal's test."""

    def prose(self, markdown: str, indent: str = "") -> None:
        """Leave the text out."""

    def model(self, item: Item) -> None:
        """Leave the answer out."""


Run = Callable[..., Transcript]


@pytest.fixture
def run(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Begin a loop at a path, or go on with the one that is there.

    Without fsync, which is nine tenths of the time of these tests: no power fails during them.
    """
    monkeypatch.setattr(records.os, "fsync", lambda _: None)

    def go(path: Path, seed: int = 3, learner: type[Learner] = Learner) -> Transcript:
        seconds = iter(range(10**6))
        transcript = Transcript(path, clock=lambda: float(next(seconds)))
        if not transcript.state.asked and not path.exists():
            transcript.begin(draw.draw(bank, seed), bank.digest())
        screen = Quiet(Console(file=io.StringIO(), width=80))
        Interview(bank, transcript, screen, learner(bank, transcript)).run()
        return transcript

    return go
