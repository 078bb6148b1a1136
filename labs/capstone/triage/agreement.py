r"""How often do the checks say what a person said?

`cases/` holds real issues of upstream: their facts in our own words and in the shape that `gh`
prints, the day on which they are judged, the open pull requests of that day as far as they were
seen, and what happened afterwards. `labels.toml` says which check ends each, with a reason; it was
written, and committed, before there was a check. A fixed seed halves the cases: the rules were
tuned on one half, and the other half is the measure.

Two things this measure is not. The same hand wrote paraphrases, labels and rules; and the threads
were read as a search shows them, in excerpts, so that a claim in a part that nobody read is
missing in the case too.
"""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capstone.triage.answers import Answers
from capstone.triage.exports import issue_from, pulls_from
from capstone.triage.gauntlet import Trial, run
from capstone.triage.setting import Setting, Upstream
from capstone.triage.territory import Territory

FOLDER = Path(__file__).with_name("cases")
SEED = 20260528


@dataclass(frozen=True)
class Case:
    r"""One real issue: the label, why, and the rest of its file."""

    number: int
    label: str
    why: str
    data: dict[str, Any]

    @property
    def where(self) -> str:
        r"""The name of its file."""
        return f"{self.number}.json"


@dataclass(frozen=True)
class Result:
    r"""A case and what the checks made of it."""

    case: Case
    trial: Trial

    @property
    def agrees(self) -> bool:
        r"""Whether the checks ended it where the person did."""
        return self.trial.verdict == self.case.label


def read_cases(folder: Path = FOLDER) -> list[Case]:
    r"""All cases by number."""
    labels = tomllib.loads((folder / "labels.toml").read_text(encoding="utf-8"))["labels"]
    cases = []
    for number, (label, why) in sorted(labels.items(), key=lambda item: int(item[0])):
        data = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
        cases.append(Case(int(number), label, why, data))
    return cases


def halves(cases: list[Case]) -> tuple[list[Case], list[Case]]:
    r"""The half for tuning, and the half that the rules have not been tuned on."""
    order = sorted(cases, key=lambda case: case.number)
    random.Random(SEED).shuffle(order)
    middle = len(order) // 2
    return order[:middle], order[middle:]


def profile(folder: Path = FOLDER) -> dict[str, Any]:
    r"""The machine and the map that the labels were given for."""
    data = tomllib.loads((folder / "labels.toml").read_text(encoding="utf-8"))
    return dict(data["profile"])


def judge(cases: list[Case], upstream: Upstream) -> list[Result]:
    r"""Send cases through with nobody to ask, on the machine and the map of the labels."""
    learner = profile()
    territory = Territory.of_folders(upstream.tree, learner["map"])
    results = []
    for case in cases:
        issue = issue_from(case.data["issue"], case.where)
        pulls = pulls_from(case.data["pulls"], case.where)
        answers = Answers(gpu_gib=float(learner["gpu_gib"]))
        today = datetime.fromisoformat(case.data["as_of"]).replace(hour=23, tzinfo=UTC)
        setting = Setting(issue, pulls, upstream, territory, answers, today)
        results.append(Result(case, run(setting)))
    return results
