r"""`capstone plan`: draft and check the plan, the comment and the description of a change."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from capstone.errors import CapstoneError
from capstone.plan.blast import radius_of
from capstone.plan.branch import Branch, check_branch
from capstone.plan.checking import check_plan
from capstone.plan.comment import check_comment, draft_comment
from capstone.plan.description import ai_helped, check_description, draft_description
from capstone.plan.frame import read_issue, whole_targets, write_frame
from capstone.plan.markdown import Document, count_words
from capstone.plan.one_pager import Plan
from capstone.plan.rules import Complaint, say
from capstone.plan.upstream import Upstream
from capstone.records import read_json, write_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The command line of `plan`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="a frame, filled in with what can be known")
    new.add_argument("file", type=Path, nargs="?", help="write it here; nothing is overwritten")
    new.add_argument("--issue", type=Path, help="what `gh issue view N --json number,title` prints")
    new.add_argument(
        "--from",
        dest="targets",
        nargs="+",
        default=[],
        metavar="TARGET",
        help="the places it is about",
    )
    check = actions.add_parser("check", help="every rule of the one-pager")
    check.add_argument("file", type=Path)
    comment = actions.add_parser("comment", help="draft the design comment, or check it")
    comment.add_argument("file", type=Path, help="checked if it is there, drafted if it is not")
    comment.add_argument("--plan", type=Path, help="the plan that it is drafted from, or held to")
    pr = actions.add_parser("pr", help="draft the description of a pull request, or check it")
    pr.add_argument("file", type=Path, help="checked if it is there, drafted if it is not")
    pr.add_argument("--plan", type=Path, help="the plan that it is drafted from, or held to")
    pr.add_argument("--branch", help="check the commits of this branch as well")
    pr.add_argument("--base", default="main", help="what the branch left (main)")
    pr.add_argument("--repository", type=Path, default=Path(), help="where the branch is (.)")
    blast = actions.add_parser("blast", help="who could notice that a place changed")
    blast.add_argument("targets", nargs="+", metavar="TARGET")


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Do one action; 1 when there is something to complain of."""
    upstream = Upstream.open()
    if options.action == "new":
        return _new(options, upstream, console)
    if options.action == "check":
        document = Document.read(options.file)
        return report(check_plan(document, upstream), document, upstream, console)
    if options.action in ("comment", "pr"):
        return _later(options, upstream, console)
    return _blast(options.targets, upstream, console)


def report(
    complaints: Sequence[Complaint], document: Document, upstream: Upstream, console: Console
) -> int:
    r"""Print every complaint, or that there is none; the exit status."""
    for complaint in complaints:
        for line in say(complaint, document.name, upstream.resolver):
            console.print(line)
    if complaints:
        many = "1 complaint" if len(complaints) == 1 else f"{len(complaints)} complaints"
        console.print(f"{document.name}: {many}")
        return 1
    console.print(f"{document.name}: nothing to complain of ({document.words} words)")
    return 0


def write_new(path: Path, text: str) -> None:
    r"""Write a draft where nothing stands yet; what somebody wrote is not replaced."""
    if path.exists():
        raise CapstoneError(f"{path}: is there already; choose another name, or check it")
    write_document(path, text)


def _new(options: argparse.Namespace, upstream: Upstream, console: Console) -> int:
    if options.file is not None and options.file.exists():
        raise CapstoneError(f"{options.file}: is there already; `capstone plan check` reads it")
    issue = read_issue(read_json(options.issue), str(options.issue)) if options.issue else None
    text = write_frame(upstream, whole_targets(options.targets, upstream), issue)
    if options.file is None:
        console.print(text, end="")
        return 0
    write_new(options.file, text)
    console.print(f"{options.file}: a frame of {text.count('TODO(you)')} places to fill in")
    return 0


def _later(options: argparse.Namespace, upstream: Upstream, console: Console) -> int:
    plan = Plan(Document.read(options.plan)) if options.plan else None
    is_comment = options.action == "comment"
    if not options.file.exists():
        if plan is None:
            raise CapstoneError(f"{options.file}: no such file; `--plan PLAN.md` drafts one")
        text = draft_comment(plan) if is_comment else draft_description(plan)
        write_new(options.file, text)
        console.print(f"{options.file}: a draft of {count_words(text)} words, from {options.plan}")
        return 0
    document = Document.read(options.file)
    if is_comment:
        return report(check_comment(document, upstream, plan), document, upstream, console)
    complaints = check_description(document, upstream, plan)
    if options.branch:
        branch = Branch.read(options.repository, options.branch, options.base)
        complaints += check_branch(branch, plan, ai_helped=ai_helped(document))
    return report(complaints, document, upstream, console)


def _blast(targets: Sequence[str], upstream: Upstream, console: Console) -> int:
    for target in whole_targets(targets, upstream):
        radius = radius_of(target, upstream)
        console.print(f"{target}")
        for path, symbol in radius.aliases:
            console.print(f"  overrides {path}#{symbol}; calls of that one count as calls of this")
        console.print(f"  called at {len(radius.callers)} places:")
        for (path, symbol), line in sorted(radius.callers)[:12]:
            console.print(f"    {path}:{line} in {symbol or 'the module'}")
        for name, evidence in radius.evidence.items():
            console.print(
                f"  {name}:" if evidence else f"  {name}: no evidence; ask, it is no proof"
            )
            for one in evidence:
                console.print(f"    {one.anchor} {one.text}")
        console.print("  not seen:")
        for text in radius.unseen:
            console.print(f"    {text}")
    return 0
