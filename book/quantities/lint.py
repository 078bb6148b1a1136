r"""Numbers with a unit that were typed into prose: `python -m book.quantities.lint [path ...]`.

A number with a unit is a claim. It may be

- computed: printed by {qty}, and so not in the text at all;
- given: the input of a problem, in a question's or an exercise's prompt, or marked with {given};
- cited: in a paragraph that names a paper, or links to the upstream line that says so;
- shown: in code, in the output of a cell, in a capture.

Anything else is reported, with file and line. The text of an answer may repeat the givens of its
prompt. Headings of tables, options of directives and the front matter are no prose.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from book.questions import PARTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("index.md", "UPSTREAM_PIN.md", "book/**/*.md", "labs/**/*.md")
MODULES = ("mini_vllm/**/*.py",)
SKIPPED = ("/_", "book/model/checkpoint", "book/model/draft", "labs/AGENTS.md", "/mutants/")

_UNITS = (
    r"tokens?/s|tok/s|requests?/s|req/s|[KMGT]i?B/s|[KMGT]?FLOPS?/s|bytes?/token"
    r"|tokens?|blocks?|bytes?|kilobytes?|megabytes?|gigabytes?|[KMGT]i?B|kB"
    r"|ms|µs|us|ns|milliseconds?|microseconds?|seconds?|minutes?|hours?"
    r"|[MGT]?FLOPs?|operations?|parameters?|percent|GPUs?|times\s+(?:as|more|less|faster|slower)"
)
_CLAIM = re.compile(
    r"(?<![\w.,/-])(?<![−+-] )(?:~|≈|about )?\d+(?:,\d{3})*(?:\.\d+)?(?:e\d+)?"
    rf"(?:[\s\N{{NARROW NO-BREAK SPACE}}-]?(?:{_UNITS})\b|\s?%|\s?×(?!\s?\d)|x\b)"
)
_ROLE = re.compile(r"\{[\w:-]+\}(`+)(?:(?!\1).)+\1")
_CODE = re.compile(r"(`+)(?:(?!\1).)+\1")
_MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
_CITED = re.compile(r"\{(?:cite(?::\w+)?|up|footcite)\}`|\]\(https?://|\[\^")
_FENCE = re.compile(r"^\s*(?P<fence>`{3,}|:{3,}|~{3,})(?:\{(?P<name>[\w:-]+)\})?")
_PROSE_DIRECTIVES = {
    *PARTS,
    *(part for parts in PARTS.values() for part in parts),
    *("note", "tip", "hint", "warning", "important", "caution", "attention", "seealso"),
    *("admonition", "margin", "sidebar", "dropdown", "card", "grid", "grid-item", "tab-set"),
    *("tab-item", "figure", "epigraph"),
}


@dataclass(frozen=True)
class Finding:
    """One typed number."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        place = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{place}, line {self.line}: {self.text!r} is typed"


def claims(paragraph: str) -> list[str]:
    """Numbers with a unit in a paragraph, code, mathematics and roles aside."""
    return [match[0].strip() for match in _CLAIM.finditer(_plain(paragraph))]


def lint_text(text: str) -> Iterator[tuple[int, str]]:
    """Line (from 1) and text of every typed number in a Markdown page."""
    lines = text.splitlines()
    yield from _lint_block(lines, _front_matter_end(lines), len(lines), frozenset())


def _front_matter_end(lines: list[str]) -> int:
    if lines and lines[0] == "---" and "---" in lines[1:]:
        return lines.index("---", 1) + 1
    return 0


def _lint_block(
    lines: list[str], start: int, stop: int, givens: frozenset[str], *, given: bool = False
) -> Iterator[tuple[int, str]]:
    """Walk the paragraphs of a block; `given` says that its numbers are the writer's to choose."""
    paragraph: list[int] = []

    def flush() -> Iterator[tuple[int, str]]:
        text = "\n".join(lines[i] for i in paragraph)
        if paragraph and not given and not _CITED.search(text):
            for i in paragraph:
                for claim in claims(lines[i]):
                    if _normal(claim) not in givens:
                        yield i + 1, claim
        paragraph.clear()

    number = start
    while number < stop:
        line = lines[number]
        opening = _FENCE.match(line)
        if opening is None:
            if not line.strip() or line.lstrip().startswith(("#", "|", "- ", "* ", "(")):
                yield from flush()
            if line.strip() and not re.match(r"^\s*:[\w-]+:", line) and not line.startswith("("):
                paragraph.append(number)
            if line.lstrip().startswith(("#", "|")):
                yield from flush()
            number += 1
            continue
        yield from flush()
        end = _closing(lines, number, stop, opening["fence"])
        name = opening["name"]
        if name in PARTS:
            yield from _lint_entry(lines, number + 1, end)
        elif name in _PROSE_DIRECTIVES:
            yield from _lint_block(lines, number + 1, end, givens, given=given)
        number = end + 1
    yield from flush()


