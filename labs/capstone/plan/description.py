r"""Can somebody review this without switching context?

The description of a pull request has the three headings of upstream's template, and two that its
rules for agents and people ask for: why it is no duplicate, and whether a machine helped. What was
run is shown with the command that ran it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from capstone.plan.checking import check_placeholders, check_shape
from capstone.plan.markdown import PLACEHOLDER, Document, Section, count_words
from capstone.plan.one_pager import Plan, claimed
from capstone.plan.regression import COMMAND
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

SECTIONS = ("Purpose", "Test Plan", "Test Result", "Not a duplicate", "AI assistance")

_FEWEST_PURPOSE, _FEWEST_DUPLICATE = 30, 12

_LINK = re.compile(
    r"\b(fix(es|ed)?|close[sd]?|resolve[sd]?|part of|related to|for)\b:?\s+(\S*/issues/|\S*#)(\d+)",
    re.IGNORECASE,
)
_BOX = re.compile(r"\[([ xX])\]\s*(.*)")
_RESULT = re.compile(r"\b\d+ (passed|failed|skipped|xfailed)\b")
_SAYS_AI = re.compile(r"\b(yes|no|none|not used)\b", re.IGNORECASE)
_REVIEWED = re.compile(r"\breview\w*\b.{0,60}\b(every|each|all)\b.{0,30}\bline", re.I | re.S)
_SYSTEM_PYTHON = re.compile(r"(?:^|\s|&&)(python3?|pip3?)\s+\S", re.MULTILINE)


def ai_helped(document: Document) -> bool:
    r"""Whether the description says that a machine helped."""
    item = _answer(document)
    found = _SAYS_AI.search(item) if item else None
    return bool(found and found[1].lower() == "yes")


def _answer(document: Document) -> str:
    section = document.by_title.get("AI assistance")
    fields = section.fields() if section is not None else {}
    return fields["Used"].text if "Used" in fields else ""


def check_description(
    document: Document, upstream: Upstream, plan: Plan | None = None
) -> list[Complaint]:
    r"""Every complaint about a description, and with a plan, where the two differ."""
    found = [
        *check_shape(document, SECTIONS),
        *check_placeholders(document),
        *_title(document, upstream),
        *_boilerplate(document),
    ]
    checks = (_purpose, _test_plan, _test_result, _duplicate, _ai)
    for title, check in zip(SECTIONS, checks, strict=True):
        section = document.by_title.get(title)
        if section is not None and section.text.strip() and PLACEHOLDER not in section.text:
            found += check(section, document)
    if plan is not None:
        found += _against(document, plan)
    return sorted(dict.fromkeys(found), key=lambda complaint: complaint.line)


def _title(document: Document, upstream: Upstream) -> Iterator[Complaint]:
    problem = upstream.prefix_problem(document.title)
    if problem:
        yield Complaint(document.title_line, "prefix", problem)
    elif count_words(re.sub(r"\[[^\]]*\]", "", document.title)) < 3:
        yield Complaint(document.title_line, "title", "the title does not say what changes")


def _boilerplate(document: Document) -> Iterator[Complaint]:
    for line in document.lines:
        for left in ("PLEASE FILL IN THE PR DESCRIPTION", "**BEFORE SUBMITTING, PLEASE READ"):
            if left in line.text:
                yield Complaint(line.number, "pr-boilerplate", "the template's own text is left")


def _purpose(section: Section, _: Document) -> Iterator[Complaint]:
    if not _LINK.search(section.prose):
        text = "no issue is linked, as in `Fixes #N` or `Part of #N`"
        yield Complaint(section.line, "pr-issue", text)
    if section.words < _FEWEST_PURPOSE:
        text = f"{section.words} words; what was wrong and what is done takes {_FEWEST_PURPOSE}"
        yield Complaint(section.line, "pr-summary", text)


def _test_plan(section: Section, _: Document) -> Iterator[Complaint]:
    if not COMMAND.search(section.text):
        text = "no command that a reviewer can paste"
        yield Complaint(section.line, "pr-test-command", text)
    boxes = [(item.line, box) for item in section.items() if (box := _BOX.match(item.text))]
    if not boxes:
        yield Complaint(section.line, "pr-unticked", "no list of `- [x] …` says what was done")
    for line, box in boxes:
        if box[1] == " ":
            yield Complaint(line, "pr-unticked", f"not ticked: {box[2][:60]}")


def _test_result(section: Section, document: Document) -> Iterator[Complaint]:
    if not _RESULT.search(section.text):
        text = "no result of the test commands, such as `12 passed`"
        yield Complaint(section.line, "pr-result", text)
    if not any(COMMAND.search(block.text) for block in section.blocks()):
        text = (
            "no fenced block with the command that reproduces the table (a line with python, "
            "pytest, vllm or another that a reviewer has)"
        )
        yield Complaint(section.line, "pr-reproducer", text)
    tables = [table for table in section.tables() if _columns(table[0][1])] if section else []
    if not tables:
        yield Complaint(section.line, "pr-table", "no table with the columns Before and After")
        return
    purpose = document.by_title.get("Purpose")
    claim = claimed(f"{document.title}\n{purpose.prose if purpose else ''}")
    header, *rows = tables[0]
    before, after = _columns(header[1]) or (0, 0)
    if not rows:
        yield Complaint(header[0], "pr-table", "the table has no row")
    for line, cells in rows:
        pair = [cells[place] if place < len(cells) else "" for place in (before, after)]
        if not all(pair):
            yield Complaint(line, "pr-table", "a cell of Before or After is empty")
        elif claim and not all(re.search(r"\d", cell) for cell in pair):
            text = f"{claim!r} is claimed, and Before or After has no number"
            yield Complaint(line, "pr-table", text)
    if rows and all(_same(cells, before, after) for _, cells in rows):
        yield Complaint(header[0], "pr-table", "Before and After are the same in every row")


def _columns(cells: list[str]) -> tuple[int, int] | None:
    low = [re.sub(r"\W*\(.*\)|[*_`]", "", cell).strip().lower() for cell in cells]
    return (low.index("before"), low.index("after")) if {"before", "after"} <= {*low} else None


def _same(cells: list[str], before: int, after: int) -> bool:
    return max(before, after) < len(cells) and cells[before] == cells[after]


def _duplicate(section: Section, document: Document) -> Iterator[Complaint]:
    if count_words(re.sub(r"`[^`]*`", "", section.prose)) < _FEWEST_DUPLICATE:
        text = "the searches are not enough; say why this is no duplicate of what they found"
        yield Complaint(section.line, "pr-duplicate", text)
    searches = re.findall(r'gh pr list\b[^`\n]*--search\s+"([^"]+)"', section.text)
    needed = (
        (
            bool(re.search(r"gh issue view \d+[^`\n]*--comments", section.text)),
            "`gh issue view N --comments`: the thread itself",
        ),
        (
            any(re.fullmatch(r"#?\d+ in:body", one) for one in searches),
            '`gh pr list --search "N in:body"`: open pull requests that name the issue',
        ),
        (
            any("in:body" not in one for one in searches),
            '`gh pr list --search "keywords"`: open pull requests about the area',
        ),
    )
    for is_there, what in needed:
        if not is_there:
            yield Complaint(section.line, "pr-duplicate-check", f"not shown: {what}")


def _ai(section: Section, document: Document) -> Iterator[Complaint]:
    item = _answer(document)
    found = _SAYS_AI.search(item)
    if not found:
        yield Complaint(section.line, "pr-ai", "no line `Used: yes, …` or `Used: no`")
        return
    if found[1].lower() != "yes":
        return
    if count_words(item) < 4:
        text = "`Used: yes` and nothing more; which tool, and for what"
        yield Complaint(section.line, "pr-ai", text)
    if not _REVIEWED.search(section.prose):
        text = "it is not said that the submitter reviewed every changed line"
        yield Complaint(section.line, "pr-ai-review", text)
    for part in document.sections:
        for block in part.blocks():
            command = _SYSTEM_PYTHON.search(block.text)
            if command:
                text = f"`{command[0].strip()}…`: with AI assistance, `.venv/bin/python` or `uv`"
                yield Complaint(block.line, "pr-ai-command", text)


def _against(document: Document, plan: Plan) -> Iterator[Complaint]:
    purpose, tests = document.by_title.get("Purpose"), document.by_title.get("Test Plan")
    if purpose is not None and plan.issue:
        numbers = {found[4] for found in _LINK.finditer(purpose.prose)}
        if numbers and plan.issue not in numbers:
            text = f"links {', '.join(sorted(numbers))}; the plan is for #{plan.issue}"
            yield Complaint(purpose.line, "plan-differs", text)
    if tests is not None and plan.place and plan.place not in tests.text:
        text = f"the plan's test is {plan.place}, which is not run here"
        yield Complaint(tests.line, "plan-differs", text)
    if plan.prefix and not document.title.replace(" ", "").startswith(plan.prefix.replace(" ", "")):
        text = f"the title begins otherwise than with {plan.prefix}, the plan's prefix"
        yield Complaint(document.title_line, "plan-differs", text)


def draft_description(plan: Plan) -> str:
    r"""A description from a plan; what was run and found is left to whoever ran it."""
    number = plan.issue or PLACEHOLDER
    command = plan.field("Regression test", "Command").text.strip("`") or PLACEHOLDER
    problem = plan.section("Problem").text.strip() or PLACEHOLDER
    change = plan.section("Change").text.strip() or PLACEHOLDER
    return f"""# {plan.prefix or PLACEHOLDER} {plan.name or PLACEHOLDER}

## Purpose

Fixes #{number}.

{problem}

{change}

## Test Plan

- [ ] {PLACEHOLDER} tick what you ran

```bash
{command}
```

## Test Result

{PLACEHOLDER}: what the command printed, as in `12 passed`

| What | Before | After |
|---|---|---|
| {PLACEHOLDER} | {PLACEHOLDER} | {PLACEHOLDER} |

```bash
{PLACEHOLDER}: the command that reproduces the table
```

## Not a duplicate

- `gh issue view {number} --repo vllm-project/vllm --comments`: {PLACEHOLDER}
- `gh pr list --repo vllm-project/vllm --state open --search "{number} in:body"`: {PLACEHOLDER}
- `gh pr list --repo vllm-project/vllm --state open --search "{PLACEHOLDER}"`: {PLACEHOLDER}

{PLACEHOLDER}: why this is not the work of another pull request

## AI assistance

Used: {PLACEHOLDER} yes, which tool and for what; or no
"""
