r"""Do the lines that a plan rests on exist, and are its invariants statements about state?

An invariant is either one of the engine's, by its id, or stated anew. Stated anew it has to be a
predicate: something with `<=`, `is`, `every` or `never` in it, about state that has a name in the
pinned tree. "Scheduling stays correct" is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from upstream_anchors.errors import AnchorError, nearest_names

from capstone.plan.markdown import PLACEHOLDER, code_spans, count_words, without_code
from capstone.plan.one_pager import Plan
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

_PREDICATE = re.compile(
    r"<=|>=|==|!=|<|>|≤|≥|≠|\b(is|are|equals?|never|always|exactly|at (most|least)|no more than|"
    r"no less than|if and only if|iff|every|each|exceeds?|contains?|holds?|in|only|none|no|"
    r"stays?|remains?|returns?)\b"
)


def check_lines(plan: Plan, upstream: Upstream) -> Iterator[Complaint]:
    r"""Each load-bearing line is an anchor that resolves to lines, once, with its reason."""
    section = plan.section("Load-bearing lines")
    items = section.items()
    if section.text.strip() and not items:
        text = 'no list item such as - `path#Symbol@"fragment"`: why it matters'
        yield Complaint(section.line, "anchor", text)
    seen: dict[str, int] = {}
    for item in items:
        if PLACEHOLDER in item.text:
            continue
        spans = code_spans(item.text)
        target = spans[0] if spans and item.text.startswith("`") else ""
        if not target:
            text = f"{item.text[:50]!r} begins with no anchor in backticks"
            yield Complaint(item.line, "anchor", text)
            continue
        if target in seen:
            text = f"`{target}` stands at line {seen[target]} already"
            yield Complaint(item.line, "anchor-twice", text)
        seen.setdefault(target, item.line)
        yield from _leads_to_lines(target, item.line, upstream)
        if count_words(item.text.split("`", 2)[2]) < 4:
            text = f"`{target}`: what rests on it is not said"
            yield Complaint(item.line, "anchor-why", text)


def _leads_to_lines(target: str, line: int, upstream: Upstream) -> Iterator[Complaint]:
    if re.search(r":\d+", target):
        return  # a line number: every span is asked for those
    try:
        place = upstream.find(target)
    except AnchorError as error:
        yield Complaint(line, "anchor", error.reason, error.nearest)
        return
    if place.start is None:
        text = f"`{target}` is a whole {place.kind}; name a symbol of it, or one line"
        yield Complaint(line, "anchor-wide", text)


def check_invariants(plan: Plan, upstream: Upstream) -> Iterator[Complaint]:
    r"""Each invariant is the engine's by id, or a predicate that names state; with its reason."""
    section = plan.section("Invariants")
    items = section.items()
    if section.text.strip() and not items:
        yield Complaint(section.line, "invariant", "no list item `id`: how, or new: predicate; how")
    for item in items:
        if PLACEHOLDER in item.text:
            continue
        if item.text.lower().startswith("new:"):
            yield from _stated_anew(item.text[4:].strip(), item.line, upstream)
        elif item.text.startswith("`"):
            yield from _registered(item.text, item.line, upstream)
        else:
            text = f"{item.text[:50]!r} begins neither with an id in backticks nor with `new:`"
            yield Complaint(item.line, "invariant", text)


def _registered(text: str, line: int, upstream: Upstream) -> Iterator[Complaint]:
    name = code_spans(text)[0] if code_spans(text) else ""
    if name not in upstream.invariants:
        near = tuple(nearest_names(name, upstream.invariants, 3))
        message = f"`{name}` is no invariant of the engine; state it with `new:` if it is yours"
        yield Complaint(line, "invariant-unknown", message, near)
    if count_words(text.split("`", 2)[2]) < 4:
        yield Complaint(line, "invariant-how", f"`{name}`: how the change keeps it is not said")


def _stated_anew(text: str, line: int, upstream: Upstream) -> Iterator[Complaint]:
    statement, _, how = text.partition(";")
    if not _PREDICATE.search(statement):
        message = f"{statement[:50]!r} compares or quantifies nothing; a predicate can be false"
        yield Complaint(line, "invariant-predicate", message)
    states = [span for span in code_spans(statement) if upstream.speaks_of_the_tree(span)]
    if not any("#" in span for span in states):
        message = "names no state of the tree, such as `path#Class.attribute`"
        yield Complaint(line, "invariant-state", message)
    if count_words(without_code(how)) < 4:
        message = "after a `;` stands how the change keeps it; it is not said"
        yield Complaint(line, "invariant-how", message)


def check_spans(plan: Plan, upstream: Upstream) -> Iterator[Complaint]:
    r"""Whatever is in backticks and speaks of the tree leads somewhere, in every section."""
    sections = [plan.document.top, *plan.document.sections]
    for section in sections:
        first_of_item = set()
        if section.title == "Load-bearing lines":
            first_of_item = {
                code_spans(item.text)[0] for item in section.items() if item.text.startswith("`")
            }
        for line in section.lines:
            if line.is_code:
                continue
            for span in code_spans(line.text):
                if span in first_of_item and not re.search(r":\d+", span):
                    continue  # checked as a load-bearing line
                if section.title == "Regression test" and span.startswith("tests/"):
                    continue  # checked as the place of the test
                complaint = upstream.stale(span, line.number)
                if complaint is not None:
                    yield complaint