def _lint_entry(lines: list[str], start: int, stop: int) -> Iterator[tuple[int, str]]:
    """A question: its prompt gives numbers, its answers may repeat them and add none."""
    number = start
    parts: list[tuple[int, int]] = []
    givens: set[str] = set()
    while number < stop:
        opening = _FENCE.match(lines[number])
        if opening is None:
            givens |= {_normal(claim) for claim in _given_numbers(lines[number])}
            number += 1
            continue
        end = _closing(lines, number, stop, opening["fence"])
        if opening["name"] in {part for names in PARTS.values() for part in names}:
            parts.append((number + 1, end))
        else:
            for line in lines[number + 1 : end]:
                givens |= {_normal(claim) for claim in _given_numbers(line)}
        number = end + 1
    for first, last in parts:
        yield from _lint_block(lines, first, last, frozenset(givens))


def _given_numbers(line: str) -> list[str]:
    """Every number of a prompt: an answer may name a given with its unit spelled otherwise."""
    return re.findall(r"\d[\d,]*(?:\.\d+)?", line)


def _normal(claim: str) -> str:
    """The bare number of a claim: `2,048 tokens` and `2048` are the same given."""
    match = re.search(r"\d[\d,]*(?:\.\d+)?", claim)
    return match[0].replace(",", "") if match else claim


def _closing(lines: list[str], opening: int, stop: int, fence: str) -> int:
    for number in range(opening + 1, stop):
        stripped = lines[number].strip()
        if len(stripped) >= len(fence) and set(stripped) == {fence[0]}:
            return number
    return stop


def _plain(text: str) -> str:
    for pattern in (_ROLE, _CODE, _MATH):
        text = pattern.sub(lambda m: "\N{BULLET}" * min(len(m[0]), 3), text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"<[^>]+>", "", text)


def lint_page(path: Path) -> list[Finding]:
    """Findings of a Markdown page."""
    text = path.read_text(encoding="utf-8")
    return [Finding(path, line, claim) for line, claim in lint_text(text)]


def lint_module(path: Path) -> list[Finding]:
    """Findings in the docstrings of a Python module, which are text of the book as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or ast.get_docstring(node, clean=False) is None:
            continue
        string = node.body[0].value  # type: ignore[attr-defined]
        text = "\n".join(line.strip() for line in string.value.splitlines())
        for line, claim in lint_text(text):
            found.append(Finding(path, string.lineno + line - 1, claim))
    return found


def lint(paths: list[Path]) -> list[Finding]:
    """Findings of all pages and modules given."""
    findings: list[Finding] = []
    for path in paths:
        findings += lint_module(path) if path.suffix == ".py" else lint_page(path)
    return findings


def everything() -> list[Path]:
    """All pages and all docstrings that become pages."""
    found = {path for pattern in (*PAGES, *MODULES) for path in ROOT.glob(pattern)}
    return sorted(p for p in found if not any(s in p.relative_to(ROOT).as_posix() for s in SKIPPED))


def main(arguments: list[str]) -> int:
    """Print findings; 1 when there are any, 2 when a path does not exist."""
    paths = [Path(a).resolve() for a in arguments] or everything()
    for path in paths:
        if not path.is_file():
            print(f"{path} is no file", file=sys.stderr)
            return 2
    findings = lint(paths)
    for finding in findings:
        print(finding)
    if findings:
        print(
            f"\n{len(findings)} typed numbers. Compute them with {{qty}}, mark an input of the "
            "text with {given}, or cite where they come from in the same paragraph."
        )
        return 1
    print(f"{len(paths)} files: every number with a unit is computed, given, cited or shown")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
