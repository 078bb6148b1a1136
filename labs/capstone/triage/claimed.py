r"""Check 1: is it open, free, and not being fixed already?

The cheapest check and the one that ends most candidates. It is upstream's duplicate check
({up}`AGENTS.md#Duplicate-work checks`): the thread, the pull requests that name the number, and
those that are about the same thing without naming it. A pull request that may be about the same
is taken for one until somebody has read it and said no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from capstone.triage import phrases
from capstone.triage.exports import REPOSITORY, Comment, Pull
from capstone.triage.findings import Notes, Outcome, span
from capstone.triage.setting import Setting

#: A claim older than this and without a pull request has lapsed.
CLAIM_DAYS = 30
_WORD = re.compile(r"[a-z][a-z0-9]{3,}")
# Words of every second title.
_DULL = frozenset(
    {"bugfix", "feature", "core", "vllm", "with", "when", "from", "that", "this", "after"}
    | {"before", "into", "does", "have", "been", "under", "support", "fails", "error", "crash"}
    | {"crashes", "issue", "request", "requests", "using", "model"}
)


def check(setting: Setting) -> Outcome:
    r"""Whether the issue is free."""
    issue, notes = setting.issue, Notes("claimed")
    if issue.state != "OPEN":
        return notes.fail(f"the issue is {issue.state.lower()}", "state")
    notes.add("the issue is open", "state")
    if issue.assignees:
        return notes.fail("it has an assignee", "assignees")
    if issue.closing:
        return notes.fail(f"#{issue.closing[0]} closes it", "closedByPullRequestsReferences")
    notes.add("nobody is assigned, no pull request is linked", "assignees")
    if (ended := _thread(setting, notes)) is not None:
        return ended
    if setting.pulls is None:
        return notes.undecided("no list of open pull requests was given", "--prs", "answer")
    for pull in setting.pulls:
        if (ended := _pull(setting, pull, notes)) is not None:
            return ended
    count = len(setting.pulls)
    return notes.done(f"none of {count} open pull requests is about it", "--prs")


def _thread(setting: Setting, notes: Notes) -> Outcome | None:
    issue = setting.issue
    for said in phrases.claims(issue.body):
        if _is_own_work(issue.body, said.start):
            return notes.fail("its author is at work", span("body", said.start, said.end))
    withdrawn: dict[str, int] = {
        comment.author: comment.place
        for comment in issue.comments
        if next(phrases.find(phrases.WITHDRAWN, comment.body), None)
    }
    for comment in issue.comments:
        if comment.is_bot or comment.at > setting.today:
            continue  # said by nobody, or after the day on which the issue is judged
        place = f"comment {comment.place}"
        if fix := next(phrases.find(phrases.FIX_NAMED, comment.body), None):
            if not _is_part(comment):
                return notes.fail(
                    "a pull request is named as the fix", span(place, fix.start, fix.end)
                )
            notes.add("a fix is named for a part of it", span(place, fix.start, fix.end))
        for said in phrases.claims(comment.body):
            where = span(place, said.start, said.end)
            days = (setting.today - comment.at).days
            age = f"{days} day{'s' * (days != 1)} ago"
            if withdrawn.get(comment.author, 0) > comment.place:
                notes.add("a claim that was withdrawn", where)
            elif days > CLAIM_DAYS:
                notes.add(f"a claim of {age}, which has lapsed", where)
            else:
                return notes.fail(f"claimed {age}", where)
    return None


def _is_own_work(body: str, start: int) -> bool:
    # `I am willing to fix this if you agree` is an offer; offers count, wishes do not.
    return "someone" not in body[max(0, start - 40) : start].lower()


def _is_part(comment: Comment) -> bool:
    return bool(re.search(r"\b(?:facet|part|half|only)\b", comment.body, re.IGNORECASE))


def _pull(setting: Setting, pull: Pull, notes: Notes) -> Outcome | None:
    issue = setting.issue
    where = f"pull request #{pull.number}"
    if pull.number == issue.number:
        return None
    reason = next(_reasons(setting, pull), None)
    if reason is None:
        return None
    closes = _closing_word(issue.number, f"{pull.title}\n{pull.body}")
    if closes is not None:
        return notes.fail(f"#{pull.number} says that it closes the issue", where)
    question = f"#{pull.number} {reason}. Have you read it, and does it fix the same thing?"
    same = setting.answers.yes(issue.number, f"same-fix-{pull.number}", question)
    if same is None:
        return notes.undecided(f"#{pull.number} {reason}, and nobody has said no", where)
    if same:
        return notes.fail(f"#{pull.number} fixes the same thing", where, "answer")
    notes.add(f"#{pull.number} {reason}, but does not fix it", where, "answer")
    return None


def _reasons(setting: Setting, pull: Pull) -> Iterator[str]:
    issue = setting.issue
    text = f"{pull.title}\n{pull.body}"
    if _names(issue.number, text):
        yield "names the issue"
    threads = "\n".join([issue.body, *(c.body for c in issue.comments if not c.is_bot)])
    if _names(pull.number, threads):
        yield "is named in the issue"
    common = setting.upstream.finder.shared(f"{issue.title}\n{issue.body}", text)
    if len(common) >= 2:
        yield f"shares {len(common)} names of the code with it"
    left, right = _content(issue.title), _content(pull.title)
    common_words = len(left & right)
    if common_words >= 3 and 2 * common_words >= min(len(left), len(right)):
        yield "has much the same title"


def _content(title: str) -> set[str]:
    plain = re.sub(r"\[[^\]]*\]", " ", title.lower())
    return set(_WORD.findall(plain)) - _DULL


def _names(number: int, text: str) -> bool:
    # `\b` would let `vllm-ascend#41951` pass for ours.
    plain = rf"(?<![\w/-])(?:{re.escape(REPOSITORY)})?#{number}\b"
    url = rf"{re.escape(REPOSITORY)}/(?:issues|pull)/{number}\b"
    return bool(re.search(f"{plain}|{url}", text))


def _closing_word(number: int, text: str) -> re.Match[str] | None:
    url = rf"https://github\.com/{re.escape(REPOSITORY)}/issues/"
    pattern = rf"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\s*:?\s*(?:#|{url}){number}\b"
    return re.search(pattern, text, re.IGNORECASE)
