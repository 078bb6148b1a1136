r"""Step 2: is the report worth your time? The Gauntlet is asked, as for any other issue.

`report.json` is written as `gh` prints an issue, and has the number 0, which no issue has: upstream
got a repair for this defect, and never a report of it. `pulls.json` is the list of open pull
requests on the day of the rehearsal, shortly after the pin was released. It is empty by agreement.
`pulls-august.json` holds what was open two months later, and ends the rehearsal at the first check.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.workshop import Workshop, digest

FILES = ("report.json", "pulls.json", "MAP.md", "answers.toml")


def of(workshop: Workshop) -> str:
    r"""The digest of what this step looks at."""
    return digest(*(workshop.content(name) for name in FILES))


def check(workshop: Workshop, reproduced: dict[str, Any] | None) -> Verdict:
    r"""All five checks passed, nothing left open, and what is said to be seen was seen here."""
    from upstream_anchors.pin import the_pin
    from upstream_anchors.tree import need_tree

    from capstone.triage.answers import read_answers
    from capstone.triage.exports import read_issue, read_pulls
    from capstone.triage.gauntlet import run
    from capstone.triage.setting import Setting, Upstream
    from capstone.triage.territory import read_territory

    report, pulls, own_map, answers = (workshop.paper(name) for name in FILES)
    verdict = Verdict(of(workshop))
    issue = read_issue(report)
    trial = run(
        Setting(
            issue,
            read_pulls(pulls),
            Upstream(need_tree(the_pin())),
            read_territory(own_map),
            read_answers(answers),
            issue.updated + timedelta(days=1),
        )
    )
    for outcome in trial.outcomes:
        found = outcome.decided_by
        verdict.lines.append(f"{outcome.check:<13} {found.rule}  [{found.where}]")
        if not outcome.passed:
            verdict.complain(f"{outcome.check}: {found.rule} [{found.where}]: it ends here")
    for question in trial.open_questions:
        verdict.complain(f"{answers.name}: nobody has answered: {question}")
    if reproduced is None:
        verdict.complain("reproducible: nothing has been reproduced on this machine: step 1")
    verdict.evidence = {"cost": trial.cost}
    return verdict
