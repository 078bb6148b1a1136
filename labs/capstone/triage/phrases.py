r"""Sentences by which people claim an issue, give it up, name its fix, or say that they failed.

English as it is written in issue threads, searched sentence by sentence, outside quotations and
code: what somebody quotes he has not said. A phrase that is not here is not seen, which is why a
thread is read by a person before anything is promised in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_I = r"(?:i|we)(?:['’]?(?:d|ll|m|ve)|\s+(?:am|are|would|will|can|could|have))?"
_THIS = r"(?:this|it|the (?:issue|fix|regression|bug|problem)|on a fix|a fix|a pr|a pull request)"

#: Somebody says that he is at work, or will be.
CLAIM = re.compile(
    rf"\b{_I}\s+(?:\w+\s+)?(?:be\s+)?(?:like|love|happy|glad|want|interested|plan|going)?\s*"
    rf"(?:to|in)?\s*(?:work(?:ing)?\s+on|tak(?:e|ing)(?:\s+(?:up|on|over|a\s+stab\s+at))?|"
    rf"pick(?:ing)?\s+up|investigat(?:e|ing)|look(?:ing)?\s+into|fix(?:ing)?|submit|send|open|"
    rf"prepar(?:e|ing)|implement(?:ing)?)\s+{_THIS}\b"
    rf"|@[\w-]+\s+(?:is\s+)?working on (?:this|it)"
    rf"|\bwill (?:link|open|send|submit|raise|push) (?:a|the) (?:pr|pull request|fix)\b"
    rf"|\b(?:prs?|pull requests?)\b,? which {_I} send\b"
    rf"|\bassign(?:ed)? (?:this|it)?\s*to me\b|\bplease assign me\b"
    rf"|\bworking on (?:a fix|this|it)\b",
    re.IGNORECASE,
)

#: Somebody gives it back.
WITHDRAWN = re.compile(
    rf"\b{_I}\s+(?:(?:can(?:no|['’])t|don['’]t|won['’]t|not)\s+(?:\w+\s+){{0,2}}?"
    r"(?:time|work on|working on|continue|continuing|finish|take (?:this|it))"
    r"|no longer|stopped working|unassign\w*|dropping|giv(?:e|ing) (?:this|it) up"
    r"|step(?:ping)? (?:down|back|away))"
    r"|\bfeel free to (?:take|pick)|\bup for grabs|\bunassign(?:ing)? my ?self"
    r"|\bno time (?:for this|to)|\banyone (?:else )?(?:can|may|is welcome to) take",
    re.IGNORECASE,
)

_PULL = r"(?:#\d+|https://github\.com/vllm-project/vllm/pull/\d+)"

#: Somebody names the pull request that fixes it.
FIX_NAMED = re.compile(
    rf"\b(?:fixed|resolved|addressed|solved|superseded|done|covered)\s+(?:\w+\s+){{0,3}}?"
    rf"(?:by|in|with|via)\s+(?:\w+\s+)?{_PULL}"
    rf"|\b(?:open|opened|created|submitted|raised|sent|filed|made|pushed)\s+(?:\w+\s+){{0,4}}?{_PULL}"
    rf"|\b(?:pr|pull request),?\s*(?:is|here|:)?\s*{_PULL}[^.\n]{{0,40}}"
    r"\b(?:fix|address|resolve)\w*"
    rf"|{_PULL}[^.\n]{{0,30}}\b(?:fixes|addresses|resolves|should fix)\b",
    re.IGNORECASE,
)

#: Somebody tried and did not see it.
NOT_SEEN = re.compile(
    r"\b(?:can(?:no|['’])t|couldn['’]t|could not|unable to|not able to|failed to)\s+"
    r"(?:be\s+)?(?:reproduc\w+|replicat\w+)|\bworks (?:fine )?for me\b",
    re.IGNORECASE,
)

#: The reporter himself says that it does not come when called.
ELUSIVE = re.compile(
    r"\b(?:hard|difficult|impossible) to (?:reproduce|replicate)|\bseen (?:only )?once\b"
    r"|\bafter (?:several|many|some|a few|\d+) (?:hours|days)\b|\bsporadic|\bintermittent",
    re.IGNORECASE,
)

_QUOTED = re.compile(r"^>.*$|^```.*?^```", re.MULTILINE | re.DOTALL)
_NEGATED = re.compile(r"\b(?:if|is anyone|is anybody|is somebody|are you|can someone)\b", re.I)


@dataclass(frozen=True)
class Said:
    r"""A phrase in a text: its first and last character."""

    start: int
    end: int


def own_words(text: str) -> str:
    r"""The text with quotations and code blanked, so that positions stay."""
    return _QUOTED.sub(lambda part: re.sub(r"[^\n]", " ", part[0]), text)


def find(pattern: re.Pattern[str], text: str) -> Iterator[Said]:
    r"""The places in a text where somebody says one of these."""
    for found in pattern.finditer(own_words(text)):
        yield Said(found.start(), found.end())


def claims(text: str) -> Iterator[Said]:
    r"""Claims, without questions about other people's."""
    words = own_words(text)
    for said in find(CLAIM, text):
        before = words[max(0, said.start - 25) : said.start + 3]
        if not _NEGATED.search(before.rsplit(".", 1)[-1]):
            yield said
