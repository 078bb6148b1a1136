r"""Which labs run on this machine, what is skipped, and why?

The tags say what a lab can make use of. `CPU-OK` runs anywhere; where torch is installed its tests
run a second time on the real model. `GPU-OPT` runs anywhere on the capture of a real run that it
ships, and makes a run of its own on a GPU. `GPU-REQ` is for a GPU: where only some of its tests are
marked so, the tasks are graded on a stand-in, and otherwise it has nothing to grade without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labkit import machine
from labkit.catalogue import Catalogue, Lab

BASE = ("numpy", "pytest", "hypothesis", "rich")


@dataclass(frozen=True)
class Finding:
    r"""One line of the doctor's table: `well` is false where something is lacking."""

    subject: str
    well: bool
    text: str


def examine(root: Path) -> list[Finding]:
    r"""What this machine has: Python, packages, the book's model, a GPU."""
    python = machine.python()
    absent = machine.missing(BASE)
    checkpoint = root / "book" / "model" / "checkpoint" / "config.json"
    engine, gpu = machine.why_no_engine(), machine.why_no_gpu()
    return [
        Finding("Python", "supported" not in python, python),
        Finding(
            "base packages", not absent, f"missing: {', '.join(absent)}" if absent else "there"
        ),
        Finding("engine", engine is None, engine or "torch and transformers are there"),
        Finding(
            "the book's model",
            checkpoint.exists(),
            "there" if checkpoint.exists() else "not in this checkout: tests use a random one",
        ),
        Finding("GPU", gpu is None, gpu or "torch sees a CUDA device"),
    ]


def prospects(catalogue: Catalogue) -> list[tuple[Lab, bool, str]]:
    r"""For each lab whether it can be graded here, and in words what runs and what does not."""
    return [(lab, *_prospect(lab)) for lab in catalogue.labs]


def _prospect(lab: Lab) -> tuple[bool, str]:
    if lab.tag != "CPU-OK" and (reason := machine.why_no_gpu()):
        if lab.tag == "GPU-REQ":
            if not lab.is_process and "mark.gpu" in _tests(lab):
                return True, f"its tasks run without a GPU; what it is for skips: {reason}"
            return False, f"skips: {reason}"
        return True, f"runs on its capture; its own GPU run skips: {reason}"
    if lab.is_process:
        judges = ", ".join(dict.fromkeys(step.judge for step in lab.steps))
        return True, f"a process lab, graded by {judges}"
    if "mark.model" in _tests(lab) and (reason := machine.why_no_engine()):
        return True, f"runs without a model; its tests on the real one skip: {reason}"
    return True, "all of it runs"


def _tests(lab: Lab) -> str:
    return (lab.folder / "test_lab.py").read_text(encoding="utf-8")
