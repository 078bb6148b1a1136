r"""What `gh` printed, read so that nothing missing goes unnoticed.

A field that is not in the export is not an empty field: without `comments` nobody can say that an
issue is free. So every field asked for must be there, with its type, and an error names the file,
the field and the command that prints it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capstone.errors import CapstoneError

REPOSITORY = "vllm-project/vllm"

#: Field of an issue → its type in JSON.
ISSUE_FIELDS: dict[str, type] = {
    "number": int,
    "title": str,
    "state": str,
    "url": str,
    "author": dict,
    "assignees": list,
    "labels": list,
    "body": str,
    "comments": list,
    "closedByPullRequestsReferences": list,
    "createdAt": str,
    "updatedAt": str,
}

#: Field of a pull request in a list → its type in JSON.
PULL_FIELDS: dict[str, type] = {
    "number": int,
    "title": str,
    "state": str,
    "url": str,
    "author": dict,
    "body": str,
    "isDraft": bool,
    "updatedAt": str,
}

_COMMENT_FIELDS: dict[str, type] = {
    "author": dict,
    "authorAssociation": str,
    "body": str,
    "createdAt": str,
}
_NAMES = {int: "a number", str: "text", dict: "an object", list: "a list", bool: "true or false"}


def commands(number: int | str) -> list[str]:
    r"""The three commands of upstream's duplicate check, with the fields that are read here."""
    issue, pulls = ",".join(ISSUE_FIELDS), ",".join(PULL_FIELDS)
    listing = f"gh pr list --repo {REPOSITORY} --state open --limit 100"
    return [
        f"gh issue view {number} --repo {REPOSITORY} --json {issue} > {number}.json",
        f'{listing} --search "{number} in:body" --json {pulls} > {number}-prs.json',
        f'{listing} --search "<short area keywords>" --json {pulls} > {number}-area.json',
    ]


@dataclass(frozen=True)
class Comment:
    r"""One comment; `place` is its number in the thread, from 1."""

    place: int
    author: str
    association: str
    body: str
    at: datetime

    @property
    def is_bot(self) -> bool:
        r"""Whether a machine wrote it."""
        return self.author.endswith("[bot]") or self.author in {"github-actions", "mergify"}

    @property
    def by_maintainer(self) -> bool:
        r"""Whether its author has a vote."""
        return self.association in {"MEMBER", "OWNER", "COLLABORATOR"}


@dataclass(frozen=True)
class Issue:
    r"""An issue as `gh issue view --json` prints it."""

    number: int
    title: str
    state: str
    author: str
    body: str
    labels: frozenset[str]
    assignees: tuple[str, ...]
    closing: tuple[int, ...]
    comments: tuple[Comment, ...]
    created: datetime
    updated: datetime

    @property
    def url(self) -> str:
        r"""Where it can be read."""
        return f"https://github.com/{REPOSITORY}/issues/{self.number}"


@dataclass(frozen=True)
class Pull:
    r"""An open pull request of the list."""

    number: int
    title: str
    body: str
    author: str
    is_draft: bool
    updated: datetime


def read_issue(path: Path) -> Issue:
    r"""One issue from a file; {py:class}`.CapstoneError` for anything else."""
    data = _load(path, f"gh issue view N --json {','.join(ISSUE_FIELDS)}")
    if isinstance(data, list):
        raise CapstoneError(f"{path}: a list, expected one issue: export it with `gh issue view`")
    return issue_from(data, str(path))


def read_pulls(path: Path) -> list[Pull]:
    r"""The open pull requests of a list; an empty list is a list."""
    data = _load(path, f"gh pr list --state open --json {','.join(PULL_FIELDS)}")
    return pulls_from(data, str(path))


def issue_from(data: Any, where: str) -> Issue:
    r"""An issue from parsed JSON; `where` begins the errors."""
    _check(data, ISSUE_FIELDS, where)
    if "/pull/" in data["url"]:
        raise CapstoneError(f"{where}: {data['url']} is a pull request, expected an issue")
    if REPOSITORY not in data["url"]:
        raise CapstoneError(f"{where}: {data['url']} is not in {REPOSITORY}")
    comments = []
    for place, one in enumerate(data["comments"], start=1):
        inside = f"{where}: comment {place}"
        _check(one, _COMMENT_FIELDS, inside)
        comments.append(
            Comment(
                place,
                _login(one["author"], inside),
                one["authorAssociation"],
                one["body"],
                _time(one["createdAt"], f"{inside}: createdAt"),
            )
        )
    return Issue(
        number=data["number"],
        title=data["title"],
        state=data["state"].upper(),
        author=_login(data["author"], where),
        body=data["body"].replace("\r\n", "\n"),
        labels=frozenset(_text(one, "name", f"{where}: labels") for one in data["labels"]),
        assignees=tuple(_login(one, f"{where}: assignees") for one in data["assignees"]),
        closing=tuple(
            _number(one, f"{where}: closedByPullRequestsReferences")
            for one in data["closedByPullRequestsReferences"]
        ),
        comments=tuple(comments),
        created=_time(data["createdAt"], f"{where}: createdAt"),
        updated=_time(data["updatedAt"], f"{where}: updatedAt"),
    )


def pulls_from(data: Any, where: str) -> list[Pull]:
    r"""Pull requests from parsed JSON; closed ones are left out, for they fix nothing any more."""
    if not isinstance(data, list):
        raise CapstoneError(f"{where}: {_kind(data)}, expected the list that `gh pr list` prints")
    pulls = []
    for place, one in enumerate(data, start=1):
        inside = f"{where}: entry {place}"
        _check(one, PULL_FIELDS, inside)
        if one["state"].upper() != "OPEN":
            continue
        pulls.append(
            Pull(
                one["number"],
                one["title"],
                one["body"],
                _login(one["author"], inside),
                one["isDraft"],
                _time(one["updatedAt"], f"{inside}: updatedAt"),
            )
        )
    return pulls


def _load(path: Path, command: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CapstoneError(f"{path}: no such file; make it with `{command}`") from error
    except (UnicodeDecodeError, OSError) as error:
        raise CapstoneError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    start = text.lstrip()
    if not start:
        raise CapstoneError(f"{path}: empty; `gh` printed nothing, which it does after an error")
    if start.startswith("<"):
        raise CapstoneError(f"{path}: a web page, expected the JSON that `{command}` prints")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or "Unterminated" in error.msg
        what = "cut short" if cut else "not JSON"
        raise CapstoneError(
            f"{path}: {what} at line {error.lineno}, column {error.colno} ({error.msg}); "
            f"expected what `{command}` prints"
        ) from error


def _check(data: Any, fields: dict[str, type], where: str) -> None:
    if not isinstance(data, dict):
        raise CapstoneError(f"{where}: {_kind(data)}, expected an object")
    for name, expected in fields.items():
        if name not in data:
            raise CapstoneError(f"{where}: no field {name!r}; name it after --json")
        value = data[name]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise CapstoneError(f"{where}: {name} is {_kind(value)}, expected {_NAMES[expected]}")


def _kind(value: Any) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def _text(data: Any, name: str, where: str) -> str:
    _check(data, {name: str}, where)
    return str(data[name])


def _login(data: Any, where: str) -> str:
    return _text(data, "login", f"{where}: author")


def _number(data: Any, where: str) -> int:
    _check(data, {"number": int}, where)
    return int(data["number"])


def _time(text: str, where: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise CapstoneError(
            f"{where} is {text!r}, expected a time such as 2026-05-28T12:00:00Z"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
