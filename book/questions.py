r"""Questions and exercises: one parser for the pages, the flash cards and the mock interview.

An entry is a fenced MyST directive with an id, options and parts:

```
::::{question} budget-and-tail-latency
:competency: 3
:minutes: 6
:tier: core

The prompt, in Markdown.

:::{mechanism}
:::
:::{arithmetic}
:::
:::{consequence}
:::
::::
```

A question's model answer has three layers, an exercise has one `answer`. The ids are stable: cards
that a reader has already learnt keep their history over a rebuild.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

COMPETENCIES: dict[int, str] = {
    1: "Transformer inference fundamentals",
    2: "Memory management",
    3: "Throughput engineering",
    4: "Kernels and precision",
    5: "Latency techniques",
    6: "Scale-out",
    7: "Productization",
    8: "Hardware breadth",
}
TIERS = ("warm-up", "core", "build", "design")
PARTS: dict[str, tuple[str, ...]] = {
    "question": ("mechanism", "arithmetic", "consequence"),
    "exercise": ("answer",),
}

_OPEN = re.compile(r"^(?P<fence>:{3,}|`{3,}|~{3,})(?:\{(?P<kind>[\w-]+)\}[ \t]*(?P<argument>.*))?")
_OPTION = re.compile(r"^:(?P<key>[\w-]+):[ \t]*(?P<value>.*)$")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class EntryError(ValueError):
    """An entry that lacks something, or names something that does not exist."""


@dataclass(frozen=True)
class Text:
    """Markdown and the line of its file (or of its block) on which it starts, from 0."""

    markdown: str
    line: int


@dataclass(frozen=True)
class Entry:
    """One question or exercise."""

    kind: str
    id: str
    competency: int
    minutes: int
    tier: str
    prompt: Text
    parts: dict[str, Text] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain data, for the export that flash cards and the mock interview read."""
        data = asdict(self)
        data["prompt"] = self.prompt.markdown
        data["parts"] = {name: part.markdown for name, part in self.parts.items()}
        return data


def parse_entry(kind: str, argument: str, options: dict[str, str], body: str) -> Entry:
    """Build an entry from a directive's four parts; refuse it with the reason."""
    name = argument.strip()
    if not _ID.fullmatch(name):
        raise EntryError(f"{kind} id {name!r}: lower case letters, digits and single hyphens")
    unknown = set(options) - {"competency", "minutes", "tier"}
    if unknown:
        raise EntryError(f"{name}: unknown options {sorted(unknown)}")
    competency = _integer(name, "competency", options, 1, max(COMPETENCIES))
    minutes = _integer(name, "minutes", options, 1, 600)
    tier = options.get("tier", "").strip()
    if tier not in TIERS:
        raise EntryError(f"{name}: tier {tier!r} is none of {', '.join(TIERS)}")
    prompt, parts = _split(name, kind, body)
    return Entry(kind, name, competency, minutes, tier, prompt, parts)


def read(path: Path) -> Iterator[Entry]:
    """All entries of a Markdown file, in order."""
    yield from read_text(path.read_text(encoding="utf-8"))


def read_text(text: str) -> Iterator[Entry]:
    """All entries of a Markdown text, in order; fenced code that shows one is not one."""
    for kind, argument, body, line in blocks(text.splitlines()):
        if kind in PARTS:
            options, rest, skipped = _options(body)
            entry = parse_entry(kind, argument, options, "\n".join(rest))
            offset = line + 1 + skipped
            parts = {k: Text(p.markdown, p.line + offset) for k, p in entry.parts.items()}
            prompt = Text(entry.prompt.markdown, entry.prompt.line + offset)
            yield Entry(kind, entry.id, entry.competency, entry.minutes, entry.tier, prompt, parts)


def blocks(lines: list[str]) -> Iterator[tuple[str, str, list[str], int]]:
    """Top-level fenced blocks as `(directive name or "", argument, body, line)`."""
    number = 0
    while number < len(lines):
        opening = _OPEN.match(lines[number])
        if opening is None:
            number += 1
            continue
        fence = opening["fence"]
        end = number + 1
        while end < len(lines) and not _closes(lines[end], fence):
            end += 1
        kind = (opening["kind"] or "").strip()
        yield kind, (opening["argument"] or "").strip(), lines[number + 1 : end], number
        number = end + 1


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _options(body: list[str]) -> tuple[dict[str, str], list[str], int]:
    options: dict[str, str] = {}
    for number, line in enumerate(body):
        match = _OPTION.match(line)
        if match is None:
            return options, body[number:], number
        options[match["key"]] = match["value"].strip()
    return options, [], len(body)


def _split(name: str, kind: str, body: str) -> tuple[Text, dict[str, Text]]:
    lines = body.splitlines()
    prompt_end = len(lines)
    parts: dict[str, Text] = {}
    for part, argument, inner, line in blocks(lines):
        if part not in {p for parts_of in PARTS.values() for p in parts_of}:
            continue
        if part not in PARTS[kind]:
            raise EntryError(f"{name}: {kind} has no part {part!r}, only {', '.join(PARTS[kind])}")
        if part in parts:
            raise EntryError(f"{name}: two parts {part!r}")
        if argument:
            raise EntryError(f"{name}: {part} takes no argument, got {argument!r}")
        prompt_end = min(prompt_end, line)
        parts[part] = Text("\n".join(inner), line + 1)
        if not parts[part].markdown.strip():
            raise EntryError(f"{name}: {part} is empty")
    missing = [part for part in PARTS[kind] if part not in parts]
    if missing:
        raise EntryError(f"{name}: lacks {', '.join(missing)}")
    prompt = Text("\n".join(lines[:prompt_end]).rstrip(), 0)
    if not prompt.markdown.strip():
        raise EntryError(f"{name}: asks nothing")
    return prompt, parts


def _integer(name: str, key: str, options: dict[str, str], low: int, high: int) -> int:
    text = options.get(key, "").strip()
    if not text.isdigit() or not low <= int(text) <= high:
        raise EntryError(f"{name}: {key} {text!r} is not a whole number from {low} to {high}")
    return int(text)
