r"""What is demanded, and who says so?

A rule names the line of the pinned tree that makes the demand, so that a complaint can be argued
with there. A rule without such a line is the lab's own, and says that too: upstream asks nobody for
a blast radius, its reviewers do.
"""

from __future__ import annotations

from dataclasses import dataclass

from upstream_anchors.resolver import Resolver

_GUIDE = "docs/contributing/README.md"
_TEMPLATE = ".github/PULL_REQUEST_TEMPLATE.md"


@dataclass(frozen=True)
class Complaint:
    r"""What is wrong, at which line (0: with the whole), under which rule; `near` may help."""

    line: int
    rule: str
    text: str
    near: tuple[str, ...] = ()


#: Rule → the line of the pinned tree that demands it; "" where the lab itself does.
RULES: dict[str, str] = {
    # ---- the shape of a document
    "title": f"{_GUIDE}#PR Title and Classification",
    "section-missing": "",
    "section-order": "",
    "section-twice": "",
    "section-unknown": "",
    "section-empty": "",
    "placeholder": "",
    "one-page": f'{_GUIDE}#Notes for Large Changes@"Please keep the changes as concise"',
    # ---- the plan
    "issue": f'{_TEMPLATE}@"link existing issues this PR will resolve"',
    "pin": "",
    "prefix": f'{_GUIDE}#PR Title and Classification@"Only specific types of PRs will be reviewed"',
    "problem": f'{_TEMPLATE}@"The purpose of the PR"',
    "anchor": "",
    "anchor-wide": "",
    "anchor-why": "",
    "anchor-twice": "",
    "line-number": "",
    "invariant": "",
    "invariant-unknown": "",
    "invariant-state": "",
    "invariant-predicate": "",
    "invariant-how": "",
    "change": f'{_GUIDE}#Code Quality@"The code needs to be well-documented"',
    "test-place": f'{_GUIDE}#Code Quality@"Include sufficient tests"',
    "test-area": f'{_GUIDE}#What to Expect for the Reviews@"not all CI checks will be executed"',
    "test-device": f'{_GUIDE}#Testing@"not all unit tests pass when run on CPU"',
    "test-fails": f'{_TEMPLATE}@"results comparison before and after"',
    "test-command": f'{_TEMPLATE}@"such as providing test command"',
    "blast-TP": ".buildkite/test_areas/distributed.yaml",
    "blast-Quantization": ".buildkite/test_areas/quantization.yaml",
    "blast-LoRA": ".buildkite/test_areas/lora.yaml",
    "blast-Speculative decoding": ".buildkite/test_areas/spec_decode.yaml",
    "size": f'{_GUIDE}#Notes for Large Changes@"Please keep the changes as concise"',
    # Upstream's guide asks for less, never for more; what it refuses is the one-off edit.
    "size-few": 'AGENTS.md@"Do not open one-off PRs for tiny edits"',
    "size-sum": "",
    "size-rfc": f'{_GUIDE}#Notes for Large Changes@"(>500 LOC"',
    "benchmark": f'{_TEMPLATE}@"results comparison before and after"',
    "benchmark-unclaimed": f'{_TEMPLATE}@"results comparison before and after"',
    "scope": 'AGENTS.md@"Do not open one-off PRs for tiny edits"',
    "claimed": 'AGENTS.md@"explain the difference in the issue"',
    "pre-commit": f'{_GUIDE}#Code Quality@"Pass all linter checks"',
    "sign-off": f'{_GUIDE}#DCO and Signed-off-by@"Commits must include a"',
    # ---- the comment
    "comment-length": "",
    "comment-proposal": f'{_GUIDE}#Notes for Large Changes@"discussing the technical design"',
    "comment-question": "",
    "comment-size": f'{_GUIDE}#Notes for Large Changes@"(>500 LOC"',
    "comment-tests": f'{_GUIDE}#Code Quality@"Include sufficient tests"',
    "comment-benchmark": f'{_TEMPLATE}@"results comparison before and after"',
    "plan-differs": "",
    # ---- the description
    "pr-issue": f'{_TEMPLATE}@"link existing issues this PR will resolve"',
    "pr-summary": f'{_TEMPLATE}@"The purpose of the PR"',
    "pr-boilerplate": f'{_TEMPLATE}@"PLEASE FILL IN THE PR DESCRIPTION HERE"',
    "pr-test-command": f'{_TEMPLATE}@"such as providing test command"',
    "pr-unticked": f'{_TEMPLATE}@"The test plan, such as"',
    "pr-result": 'AGENTS.md@"Test commands run and results."',
    "pr-table": f'{_TEMPLATE}@"results comparison before and after"',
    "pr-reproducer": f'{_TEMPLATE}@"results comparison before and after"',
    "pr-duplicate": 'AGENTS.md@"Why this is not duplicating an existing PR."',
    "pr-duplicate-check": "AGENTS.md#Duplicate-work checks",
    "pr-ai": 'AGENTS.md@"Clear statement that AI assistance was used."',
    "pr-ai-review": 'AGENTS.md@"The submitting human must review every changed line"',
    "pr-ai-command": 'AGENTS.md@"Never use system"',
    # ---- the branch
    "branch-sign-off": f'{_GUIDE}#DCO and Signed-off-by@"Commits must include a"',
    "branch-trailer": f'{_GUIDE}#AI Assisted Contributions@"**Mark commits**"',
    "branch-scope": f'{_GUIDE}#Notes for Large Changes@"Please keep the changes as concise"',
    "branch-test": f'{_GUIDE}#Code Quality@"Include sufficient tests"',
    "branch-size": f'{_GUIDE}#Notes for Large Changes@"Please keep the changes as concise"',
    "branch-empty": 'AGENTS.md@"Do not open one-off PRs for tiny edits"',
}


def say(complaint: Complaint, name: str, resolver: Resolver) -> list[str]:
    r"""A complaint as lines: file and line, rule, what is wrong, who demands it, what is near."""
    demanded = RULES[complaint.rule]
    by = resolver.resolve(demanded).where if demanded else "the lab"
    first = f"{name}:{complaint.line}: {complaint.rule}: {complaint.text} [asked by {by}]"
    return [first, *(f"    nearest: {name}" for name in complaint.near)]
