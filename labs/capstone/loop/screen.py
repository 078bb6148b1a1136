r"""What the loop shows: headings, text in columns that can be read, tables, and a clock.

Lines are at most 92 columns, since longer ones are hard to follow, and narrower where the terminal
is. Every state is said in words; colour only repeats it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from capstone.loop.checks import Finding, Verdict
from capstone.loop.grading import RUBRIC, Grade
from capstone.loop.item import LAYERS, SESSIONS, Item
from capstone.loop.plain import plain, wrapped
from capstone.loop.tree import COSTS, Cause, Tree

WIDEST = 92
NARROWEST = 24
HELP = (
    "Type your answer. A line with a single dot ends it. "
    ":peek shows the model answer first (the score is then at most 2), :time the clock, "
    ":stop leaves; nothing is lost."
)


def clock(seconds: float) -> str:
    r"""Minutes and seconds, `4:07`."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def spent(seconds: float, minutes: int) -> str:
    r"""Time spent against time given, overtime said in words."""
    over = seconds - 60 * minutes
    text = f"{clock(seconds)} of {minutes}:00"
    return f"{text}, {clock(over)} over" if over > 0 else text


class Screen:
    r"""A console with the loop's layouts; prints and keeps nothing."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @property
    def width(self) -> int:
        r"""Columns of text."""
        return max(NARROWEST, min(WIDEST, self.console.width - 1))

    def line(self, text: str = "", style: str = "") -> None:
        r"""One line, cut into several where it is too long."""
        for part in wrapped_plain(text, self.width):
            self.console.print(Text(part, style=style))

    def prose(self, markdown: str, indent: str = "") -> None:
        r"""Markdown of the book."""
        for part in wrapped(markdown, self.width, indent):
            self.console.print(Text(part))

    def heading(self, text: str) -> None:
        r"""A line across, with words in it."""
        self.console.print()
        self.console.print(Rule(Text(text, style="bold"), align="left"), width=self.width)

    def session(self, session: str, count: int, minutes: int) -> None:
        r"""The head of a session."""
        number = list(SESSIONS).index(session) + 1
        self.heading(f"{number} of {len(SESSIONS)} · {SESSIONS[session]}")
        noun = "question" if session in {"rapid-fire", "deep-dive"} else "task"
        self.line(f"{count} {noun}{'s' * (count != 1)}, {minutes} minutes", "dim")

    def question(self, item: Item, number: int, count: int) -> None:
        r"""An item as it is asked."""
        self.console.print()
        rows = f"row{'s' * (len(item.rows) > 1)} {', '.join(map(str, item.rows))}"
        label = f"{number}/{count} · {item.title} · {item.minutes} min · {rows}"
        self.line(label, "bold")
        self.console.print()
        self.prose(item.prompt)

    def kept(self, parts: Sequence[tuple[str, Sequence[str]]]) -> None:
        r"""What was typed in an earlier sitting: each part's title and lines.

        Whoever goes on must know where the sentence stopped, and grades what stands there.
        """
        count = sum(len(lines) for _, lines in parts)
        if not count:
            return
        self.line()
        noun = "line of yours is" if count == 1 else "lines of yours are"
        self.line(f"(going on: {count} {noun} kept)", "dim")
        for title, lines in parts:
            if title and lines:
                self.line(f"  {title}", "dim")
            for text in lines:
                self.line(f"  {text}", "dim")

    def walk_begins(self) -> None:
        r"""What is to be done with a tree."""
        self.line()
        self.line("Walk to the cause", "bold")
        self.prose(
            "Choose what to look at; what it shows is said. The cheap and the telling first: what "
            "was not due is a detour. `c` names the cause."
        )

    def looks(self, tree: Tree, offered: Sequence[str], done: Sequence[str]) -> None:
        r"""What can still be looked at, numbered as in the beginning."""
        self.line()
        for number, name in enumerate(offered, start=1):
            one = tree.get(name)
            if one is None or name in done:
                continue
            self.numbered(number, f"{one.ask} ({COSTS[one.cost]})")

    def seen(self, tree: Tree, name: str) -> None:
        r"""A check and what it shows, in this case."""
        one = tree.get(name)
        if one is None:
            return
        self.line()
        self.prose(f"{one.ask} {one.look[:1].upper()}{one.look[1:]}:")
        self.line(f"  → {plain(tree.seen(name))}", "bold")

    def causes(self, causes: Sequence[Cause]) -> None:
        r"""All findings of a tree, numbered."""
        self.line()
        for number, cause in enumerate(causes, start=1):
            self.numbered(number, cause.finding)
        self.line("  (an empty line: back to the checks)", "dim")

    def numbered(self, number: int, markdown: str) -> None:
        r"""One of several to choose from, the lines below its first one hanging."""
        first, *rest = wrapped(markdown, self.width - 5)
        self.console.print(Text(f"{number:>3}  {first}"))
        for line in rest:
            self.console.print(Text(f"     {line}"))

    def model(self, item: Item) -> None:
        r"""The model answer, layer by layer, with what is listed beside it."""
        self.heading(f"Model answer · {item.title}")
        for layer, title in LAYERS.items():
            self.line(title, "bold")
            self.prose(item.layers[layer], "  ")
            self.console.print()
        for title, lines in item.listed:
            self.line(title, "bold")
            for text in lines:
                depth = len(text) - len(text.lstrip())
                for part in wrapped(text.strip(), self.width - 2 - depth):
                    self.console.print(Text("  " + " " * depth + part))
            self.console.print()

    def findings(self, findings: Sequence[Finding], reasons: Sequence[str]) -> None:
        r"""What a machine read in the answer."""
        if findings:
            self.line("Read by machine", "bold")
        for finding in findings:
            met = finding.verdict is Verdict.MET
            mark = "✓" if met else "·"
            text = f"{mark} {finding.verdict}: {finding.sentence} ({finding.value.name})"
            self.line(f"  {text}", "green" if met else "yellow")
        for reason in reasons:
            self.line(f"  {reason}", "yellow")

    def rubric(self) -> None:
        r"""What the three grades mean."""
        self.console.print()
        meaning = ", ".join(f"{points} {text}" for points, text in enumerate(RUBRIC))
        self.line(f"Your answer beside it, layer by layer: {meaning}.")

    def score(self, grade: Grade, time: str) -> None:
        r"""The score, and every reason that it is no higher."""
        layers = " + ".join(str(points) for points in grade.layers.values())
        caps = "".join(f", at most 2: {cap}" for cap in grade.caps)
        self.line(f"Score {grade.score} of 4 ({layers} of 6{caps}). {time}.", "bold")


def wrapped_plain(text: str, width: int) -> list[str]:
    r"""Text without markup in lines of at most `width`, the indent of the first one kept."""
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(), width, initial_indent=indent, subsequent_indent=indent + "  "
    ) or [""]
