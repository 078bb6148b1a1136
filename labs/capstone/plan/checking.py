r"""Would a maintainer approve this page?

A program can say what is missing, what leads nowhere and what is only a word. Whether the plan is a
good one it cannot say, and no complaint here pretends to. Each complaint is one line of the file,
one rule, and what would mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from capstone.plan.anchored import check_invariants, check_lines, check_spans
from capstone.plan.markdown import PLACEHOLDER, Document, count_words
from capstone.plan.one_pager import (
    FEWEST_CHANGED,
    MOST_CHANGED,
    MOST_LINES,
    MOST_WORDS,
    RFC_BEYOND,
    SECTIONS,
    Plan,
)
from capstone.plan.regression import check_benchmark, check_radius, check_test
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

FEWEST_WORDS = {"Problem": 12, "Change": 20}
BEFORE = {"Claimed": "claimed", "pre-commit": "pre-commit", "Sign-off": "sign-off"}


def check_plan(document: Document, upstream: Upstream) -> list[Complaint]:
    r"""Every complaint about a plan, in the order of its lines."""
    plan = Plan(document)
    found = [
        *check_shape(document, SECTIONS),
        *check_placeholders(document),
        *_header(plan, upstream),
        *_prose(plan),
        *check_lines(plan, upstream),
        *check_invariants(plan, upstream),
        *check_spans(plan, upstream),
        *check_test(plan, upstream),
        *check_radius(plan),
        *_size(plan),
        *check_benchmark(plan),
        *_scope(plan),
        *_before(plan),
        *_page(document),
    ]
    return sorted(dict.fromkeys(found), key=lambda complaint: complaint.line)


# ---- shared by all documents ----------------------------------------------------------------
def check_shape(document: Document, wanted: Iterable[str]) -> Iterator[Complaint]:
    r"""Every section there, once, filled, in order, and no other."""
    titles = list(wanted)
    there = [section.title for section in document.sections]
    for title in titles:
        if title not in there:
            near = difflib.get_close_matches(title, [t for t in there if t not in titles], 1)
            hint = f"; is it {near[0]!r}?" if near else ""
            yield Complaint(0, "section-missing", f"no section `## {title}`{hint}")
    last = -1
    seen: set[str] = set()
    for section in document.sections:
        if section.title not in titles:
            text = f"`## {section.title}` is none of: {', '.join(titles)}"
            yield Complaint(section.line, "section-unknown", text)
            continue
        if section.title in seen:
            yield Complaint(section.line, "section-twice", f"a second `## {section.title}`")
            continue
        seen.add(section.title)
        place = titles.index(section.title)
        if place < last:
            text = f"`## {section.title}` stands after `## {titles[last]}`; it comes before it"
            yield Complaint(section.line, "section-order", text)
        last = max(last, place)
        if not section.text.strip():
            yield Complaint(section.line, "section-empty", f"nothing under `## {section.title}`")


def check_placeholders(document: Document) -> Iterator[Complaint]:
    r"""What the frame left to be written."""
    for line in document.lines:
        if PLACEHOLDER in line.text:
            yield Complaint(line.number, "placeholder", f"{PLACEHOLDER} is still there")


# ---- of a plan ------------------------------------------------------------------------------
def _header(plan: Plan, upstream: Upstream) -> Iterator[Complaint]:
    line = plan.document.title_line
    if not plan.document.title.startswith("Plan:") or count_words(plan.name) < 3:
        yield Complaint(line, "title", "the first line is `# Plan: …` and says what will change")
    if not plan.issue:
        at = plan.header["Issue"].line if "Issue" in plan.header else line
        yield Complaint(at, "issue", "no `Issue: #N` below the title; a plan is for an issue")
    pin = plan.header.get("Pin")
    if pin is None or pin.text != str(upstream.pin):
        text = f"`Pin:` is {pin.text if pin else 'not there'!r}, the tree is {upstream.pin}"
        yield Complaint(pin.line if pin else line, "pin", text)
    prefix = plan.header.get("Prefix")
    problem = upstream.prefix_problem(plan.prefix)
    if problem:
        yield Complaint(prefix.line if prefix else line, "prefix", f"`Prefix:` {problem}")


def _prose(plan: Plan) -> Iterator[Complaint]:
    for title, fewest in FEWEST_WORDS.items():
        section = plan.section(title)
        if section.text.strip() and section.words < fewest:
            text = f"{section.words} words under `## {title}`; at least {fewest} say something"
            yield Complaint(section.line, title.lower(), text)


def _size(plan: Plan) -> Iterator[Complaint]:
    section = plan.section("Size")
    if not section.text.strip():
        return
    estimate = plan.estimate
    if estimate is None:
        text = "no `Estimate: N lines: C code, T tests`"
        yield Complaint(section.line, "size", text)
        return
    total = estimate.total
    if estimate.parts and sum(estimate.parts) != total:
        text = f"the parts add up to {sum(estimate.parts)}, not to {total} lines"
        yield Complaint(estimate.line, "size-sum", text)
    if not FEWEST_CHANGED <= total <= MOST_CHANGED and "because" not in estimate.reason:
        text = (
            f"{total} lines are outside {FEWEST_CHANGED} to {MOST_CHANGED}; say why with `because`,"
            " or change the scope"
        )
        rule = "size-few" if total < FEWEST_CHANGED else "size"
        yield Complaint(estimate.line, rule, text)
    if total > RFC_BEYOND and "RFC" not in section.text:
        text = f"{total} lines: beyond {RFC_BEYOND}, upstream expects an RFC first; link it"
        yield Complaint(estimate.line, "size-rfc", text)


def _scope(plan: Plan) -> Iterator[Complaint]:
    section = plan.section("Out of scope")
    items = section.items()
    if section.text.strip() and not items:
        yield Complaint(section.line, "scope", "no list item says what is out of scope")
    for item in items:
        if PLACEHOLDER not in item.text and count_words(item.text) < 4:
            text = f"{item.text!r} draws no line; name what a reader could expect and will not get"
            yield Complaint(item.line, "scope", text)


def _before(plan: Plan) -> Iterator[Complaint]:
    section = plan.section("Before the first commit")
    if not section.text.strip():
        return
    for name, rule in BEFORE.items():
        found = [i for i in section.items() if i.text[3:].strip().startswith(name)]
        if not found:
            yield Complaint(section.line, rule, f"no line `- [x] {name}: …`")
        elif not found[0].text.lower().startswith("[x]"):
            yield Complaint(found[0].line, rule, f"{name} is not ticked; do it, then tick it")
        elif count_words(found[0].text.partition(":")[2]) < 2:
            yield Complaint(found[0].line, rule, f"{name}: where, when or how is not said")


def _page(document: Document) -> Iterator[Complaint]:
    words, lines = document.words, len(document.full_text.rstrip("\n").split("\n"))
    if words > MOST_WORDS:
        text = f"{words} words (fenced blocks not counted); one page is at most {MOST_WORDS}"
        yield Complaint(0, "one-page", text)
    if lines > MOST_LINES:
        yield Complaint(0, "one-page", f"{lines} lines; one page is at most {MOST_LINES}")
