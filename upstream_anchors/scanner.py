r"""Which anchors does the book use, and where?

The lock must hold what the sources use, no more and no less, so something has to read them all
without building the book. Markdown is read the way MyST reads it as far as anchors go: a role in
prose counts, inside a directive's prose too, and the same characters in a code block or between
plain backticks do not. In Python, every string is read as Markdown, since docstrings are pages, and
the targets given to an `anchors=[…]` argument count as they stand. TOML and JSON files beside a
page or a lab declare theirs under a key `anchor` or `anchors`: that is how a capture is annotated.
The other strings of a TOML file are text that some directive prints, and are read as Markdown;
those of a JSON file are what a machine recorded, and are not.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upstream_anchors.pin import Pin
from upstream_anchors.spelled import lines_in_data
from upstream_anchors.target import split_title

SOURCES = (
    "*.md",
    "book/**/*.md",
    "book/**/*.py",
    "book/**/*.toml",
    "book/**/*.json",
    "labs/**/*.md",
    "labs/**/*.py",
    "labs/**/*.toml",
    "labs/**/*.json",
    "mini_vllm/**/*.py",
    "upstream_anchors/*.py",
    "upstream_anchors/[!.]*/**/*.py",  # its cache holds other releases' trees
)

# Directives whose body is shown or executed as it stands: a role in it is only text.
LITERAL_DIRECTIVES = frozenset(
    {
        *("code", "code-block", "code-cell", "sourcecode", "literalinclude", "parsed-literal"),
        *(
            "doctest",
            "math",
            "raw",
            "eval-rst",
            "mermaid",
            "graphviz",
            "digraph",
            "up-code",
            "beside",
        ),
    }
)

_DECLARED = frozenset({"anchor", "anchors"})
_FENCE = re.compile(r"^[ \t>]*(?P<mark>`{3,}|~{3,}|:{3,})[ \t]*(?P<info>[^`]*)$")
_DIRECTIVE = re.compile(r"\{(?P<name>[\w:+-]+)\}\s*(?P<argument>.*)")
_SPAN = re.compile(
    r"(?P<role>\{[\w:+-]+\})?(?<!`)(?P<ticks>`+)(?!`)(?P<text>.+?)(?<!`)(?P=ticks)(?!`)", re.DOTALL
)


@dataclass(frozen=True, order=True)
class Use:
    r"""One place of the book that names a target."""

    target: str
    file: str
    line: int


def scan_book(root: Path, pin: Pin) -> tuple[list[Use], list[str]]:
    r"""Every use of an anchor in the sources below `root`, by target, and what is unreadable.

    A file that cannot be parsed is a problem and not an end: half-written code in one folder must
    not hide the anchors of the others.
    """
    uses: set[Use] = set()
    problems: list[str] = []
    for pattern in SOURCES:
        for path in root.glob(pattern):
            if path.is_file() and "_build" not in path.parts:
                name = path.relative_to(root).as_posix()
                try:
                    uses.update(Use(target, name, line) for target, line in scan_file(path, pin))
                except (SyntaxError, ValueError) as error:
                    problems.append(f"cannot be read: {name}: {error}")
    return sorted(uses), sorted(set(problems))


def scan_file(path: Path, pin: Pin) -> Iterator[tuple[str, int]]:
    r"""The targets of one file with their line numbers, by the file's kind."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from scan_markdown(text, pin)
    elif path.suffix == ".py":
        yield from scan_python(text, pin)
    elif path.suffix == ".toml":
        data = tomllib.loads(text)
        found = set(_declared(data))
        for said in _strings(data):
            found.update(target for target, _ in scan_markdown(said, pin))
        yield from _with_lines(found, text)
    elif path.suffix == ".json":
        yield from _with_lines(set(_declared(json.loads(text))), text)


def _with_lines(targets: set[str], text: str) -> Iterator[tuple[str, int]]:
    for target in targets:
        yield from ((target, line) for line in lines_in_data(target, text))


