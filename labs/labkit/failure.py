r"""What does a learner have to read of a failure?

The line of `starter.py` that does not load, and not the `repr` of an exception. Of a comparison
that fails, the call with its arguments and what it gave, and not where in memory the function lies:
pytest explains every name in an assertion, and the implementation's module has a long one.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path

LINES, WIDTH = 4, 400

_FUNCTION = re.compile(r"<(?:function|bound method) ([\w.<>]*?\w) (?:at 0x[0-9a-f]+|of .*?)>")
# ` +    where <function double at 0x7f…> = <starter.py>.double`, and `and` in the place of `where`.
_WHENCE = re.compile(r"\s*\+\s+(?:where|and)\s+<(?:function|class|module) .*> = .*")
_OBJECT = re.compile(r"<(?:[\w-]+(?:<locals>)?\.)*(\w+) object at 0x[0-9a-f]+>")


def of_loading(error: Exception, path: Path) -> str:
    r"""Why an implementation cannot be loaded: its file, the line in it, the type and the message.

    The line is that of the file itself, also when the exception comes out of a module that it
    imports. A file that is not there says so.
    """
    kind = type(error).__name__
    if isinstance(error, FileNotFoundError) and error.filename == str(path):
        return f"{path.name} is missing; `labs reset {_short(path)}` puts it back"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path.name} line {error.lineno}: {kind}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f"{path.name} line {own[-1]}" if own else path.name
    return f"{place}: {kind}: {error}"


def short(kind: str, text: str) -> str:
    r"""The first lines of an exception's message, without addresses and modules.

    The type comes before it, except where the message speaks for itself.
    """
    lines = [line for line in text.strip().splitlines() if not _WHENCE.fullmatch(line)]
    message = "\n".join(_plain(line) for line in lines[:LINES])
    speaks = kind in ("AssertionError", "NotImplementedError", "Unloadable")
    return message if speaks else f"{kind}: {message}"


def _plain(line: str) -> str:
    line = _OBJECT.sub(r"<\1>", _FUNCTION.sub(r"\1", line))
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"


def _short(path: Path) -> str:
    """`phase-01/lab-03`: what one types for the lab that a file belongs to."""
    lab = path.parent
    return f"{lab.parent.name[:8]}/{lab.name[:6]}"
