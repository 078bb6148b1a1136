r"""Check 5: would somebody review the change, and is it one change?

A design comes before its code; upstream asks for an RFC beyond 500 lines, tests and data aside
({up}`docs/contributing/README.md@">500 LOC excluding kernel/data/config/test"`).
Tiny edits for their own sake are not wanted
({up}`AGENTS.md#No low-value busywork PRs`), and a feature that nobody with a vote has welcomed may
wait for ever.
"""

from __future__ import annotations

import re

from capstone.triage.findings import Notes, Outcome, span
from capstone.triage.owners import owners_of
from capstone.triage.setting import Setting

MOST_LINES = 500
MOST_FILES = 8
MOST_OWNERS = 3
_BUSYWORK = re.compile(
    r"\b(?:typos?|spelling|misspell\w*|grammar|broken link|dead link|404|whitespace|formatting|"
    r"mutable default|unused import|rename (?:a )?variable|code style|docstring style)\b",
    re.IGNORECASE,
)
_REFUSED = ("wontfix", "invalid", "duplicate", "needs reproduction", "question", "usage")
_WELCOME = ("good first issue", "help wanted", "feature-accepted")


def check(setting: Setting) -> Outcome:
    r"""Whether the change is small, wanted and owned."""
    issue, notes = setting.issue, Notes("reviewable")
    if setting.is_rfc:
        return notes.fail("a design under discussion: comment there, code comes later", "labels")
    for label in _REFUSED:
        if label in issue.labels:
            return notes.fail(f"the label {label!r} stands against it", "labels")
    for text, place in ((issue.title, "title"), (issue.body, "body")):
        if (small := _BUSYWORK.search(text)) and (place == "title" or len(text) < 400):
            return notes.fail(
                "a tiny edit, which upstream asks not to send", span(place, *small.span())
            )
    if setting.is_feature and not _welcomed(setting):
        return notes.fail("a feature that nobody with a vote has welcomed", "labels and comments")
    if "stale" in issue.labels:
        notes.cost.append((1, "stale: say in the thread that you take it"))
        notes.add("stale, which a comment undoes", "labels")
    if len(setting.files) > MOST_FILES:
        return notes.fail(f"{len(setting.files)} files, more than {MOST_FILES}", "body", "tree")
    return _owned(setting, notes)


def _welcomed(setting: Setting) -> bool:
    issue = setting.issue
    return bool(issue.labels & set(_WELCOME)) or any(c.by_maintainer for c in issue.comments)


def _owned(setting: Setting, notes: Notes) -> Outcome:
    issue = setting.issue
    rules = {owners_of(setting.upstream.owners, path) for path in setting.files}
    groups = {rule.owners for rule in rules if rule is not None and rule.owners}
    if len(groups) > MOST_OWNERS:
        return notes.fail(
            f"{len(groups)} groups of owners, more than {MOST_OWNERS}", "body", "tree"
        )
    for rule in sorted((r for r in rules if r is not None), key=lambda r: r.line):
        notes.add(f"owned through {rule.pattern}", f".github/CODEOWNERS, line {rule.line}", "tree")
    if None in rules:
        notes.cost.append((2, "a file without an owner: nobody is asked for a review"))
    logins = {login.lower() for group in groups for login in group}
    if any(c.by_maintainer or c.author.lower() in logins for c in issue.comments):
        notes.add("somebody with a vote is in the thread", "comments")
    else:
        notes.cost.append((1, "nobody with a vote has spoken in the thread"))
    notes.cost.append((len(setting.files), f"{len(setting.files)} files to change"))
    question = "How many lines do you expect to change, tests aside?"
    lines = setting.answers.number(issue.number, "lines", question)
    if lines is None:
        notes.open_questions.append("estimate the lines to change")
    elif lines > MOST_LINES:
        return notes.fail(f"{lines} lines, more than {MOST_LINES}: an RFC first", "lines", "answer")
    else:
        notes.cost.append((lines // 50, f"{lines} lines to change"))
    return notes.done("one change, which somebody owns", "body", "tree")
