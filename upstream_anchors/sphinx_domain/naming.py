r"""What is a place called where the writer gave it no name?"""

from __future__ import annotations

from upstream_anchors.place import Place


def shown_name(place: Place) -> str:
    r"""The shortest name that says enough: the symbol, the flag, the words of the log line."""
    target = place.target
    if target.startswith("default:"):
        return target.split("#", 1)[1].replace("=", " = ", 1)
    if target.startswith(("env:", "flag:")):
        return target.split(":", 1)[1]
    if target.startswith("log:"):
        return target.removeprefix("log:").strip('"')
    if target.startswith("py:"):
        return target.removeprefix("py:")
    return place.symbol or place.path


def line_span(start: int | None, end: int | None) -> str:
    r"""`428–457`, or `428`, or nothing. A word joiner keeps both ends on one line of a page."""
    if start is None:
        return ""
    return str(start) if start == end else f"{start}–\N{WORD JOINER}{end}"


def fragment_of(start: int | None, end: int | None) -> str:
    r"""The fragment of an address, as GitHub spells it: `L428-L457`, `L428`, or nothing."""
    if not start:
        return ""
    return f"L{start}" if end in (None, start) else f"L{start}-L{end}"
