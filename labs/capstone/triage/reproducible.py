r"""Check 2: can it be seen on the machine that you have?

A defect that you cannot see you cannot fix, only guess at. The check asks the report for a
version, for something to run, for a place in the code, and compares the machine it names with
yours. What is asked of a feature is less: that it says what is wanted.
"""

from __future__ import annotations

import re

from capstone.triage import phrases
from capstone.triage.findings import Notes, Outcome, span
from capstone.triage.hardware import demand, without
from capstone.triage.setting import Setting

_VERSION = re.compile(
    r"\bvLLM[ :v]*(?:version)?[ :v=]*\d+\.\d+|\bv?0\.\d{1,2}(?:\.\d+)?(?:rc\d+|\.dev\d+)?\b"
    r"|\b(?:on|of|latest|current) main\b|\bmain branch\b|\bvLLM main\b|\bcommit \(?[0-9a-f]{7,}"
    r"|\bmain (?:at|\()",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(
    r"\b(?:vllm (?:serve|bench|chat)|python3? |pytest |curl |import |await |\w+\()"
)
_TRACE = re.compile(r"Traceback \(most recent call last\)|^\w*(?:Error|Exception):", re.MULTILINE)
_LINKED = re.compile(r"\brepro\w*\b[^\n]{0,60}?https?://\S+", re.IGNORECASE)
_EMPTY = re.compile(r"output of .*collect_env|your output|<details>|</details>", re.IGNORECASE)
_WISH = re.compile(
    r"\b(?:add|support|allow|expose|let|implement|need|show|enable|restor|reviv|reus|want|should|"
    r"would|could|cannot|missing|instead|proposal|propose|refactor|interface)\w*",
    re.IGNORECASE,
)
_FEWEST_WORDS = 8
_UNTICKED = re.compile(r"- \[ \] Can reproduce locally", re.IGNORECASE)


def check(setting: Setting) -> Outcome:
    r"""Whether the learner could see it."""
    issue, notes = setting.issue, Notes("reproducible")
    words = _words(issue.body)
    if len(words) < _FEWEST_WORDS:
        return notes.fail(f"{len(words)} words say nothing to try", "body")
    if setting.is_feature:
        wish = _WISH.search(_prose(issue.body))
        if wish is None:
            return notes.fail("it asks for nothing", "body")
        return notes.done("a request, which says what is wanted", span("body", *wish.span()))
    if (ended := _reported(setting, notes)) is not None:
        return ended
    return _machine(setting, notes)


def _reported(setting: Setting, notes: Notes) -> Outcome | None:
    issue = setting.issue
    answered = max((c.place for c in issue.comments if c.author == issue.author), default=0)
    for comment in issue.comments:
        failed = next(phrases.find(phrases.NOT_SEEN, comment.body), None)
        if failed and comment.author != issue.author and answered < comment.place:
            who = "a maintainer" if comment.by_maintainer else "somebody"
            where = span(f"comment {comment.place}", failed.start, failed.end)
            return notes.fail(f"{who} could not see it, and the reporter has not answered", where)
    if setting.is_ci and (box := _UNTICKED.search(issue.body)):
        return notes.fail("a run of CI that was not seen elsewhere", span("body", *box.span()))
    script = _script(issue.body)
    elusive = next(phrases.find(phrases.ELUSIVE, issue.body), None)
    elusive = elusive or next(phrases.find(phrases.ELUSIVE, issue.title), None)
    if elusive and script is None:
        return notes.fail(
            "it does not come when called, and there is no script",
            span("body", elusive.start, elusive.end),
        )
    version = _VERSION.search(f"{issue.body}\n{issue.title}")
    trace = _TRACE.search(issue.body)
    mechanism = setting.mentions.mechanism
    for found, rule in ((version, "a version is named"), (trace, "there is a traceback")):
        if found:
            notes.add(rule, span("body", *found.span()))
    if script:
        notes.add("there is something to run", script)
    if mechanism:
        notes.add(f"the cause is placed in {mechanism.path}", mechanism.where)
    # A file that the pin has is as good as a version: the code in question is still there.
    dated = version or setting.mentions.files
    if mechanism is None and not (dated and (script or trace)):
        lacking = "something to run" if dated else "a version"
        return notes.fail(f"no cause is placed, and {lacking} is missing", "body")
    return None


def _machine(setting: Setting, notes: Notes) -> Outcome:
    issue, answers = setting.issue, setting.answers
    needed = demand(issue.title, issue.body)
    if needed is not None:
        free = without(issue.body)
        mechanism = setting.mentions.mechanism
        if free:
            notes.add("the report says how to do without the machine", free)
        elif mechanism:
            notes.add(f"{needed.rule} showed it, but the cause can be tested alone", needed.where)
        elif answers.gpu_gib is None:
            return notes.undecided(
                f"it was seen with {needed.rule}; yours is unknown", needed.where
            )
        elif answers.gpu_gib < needed.gib:
            return notes.fail(f"it needs {needed.rule}", needed.where)
        else:
            notes.add(f"your machine has what it needs: {needed.rule}", needed.where, "answer")
    seen = answers.yes(issue.number, "seen", "Have you seen it fail on your machine?")
    if seen is False:
        return notes.fail("you tried and did not see it", "seen", "answer")
    if seen is None:
        notes.open_questions.append("see it fail on your own machine")
        return notes.done("nothing speaks against seeing it", "body")
    return notes.done("you have seen it fail", "seen", "answer")


def _prose(body: str) -> str:
    plain = re.sub(r"^#+ .*$", lambda line: " " * len(line[0]), body, flags=re.MULTILINE)
    return re.sub(r"https?://\S+", lambda link: " " * len(link[0]), plain)


def _words(body: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", _EMPTY.sub(" ", _prose(body)))


def _script(body: str) -> str | None:
    for fence in _FENCE.finditer(body):
        inside = fence[2]
        if not _EMPTY.search(inside) and _COMMAND.search(inside) and not _TRACE.search(inside):
            return span("body", fence.start(2), fence.end(2))
    linked = _LINKED.search(body)
    return span("body", *linked.span()) if linked else None
