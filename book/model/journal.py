r"""What a run wrote down, and how to read it without torch.

A run's journal is one JSON object a line: step, tokens seen, loss, seconds. It is appended to, so a
run that is cut keeps what it has; when it resumes from a snapshot, the lines that the snapshot does
not know are dropped, and the file reads as if nothing had happened.
"""

from __future__ import annotations

import json
from pathlib import Path

from book.model.corpus import HERE

FOLDER = HERE / "training"
FIGURES = FOLDER / "figures.json"
BUCKET = 128  # positions that share one figure of `loss_by_position`


def path_of(name: str) -> Path:
    r"""The journal of the recipe called `name`."""
    return FOLDER / f"{name}.jsonl"


def read(name: str) -> list[dict]:
    r"""The records of the recipe's run, oldest first."""
    return [json.loads(line) for line in path_of(name).read_text(encoding="utf-8").splitlines()]


def read_figures() -> dict:
    r"""What `evaluate` measured."""
    return json.loads(FIGURES.read_text(encoding="utf-8"))


class Journal:
    r"""The log of a run that has taken `step` steps so far."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if step and path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, **record: object) -> None:
        r"""Append one record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