def scan_markdown(text: str, pin: Pin) -> Iterator[tuple[str, int]]:
    r"""Targets of roles and excerpts in MyST text, with the line each begins on."""
    for first, block, is_excerpt in _prose_blocks(text):
        if is_excerpt:
            yield " ".join(block.split()), first
            continue
        for span in _SPAN.finditer(block):
            target = _target_of(span, pin)
            if target is not None:
                yield target, first + block.count("\n", 0, span.start())


def _target_of(span: re.Match[str], pin: Pin) -> str | None:
    role = (span["role"] or "").strip("{}")
    if role == "up" and not span["text"].startswith("!"):
        return split_title(span["text"])[1]
    if role.startswith("py:"):
        # {py:meth}`~vllm.x.Y.z` and {py:class}`title <vllm.x.Y>` are Sphinx's spellings.
        name = split_title(span["text"])[1].lstrip("~").removesuffix("()")
        if name.startswith(f"{pin.project}."):
            return f"py:{name}"
    return None


def _prose_blocks(text: str) -> Iterator[tuple[int, str, bool]]:
    # Paragraphs of prose with the number of their first line; literal fences are left out. Of an
    # excerpt the argument is given, marked by True.
    open_fences: list[str] = []
    literal = False
    block: list[str] = []
    first = 1
    lines = text.split("\n")
    start = _after_front_matter(lines)
    for number, line in enumerate([*lines[start:], ""], start=start + 1):
        fence = _FENCE.match(line)
        if fence and open_fences and _closes(fence, open_fences[-1]):
            open_fences.pop()
            literal = False
        elif literal:
            continue
        elif fence:
            directive = _DIRECTIVE.match(fence["info"])
            open_fences.append(fence["mark"])
            literal = directive is None or directive["name"] in LITERAL_DIRECTIVES
            if directive and directive["name"] == "up-code":
                yield number, directive["argument"], True
            elif directive and directive["name"] == "beside":
                yield number, directive["argument"].partition("::")[2], True
            elif directive and not literal:
                yield number, directive["argument"], False
        elif line.strip() and not line.startswith("%"):
            first = first if block else number
            block.append(line)
            continue
        if block:
            yield first, "\n".join(block), False
            block = []


def _closes(fence: re.Match[str], opened: str) -> bool:
    mark = fence["mark"]
    return mark[0] == opened[0] and len(mark) >= len(opened) and not fence["info"].strip()


def _after_front_matter(lines: list[str]) -> int:
    if lines and lines[0].strip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.strip() == "---":
                return number + 1
    return 0


def scan_python(text: str, pin: Pin) -> Iterator[tuple[str, int]]:
    r"""Targets in the strings of a Python file, in `anchors=` arguments and in vLLM imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for target, line in scan_markdown(_dedent(node.value), pin):
                yield target, node.lineno + line - 1
        elif isinstance(node, ast.keyword) and node.arg in _DECLARED:
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield " ".join(part.value.split()), part.lineno
        elif isinstance(node, ast.ImportFrom) and _imports_from(node, pin.project):
            for alias in node.names:
                yield f"py:{node.module}.{alias.name}", node.lineno


def _imports_from(node: ast.ImportFrom, project: str) -> bool:
    return not node.level and (node.module or "").split(".")[0] == project


def _dedent(docstring: str) -> str:
    # Like inspect.cleandoc, but it keeps every line, so that line numbers stay true.
    lines = docstring.split("\n")
    margins = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(margins, default=0)
    return "\n".join([lines[0].lstrip(), *(line[margin:] for line in lines[1:])])


def _declared(data: Any, under_key: bool = False) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _declared(value, key in _DECLARED)
    elif isinstance(data, list):
        for value in data:
            yield from _declared(value, under_key)
    elif isinstance(data, str) and under_key:
        yield " ".join(data.split())


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            if key not in _DECLARED:
                yield from _strings(value)
    elif isinstance(data, list):
        for value in data:
            yield from _strings(value)
    elif isinstance(data, str):
        yield data
