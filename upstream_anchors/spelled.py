r"""Where does a file spell a target?

A target counts where it stands as one: between the marks that end a target, so that
`core.py#Engine` is not found inside `core.py#Engine.step`. One that was broken over two lines is
found as well.
"""

from __future__ import annotations

import re

_BEFORE = r"(?<![\w/.#@:-])"
_AFTER = r"(?![\w/#@=\[-]|\.\w)"


def spelled(target: str, *, in_data: bool = False) -> re.Pattern[str]:
    r"""What matches a target; `in_data`, also with its quotation marks escaped."""
    words = r"\s+".join(re.escape(word) for word in target.split())
    if in_data:
        words = words.replace('"', r'\\?"')
    return re.compile(_BEFORE + words + _AFTER)


def lines_in_data(target: str, text: str) -> list[int]:
    r"""The lines of a TOML or JSON file that spell a target, the first where none does.

    Their parsers keep no line numbers. A Python name stands there as in a role, without our `py:`.
    """
    name = target.removeprefix("py:")
    if name.split()[0].split('"')[0] not in text:  # most files spell few targets; `in` is quick
        return [1]
    found = spelled(name, in_data=True).finditer(text)
    return sorted({text.count("\n", 0, match.start()) + 1 for match in found}) or [1]
