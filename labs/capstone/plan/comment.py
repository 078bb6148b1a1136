r"""What is asked of the maintainers before a line is written?

A design comment is read between two other things: 200 to 400 words, with the proposal, its size,
how it will be tested, how it will be measured, and one question that can be answered with yes. It
is drafted from the plan, and shortened by its author.
"""

from __future__ import annotations

from collections.abc import Iterator

from capstone.plan.checking import check_placeholders, check_shape
from capstone.plan.markdown import PLACEHOLDER, Document, code_spans, count_words
from capstone.plan.one_pager import RFC_BEYOND, Plan, claimed, disclaimed
from capstone.plan.regression import benchmark_gaps
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

FEWEST, MOST = 200, 400

SECTIONS = ("Proposal", "Size", "Test plan", "Benchmark", "Question")

_FEWEST_PROPOSAL = 40


def check_comment(
    document: Document, upstream: Upstream, plan: Plan | None = None
) -> list[Complaint]:
    r"""Every complaint about a comment, and with a plan, where the two differ."""
    found = [
        *check_shape(document, SECTIONS),
        *check_placeholders(document),
        *_length(document),
        *_proposal(document, upstream),
        *_size(document),
        *_tests(document, upstream),
        *_benchmark(document),
        *_question(document),
    ]
    if plan is not None:
        found += _against(document, plan)
    return sorted(dict.fromkeys(found), key=lambda complaint: complaint.line)


def _length(document: Document) -> Iterator[Complaint]:
    if not FEWEST <= document.words <= MOST:
        text = (
            f"{document.words} words (fenced blocks not counted, headings are); a design comment "
            f"has {FEWEST} to {MOST}"
        )
        yield Complaint(0, "comment-length", text)


def _proposal(document: Document, upstream: Upstream) -> Iterator[Complaint]:
    section = document.by_title.get("Proposal")
    if section is not None and section.text.strip():
        if section.words < _FEWEST_PROPOSAL:
            text = f"{section.words} words; what, where and why takes {_FEWEST_PROPOSAL}"
            yield Complaint(section.line, "comment-proposal", text)
        spans = [span for span in code_spans(section.prose) if upstream.speaks_of_the_tree(span)]
        if not any("#" in span for span in spans):
            text = "no place in the tree, such as `path#Symbol`"
            yield Complaint(section.line, "comment-proposal", text)
    for line in document.lines:
        for span in () if line.is_code else code_spans(line.text):
            complaint = upstream.stale(span, line.number)
            if complaint is not None:
                yield complaint


def _size(document: Document) -> Iterator[Complaint]:
    section = document.by_title.get("Size")
    if section is None or not section.text.strip() or PLACEHOLDER in section.text:
        return
    estimate = Plan(document).estimate
    if estimate is None:
        yield Complaint(section.line, "comment-size", "no `Estimate: N lines` of the diff")
    elif estimate.total > RFC_BEYOND and "RFC" not in section.text:
        text = f"{estimate.total} lines: beyond {RFC_BEYOND}, upstream expects an RFC first"
        yield Complaint(estimate.line, "comment-size", text)


def _tests(document: Document, upstream: Upstream) -> Iterator[Complaint]:
    section = document.by_title.get("Test plan")
    if section is None or not section.text.strip() or PLACEHOLDER in section.text:
        return
    paths = [span.partition("#")[0] for span in code_spans(section.prose)]
    paths = [path.partition("::")[0] for path in paths]
    if not any(path.startswith("tests/") and upstream.tree.is_file(path) for path in paths):
        text = "no test file of the tree in backticks, such as `tests/v1/core/test_scheduler.py`"
        yield Complaint(section.line, "comment-tests", text)
    if section.words < 10:
        text = f"{section.words} words do not say what the test finds today, and after the change"
        yield Complaint(section.line, "comment-tests", text)


def _benchmark(document: Document) -> Iterator[Complaint]:
    section = document.by_title.get("Benchmark")
    if section is None or not section.text.strip() or PLACEHOLDER in section.text:
        return
    proposal = document.by_title.get("Proposal")
    claim = claimed(f"{document.title}\n{proposal.prose if proposal else ''}")
    if disclaimed(section.text):
        if claim:
            text = f"no claim is made here, and the proposal says {claim!r}"
            yield Complaint(section.line, "benchmark-unclaimed", text)
        return
    yield from benchmark_gaps(section.text, section.line, "comment-benchmark")


def _question(document: Document) -> Iterator[Complaint]:
    section = document.by_title.get("Question")
    if section is not None and section.text.strip() and "?" not in section.text:
        text = "asks nothing; a maintainer should be able to answer with yes or with no"
        yield Complaint(section.line, "comment-question", text)


def _against(document: Document, plan: Plan) -> Iterator[Complaint]:
    said, meant = Plan(document).estimate, plan.estimate
    if said is not None and meant is not None and said.total != meant.total:
        text = f"{said.total} lines here, {meant.total} in the plan"
        yield Complaint(said.line, "plan-differs", text)
    section = document.by_title.get("Test plan")
    if section is not None and plan.place and plan.place not in section.text:
        text = f"the plan's test is {plan.place}, which is not named here"
        yield Complaint(section.line, "plan-differs", text)
    if plan.issue and f"#{plan.issue}" not in document.title:
        text = f"the title names no #{plan.issue}, the plan's issue"
        yield Complaint(document.title_line, "plan-differs", text)


def draft_comment(plan: Plan) -> str:
    r"""A comment in the words of the plan, for its author to shorten and to make polite."""

    def said(title: str) -> str:
        return plan.section(title).text.strip() or PLACEHOLDER

    scope = " ".join(item.text for item in plan.section("Out of scope").items())
    lines = "\n".join(f"- {item.text}" for item in plan.section("Load-bearing lines").items())
    fails = plan.field("Regression test", "Fails today").text or PLACEHOLDER
    place = f"`{plan.place}`" if plan.place else PLACEHOLDER
    area = plan.field("Regression test", "CI").text or PLACEHOLDER
    body = "\n\n".join(
        (
            f"# Design comment on #{plan.issue or PLACEHOLDER}: {plan.name or PLACEHOLDER}",
            f"## Proposal\n\n{said('Problem')}\n\n{said('Change')}\n\n{lines}",
            f"Out of scope: {scope or PLACEHOLDER}",
            f"## Size\n\n{said('Size')}",
            f"## Test plan\n\nIn {place}, run by {area}. Today: {fails}",
            f"## Benchmark\n\n{said('Benchmark')}",
            "## Question\n\nDoes this direction look right to you, and may I take the issue?",
        )
    )
    words = count_words(body)
    if not FEWEST <= words <= MOST:
        body += f"\n\n{PLACEHOLDER}: {words} words, a comment has {FEWEST} to {MOST}"
    return body + "\n"
