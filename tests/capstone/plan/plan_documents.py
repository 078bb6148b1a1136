"""The good documents, and the small edits that break them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from capstone.plan.checking import check_plan
from capstone.plan.comment import check_comment
from capstone.plan.description import check_description
from capstone.plan.markdown import Document
from capstone.plan.one_pager import Plan
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.md"))
DEFECTS: list[dict[str, Any]] = tomllib.loads((HERE / "defects.toml").read_text())["defect"]


def good(name: str) -> str:
    """The text of a good document."""
    return (HERE / "good" / name).read_text(encoding="utf-8")


def check(name: str, text: str, upstream: Upstream, plan: str = "") -> list[Complaint]:
    """Check a document as its name says what it is."""
    document = Document(text, name)
    held_to = Plan(Document(good(plan))) if plan else None
    if name.startswith("plan"):
        return check_plan(document, upstream)
    if name.startswith("comment"):
        return check_comment(document, upstream, held_to)
    return check_description(document, upstream, held_to)


def section(text: str, title: str) -> str:
    """A section with its heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"no section {title}")
    return found[0]


def seeded(defect: dict[str, Any]) -> str:
    """The document with the one edit made; an edit that does not fit exactly once is an error."""
    text = good(defect["file"])
    if "drop" in defect:
        return text.replace(section(text, defect["drop"]), "")
    if "drop_body" in defect:
        whole = section(text, defect["drop_body"])
        return text.replace(whole, f"## {defect['drop_body']}\n\n{defect['put']}\n")
    if "swap" in defect:
        one, other = (section(text, title) for title in defect["swap"])
        return text.replace(one, "\0").replace(other, one).replace("\0", other)
    if text.count(defect["find"]) != 1:
        raise ValueError(f"{defect['name']}: found {text.count(defect['find'])} times")
    put = defect["put"].replace("@@@@", defect.get("repeat", "") * defect.get("times", 0))
    return text.replace(defect["find"], put)
