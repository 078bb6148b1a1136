r"""Which lines does a C++ or CUDA function own?

There is no parser here, and for anchors none is needed: a definition is a name, a balanced pair of
parentheses and then an opening brace, where a declaration or a call has a semicolon, an operator or
nothing. The lines above it that belong to it (a template head, `__global__`, a return type on its
own line) are those up to the previous blank line, comment, brace, semicolon or directive.

Classes and structs are found the same way, by their keyword. A name with several definitions,
overloads or specialisations, is refused: the writer names a line by a fragment instead.
"""

from __future__ import annotations

import re

from upstream_anchors.symbols import Symbol

C_SUFFIXES = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp")

# Comments and literals, blanked out before braces are counted; newlines are kept.
_OPAQUE = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*',
    re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(r"\b[A-Za-z_]\w*(?=\s*\()")
_RECORD = re.compile(
    r"\b(?:class|struct)\s+(?:alignas\([^)]*\)\s*)?([A-Za-z_]\w*)\s*(?:final\s*)?[:{]"
)
_BETWEEN = re.compile(r"(?:\s|const\b|noexcept\b|override\b|->\s*[\w:<>&*]+)*")
_CONTROL = frozenset({"if", "constexpr", "for", "while", "switch", "catch", "sizeof", "return"})


def c_definitions(source: str) -> dict[str, list[Symbol]]:
    r"""Every function and record definition of a C-family file, by its unqualified name."""
    code = _OPAQUE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    lines = code.split("\n")
    found: dict[str, list[Symbol]] = {}
    for match in _NAME.finditer(code):
        if match[0] not in _CONTROL:
            close = _balanced(code, code.index("(", match.end()), "(", ")")
            between = _BETWEEN.match(code, close) if close else None
            if between and code[between.end() : between.end() + 1] == "{":
                _add(found, lines, code, match[0], "function", match.start(), between.end())
    for match in _RECORD.finditer(code):
        brace = code.find("{", match.end() - 1)
        if brace >= 0 and ";" not in code[match.end() : brace]:
            _add(found, lines, code, match[1], "class", match.start(), brace)
    return found


def _add(
    found: dict[str, list[Symbol]],
    lines: list[str],
    code: str,
    name: str,
    kind: str,
    at: int,
    brace: int,
) -> None:
    close = _balanced(code, brace, "{", "}")
    if close is None:
        return
    start = code.count("\n", 0, at)
    while start > 0 and _continues(lines[start - 1]):
        start -= 1
    end = code.count("\n", 0, close) + 1
    found.setdefault(name, []).append(Symbol(name, kind, start + 1, end))


def _continues(line: str) -> bool:
    # Comments and preprocessor lines are blank by now.
    stripped = line.strip()
    return bool(stripped) and stripped[-1] not in ";{}:"


def _balanced(code: str, at: int, opening: str, closing: str) -> int | None:
    r"""The offset just behind the bracket that closes the one at `at`; `None` if none does."""
    depth = 0
    for match in re.compile(f"[{re.escape(opening + closing)}]").finditer(code, at):
        depth += 1 if match[0] == opening else -1
        if depth == 0:
            return match.end()
    return None
