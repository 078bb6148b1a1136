r"""The book's Markdown as a terminal shows it.

Numbers are computed, links keep their words, and whatever only a page can show is left out. Text
that is no markup stays as it is.
"""

from __future__ import annotations

import re
import textwrap

from book.quantities import registry

_ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}(?P<tick>`+)(?P<text>.+?)(?P=tick)", re.DOTALL)
_TITLED = re.compile(r"(?P<title>.+?)\s*<(?P<target>[^<>]+)>", re.DOTALL)
_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?:[^()]|\([^()]*\))*\)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=\S)(.+?)(?<=\S)\1(?![\w*])", re.DOTALL)
_FENCED = re.compile(r"^(?P<fence>:{3,}|`{3,})(?P<head>.*)$")
_BULLET = re.compile(r"(?:[-*]|\d+\.)\s+")


def plain(markdown: str) -> str:
    r"""Markdown without its markup; code blocks keep their lines, indented."""
    lines: list[str] = []
    fence = ""
    shown = True
    for line in markdown.splitlines():
        match = _FENCED.match(line)
        if fence:
            if line.strip() == fence:
                fence = ""
            elif shown:
                lines.append(f"    {line}")
        elif match:
            fence = match["fence"]
            # A directive draws something that a terminal cannot; code is only text.
            shown = not match["head"].strip().startswith("{")
        elif not line.startswith("%"):
            lines.append(line)
    return _inline("\n".join(lines)).strip("\n")


def _inline(text: str) -> str:
    text = _ROLE.sub(_role, text)
    text = _LINK.sub(lambda match: match["text"], text)
    return _EMPHASIS.sub(lambda match: match[2], text)


def _role(match: re.Match[str]) -> str:
    name, text = match["name"], match["text"].strip()
    if name == "qty":
        try:
            return registry.printed(text)
        except registry.QuantityError:
            return text
    titled = _TITLED.fullmatch(text)
    if titled:
        return titled["title"]
    if name.startswith("py:"):
        return text.lstrip("~").rsplit(".", 1)[-1] if text.startswith("~") else text
    if name == "up":
        if text.startswith("default:"):
            return text.rsplit("#", 1)[-1].split(".", 1)[-1]  # `field=value`
        return text.removeprefix("env:").removeprefix("flag:").removeprefix("log:")
    return text


def wrapped(markdown: str, width: int, indent: str = "") -> list[str]:
    r"""Lines of at most `width` columns; paragraphs are filled, lists hang, code is not touched."""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", plain(markdown)):
        if lines:
            lines.append("")
        for paragraph in _paragraphs(block):
            if paragraph.startswith("    "):
                lines += [indent + line for line in paragraph.split("\n")]
                continue
            bullet = _BULLET.match(paragraph)
            hanging = " " * len(bullet[0]) if bullet else ""
            lines += textwrap.wrap(
                " ".join(paragraph.split()),
                width,
                initial_indent=indent,
                subsequent_indent=indent + hanging,
                break_on_hyphens=False,
            ) or [""]
    return lines


def _paragraphs(block: str) -> list[str]:
    """A block's lines joined, with a new paragraph at each bullet and around indented code."""
    found: list[str] = []
    for line in block.split("\n"):
        code = line.startswith("    ")
        if found and not _BULLET.match(line) and code == found[-1].startswith("    "):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found
