r"""What no program can know, asked once.

Three sources, in this order: the answers file, the terminal, nothing. Nothing is an answer too:
the check that asked then either is not passed, when the question was whether somebody else is at
work, or names the question as open.

```toml
[machine]
gpu_gib = 0

[issue.43736]
same-fix-44431 = "no"
seen = "yes"
lines = 60

[issue.43736.minutes]
claimed = 4
```
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capstone.errors import CapstoneError
from capstone.records import read_json, read_toml, write_document
from capstone.triage.findings import CHECKS

_YES, _NO = {"yes", "y", "true"}, {"no", "n", "false"}


@dataclass
class Answers:
    r"""The learner's answers to one run; `ask` is `None` where nobody can be asked."""

    given: dict[int, dict[str, Any]] = field(default_factory=dict)
    gpu_gib: float | None = None
    ask: Callable[[str], str] | None = None

    def text(self, issue: int, key: str, question: str) -> str | None:
        r"""An answer as it was given; `None` if there is none."""
        if key in self.given.get(issue, {}):
            return str(self.given[issue][key]).strip()
        if self.ask is None:
            return None
        said = self.ask(f"#{issue}: {question} ").strip()
        if said:
            self.given.setdefault(issue, {})[key] = said
        return said or None

    def yes(self, issue: int, key: str, question: str) -> bool | None:
        r"""Yes, no, or `None` for no answer; anything else is asked again, or refused."""
        while (said := self.text(issue, key, f"{question} [yes/no]")) is not None:
            word = said.lower()
            if word in _YES:
                return True
            if word in _NO:
                return False
            self.given[issue].pop(key)
            if self.ask is None:
                raise CapstoneError(f"answers: issue.{issue}.{key} is {said!r}, expected yes or no")
        return None

    def number(self, issue: int, key: str, question: str) -> int | None:
        r"""A number of 0 or more, or `None` for no answer."""
        while (said := self.text(issue, key, question)) is not None:
            if said.isdecimal():
                return int(said)
            self.given[issue].pop(key)
            if self.ask is None:
                raise CapstoneError(f"answers: issue.{issue}.{key} is {said!r}, expected a number")
        return None

    def minutes(self, issue: int, check: str) -> float | None:
        r"""The minutes that the learner says a check took; `None` if they are not given."""
        table = self.given.get(issue, {}).get("minutes", {})
        value = table.get(check)
        return None if value is None else float(value)


def read_answers(path: Path) -> Answers:
    r"""The answers of a file; {py:class}`.CapstoneError` names what it does not understand."""
    data = read_toml(path)
    for name in data:
        if name not in {"machine", "issue"}:
            raise CapstoneError(f"{path}: [{name}] is unknown; expected [machine] or [issue.N]")
    answers = Answers()
    machine = data.get("machine", {})
    if machine:
        answers.gpu_gib = _memory(machine.get("gpu_gib"), f"{path}: machine.gpu_gib")
    for number, table in data.get("issue", {}).items():
        if not number.isdecimal() or not isinstance(table, dict):
            raise CapstoneError(f"{path}: [issue.{number}] is not an issue's number")
        for check, value in table.get("minutes", {}).items():
            if check not in CHECKS:
                known = ", ".join(CHECKS)
                raise CapstoneError(f"{path}: issue.{number}.minutes: no check {check}: {known}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise CapstoneError(f"{path}: issue.{number}.minutes.{check} is {value!r}")
        answers.given[int(number)] = table
    return answers


def machine(path: Path, answers: Answers) -> float | None:
    r"""The GPU memory of the learner's machine in GiB: kept from the first time it was said."""
    if answers.gpu_gib is None and path.exists():
        kept = read_json(path)
        if not isinstance(kept, dict):
            raise CapstoneError(f"{path}: expected an object with gpu_gib")
        answers.gpu_gib = _memory(kept.get("gpu_gib"), f"{path}: gpu_gib")
    elif answers.gpu_gib is None and answers.ask is not None:
        said = answers.ask("GPU memory of your machine in GiB, 0 for none: ")
        answers.gpu_gib = _memory(_as_number(said), "GPU memory")
        write_document(path, json.dumps({"gpu_gib": answers.gpu_gib}) + "\n")
    return answers.gpu_gib


def _as_number(said: str) -> float | str:
    try:
        return float(said)
    except ValueError:
        return said


def _memory(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise CapstoneError(f"{where} is {value!r}, expected GiB of GPU memory, 0 for none")
    return float(value)
