r"""A file's lines as HTML, each on its own, in as few bytes as its colours allow.

Pygments wraps every token, and the book's palette gives most of them no colour of their own. A file
of seven thousand lines would be three megabytes of markup that says nothing. Here the palette's six
colours are the only classes, and all other text stands bare.

A file is highlighted as a whole, so that a line in the middle of a docstring knows that it is one,
and cut into lines afterwards. The result is kept beside the doctrees, under the hash of the text:
a book page that moves a back-link must not pay for reading the code again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from html import escape
from pathlib import Path

import pygments
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String, _TokenType

from upstream_anchors.whole_files import write_whole

_LANGUAGES = {
    ".py": "python",
    ".cu": "cuda",
    ".cuh": "cuda",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".cc": "cpp",
    ".h": "cpp",
    ".c": "c",
    ".rs": "rust",
    ".md": "markdown",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".sh": "bash",
    ".txt": "text",
}

# One class for each colour that code.css has; what is missing here is the colour of plain text.
_CLASSES = {
    Keyword: "k",
    Keyword.Type: "nb",
    Operator.Word: "k",
    Name.Function: "nf",
    Name.Class: "nf",
    Name.Decorator: "nf",
    Name.Builtin: "nb",
    Name.Exception: "nb",
    String: "s",
    Number: "m",
    Comment: "c",
    Generic.Heading: "k",
    Generic.Subheading: "k",
}


def language_of(path: str) -> str:
    r"""The Pygments name of a file's language; plain text when in doubt."""
    suffix = path[path.rfind(".") :] if "." in path else ""
    return _LANGUAGES.get(suffix, "text")


def highlight_lines(text: str, language: str) -> list[str]:
    r"""The lines of a text as HTML fragments; no element crosses the end of a line."""
    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    lines: list[str] = []
    line: list[str] = []
    run, colour = "", ""

    def flush() -> None:
        nonlocal run
        if run:
            shown = escape(run, quote=False)
            line.append(f'<span class="{colour}">{shown}</span>' if colour else shown)
        run = ""

    for kind, value in lexer.get_tokens(text):
        wanted = _class_of(kind)
        for position, part in enumerate(value.split("\n")):
            if position:
                flush()
                lines.append("".join(line))
                line.clear()
            if wanted != colour and part:
                flush()
                colour = wanted
            run += part
    flush()
    lines.append("".join(line))
    return lines


def kept_lines(folder: Path, path: str, lines: tuple[str, ...]) -> list[str]:
    r"""{py:func}`.highlight_lines` of a file, from `folder` if an earlier build left it there."""
    text = "\n".join(lines)
    made_by = f"{pygments.__version__} {own_digest()} {language_of(path)}\n"
    key = hashlib.sha256((made_by + text).encode()).hexdigest()[:32]
    kept = folder / f"{key}.html"
    if kept.is_file():
        return kept.read_text(encoding="utf-8").split("\n")
    found = highlight_lines(text, language_of(path))
    write_whole(kept, "\n".join(found))
    return found


@cache
def own_digest() -> str:
    r"""A hash of this module: lines that an older version made are not used."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


@cache
def _class_of(kind: _TokenType) -> str:
    node: _TokenType | None = kind
    while node is not None:
        if node in _CLASSES:
            return _CLASSES[node]
        node = node.parent
    return ""
