r"""Lab 01, find and scope a pull request: which of its five steps are done?

| step | done when |
|---|---|
| three candidates | the Gauntlet's journal has a verdict on three issues, and one survives |
| a plan | `.labs/capstone/first-pr/plan.md` has nothing that `capstone plan check` complains of |
| a comment | the same for `comment.md` beside it, held to the plan |
| a description | the same for `pr.md` |
| the review | `outcome.md` names the pull request, how it ended, and what was asked for |

The last one is your word; nothing is fetched. The file is yours to write:

```text
pull request: https://github.com/vllm-project/vllm/pull/12345
ended: merged

What the reviewers asked for, what I changed, and what I had got wrong in the plan.
```

`ended` is `merged` or `approved`; a review that a change survived counts, whether or not somebody
has pressed the button yet. What stands below must be at least 40 words, because what a reviewer
taught you is the part that you will want in a year.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from capstone.errors import CapstoneError
from capstone.plan.checking import check_plan
from capstone.plan.comment import check_comment
from capstone.plan.description import check_description
from capstone.plan.markdown import Document, count_words
from capstone.plan.one_pager import Plan
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream
from capstone.records import Journal, record_folder
from capstone.triage.command import CANDIDATES
from capstone.triage.findings import CHECKS, Verdict
from labkit.process import Finding, Look

FOLDER = "first-pr"
PLAN, COMMENT, DESCRIPTION, OUTCOME = "plan.md", "comment.md", "pr.md", "outcome.md"
ENDS = ("merged", "approved")
FEWEST_WORDS = 40
#: The rehearsal's report has a number that no issue has, and is no candidate.
REHEARSED = 0
_LINK = re.compile(r"^pull request: (https://github\.com/[\w.-]+/[\w.-]+/pull/\d+)\s*$", re.M)
_ENDED = re.compile(r"^ended: (.+?)\s*$", re.M)


def look(root: Path) -> Look:
    r"""All five steps, for the repository at `root`."""
    record = record_folder(root)
    triage, truths = _triage(Journal(record / "journal.jsonl"))
    folder = record / FOLDER
    papers = [
        _paper(folder, PLAN, lambda document, upstream, _: check_plan(document, upstream)),
        _paper(folder, COMMENT, check_comment),
        _paper(folder, DESCRIPTION, check_description),
    ]
    return Look((triage, *papers, _outcome(folder / OUTCOME)), truths)


def _triage(journal: Journal) -> tuple[Finding, dict[str, str]]:
    last = {
        entry["issue"]: entry
        for entry in journal.read()
        if entry.get("kind") == "triage" and entry["issue"] != REHEARSED
    }
    if not last:
        return Finding(False, f"{journal.path.name}: no issue has been judged yet"), {}
    alive = sorted(
        issue
        for issue, entry in last.items()
        if entry["check"] == CHECKS[-1] and entry["verdict"] == Verdict.PASSED
    )
    text = f"{_many(len(last), 'issue')} judged, {len(alive)} survive{'s' * (len(alive) == 1)}"
    text += f": {', '.join(f'#{issue}' for issue in alive)}" if alive else ""
    if len(last) < CANDIDATES:
        return Finding(False, f"{text}; the lab compares {CANDIDATES}"), {}
    return Finding(bool(alive), text), {"survivors": str(len(alive))}


#: What checks each paper once it is there.
_CHECKS = {
    PLAN: "capstone plan check {folder}/plan.md",
    COMMENT: "capstone plan comment {folder}/comment.md --plan {folder}/plan.md",
    DESCRIPTION: "capstone plan pr {folder}/pr.md --plan {folder}/plan.md --branch BRANCH",
}
_SHOWN = f".labs/capstone/{FOLDER}"
Checker = Callable[[Document, Upstream, Plan | None], Iterable[Complaint]]


def _paper(folder: Path, name: str, check: Checker) -> Finding:
    path, shown = folder / name, f"{_SHOWN}/{name}"
    if not path.is_file():
        return Finding(False, f"{shown} is not there yet")
    again = _CHECKS[name].format(folder=_SHOWN)
    try:
        document, upstream = Document.read(path), Upstream.open()
        plan = folder / PLAN
        held_to = Plan(Document.read(plan)) if plan.is_file() and name != PLAN else None
        complaints = list(check(document, upstream, held_to))
    except CapstoneError as error:
        return Finding(False, f"{shown}: {error}", again)
    if name != PLAN and held_to is None:
        return Finding(False, f"{shown} has no {PLAN} beside it to be held to", again)
    if complaints:
        return Finding(False, f"{shown}: {_many(len(complaints), 'complaint')}", again)
    return Finding(True, f"{shown}: nothing to complain of ({document.words} words)")


def _outcome(path: Path) -> Finding:
    name = f"{_SHOWN}/{path.name}"
    if not path.is_file():
        return Finding(False, f"{name} is not there yet")
    text = path.read_text(encoding="utf-8", errors="replace")
    link, ended = _LINK.search(text), _ENDED.search(text)
    if link is None:
        return Finding(False, f"{name}: no line `pull request: https://github.com/…/pull/N`")
    if ended is None or ended[1] not in ENDS:
        said = "nothing" if ended is None else repr(ended[1])
        return Finding(False, f"{name}: `ended:` says {said}, expected {' or '.join(ENDS)}")
    words = count_words(_ENDED.sub("", _LINK.sub("", text)))
    if words < FEWEST_WORDS:
        return Finding(
            False, f"{name}: {_many(words, 'word')} about the review, {FEWEST_WORDS} are wanted"
        )
    return Finding(True, f"{ended[1]}, by your word: {link[1]}")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
