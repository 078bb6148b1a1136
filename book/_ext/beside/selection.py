r"""Which lines does a writer mean? Numbers from the definition on, or fragments that hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A line of a file: its number there, and its text.
Line = tuple[int, str]

_TOKEN = re.compile(r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<number>\d+)|(?P<sign>[-,]))')


class SelectionError(ValueError):
    """A place that leads to no line, to several, or out of what is shown."""


def select(spec: str, lines: Sequence[Line], first: int) -> list[int]:
    """The file's line numbers that `spec` names; `first` is the number of the definition's line 1.

    Raises {py:class}`.SelectionError` for a fragment that is not on exactly one line, a range that
    runs backwards, and a line that `lines` does not have.
    """
    chosen: set[int] = set()
    if '"' not in spec and not re.fullmatch(r"[\d\s,-]*", spec):
        # Markdown took the quotes of a lone fragment.
        spec = '"' + spec.replace('"', '\\"') + '"'
    for part in _parts(spec):
        ends = [_number(token, lines, first, spec) for token in part if token != "-"]
        if part[-1] == "-":  # `12-`: to the end
            ends.append(lines[-1][0])
        if not 1 <= len(ends) <= 2 or (len(ends) == 2 and "-" not in part):
            raise SelectionError(f'{spec!r} should read like `3-9`, `12-` or `"from" - "to"`')
        if ends[0] > ends[-1]:
            raise SelectionError(f"{spec!r} runs backwards: lines {ends[0]} to {ends[-1]}")
        inside = [number for number, _ in lines if ends[0] <= number <= ends[-1]]
        if not inside:
            raise SelectionError(f"{spec!r} names no line that is shown")
        chosen.update(inside)
    return sorted(chosen)


def _parts(spec: str) -> list[list[str]]:
    # "a" - "b", 3  →  [["a", -, "b"], [3]]; fragments keep their opening quote, as their mark.
    parts: list[list[str]] = [[]]
    position = 0
    while position < len(spec.rstrip()):
        match = _TOKEN.match(spec, position)
        if match is None:
            raise SelectionError(f"{spec!r}: cannot be read from {spec[position:]!r} on")
        position = match.end()
        if match["sign"] == ",":
            parts.append([])
        elif match["quoted"] is not None:
            parts[-1].append('"' + match["quoted"].replace('\\"', '"'))
        else:
            parts[-1].append(match["number"] or match["sign"])
    if not all(parts) or any(part[0] == "-" for part in parts):
        raise SelectionError(f"{spec!r}: a place is missing")
    return parts


def _number(token: str, lines: Sequence[Line], first: int, spec: str) -> int:
    if not token.startswith('"'):
        number = first + int(token) - 1
        if not lines[0][0] <= number <= lines[-1][0]:
            count = lines[-1][0] - first + 1
            raise SelectionError(f"{spec!r}: line {token} is not shown; there are {count}")
        return number
    fragment = token[1:]
    hits = [number for number, text in lines if fragment in text]
    if len(hits) != 1:
        raise SelectionError(f"{fragment!r} stands on {len(hits)} of the lines, not on one")
    return hits[0]
