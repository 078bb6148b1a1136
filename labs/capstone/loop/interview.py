r"""The running loop: ask, write down, show the model answer, take the grades.

All that decides what comes next is the transcript's state, so the same code begins a loop, goes on
after a kill, and does nothing for a loop that is complete. What the reader types comes through one
function that is told what it is asked for; at the end of input it raises `EOFError`, and the loop
stops where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from capstone.loop.catalogue import Bank
from capstone.loop.grading import FULL, Grade, examine, grade
from capstone.loop.item import LAYERS, SESSIONS, WALK, Item
from capstone.loop.screen import HELP, Screen, spent
from capstone.loop.transcript import Progress, State, Transcript
from capstone.loop.tree import Tree

END, PEEK, TIME, STOP = ".", ":peek", ":time", ":stop"
#: Typed in a walk when the cause is known.
CAUSE = "c"
_COMMAND = re.compile(r":[A-Za-z]+")


@dataclass(frozen=True)
class Cue:
    r"""What is asked for.

    `kind` is `choice`, `line`, `look`, `cause` or `grade`; `about` the part or the layer, `number`
    how many lines or looks there are already.
    """

    kind: str
    prompt: str
    item: str = ""
    about: str = ""
    number: int = 0


Reader = Callable[[Cue], str]


class Stopped(Exception):
    r"""The reader left; everything so far is on the disk."""


def complete(item: Item, progress: Progress) -> bool:
    r"""Whether nothing is left to ask about an item."""
    if not all(part in progress.ended for part, _ in item.parts):
        return False
    limits = examine(item, progress.answer(), progress.walked)
    return limits.blank or set(progress.points) == set(LAYERS)


def result(item: Item, progress: Progress) -> Grade:
    r"""The grade of a complete item."""
    limits = examine(item, progress.answer(), progress.walked)
    return grade(item, limits, progress.points, peeked=progress.peeked)


def finished(bank: Bank, state: State) -> bool:
    r"""Whether the whole loop is done. Items that the bank no longer has cannot be asked."""
    if not state.chosen:
        return False
    items = [bank.get(name) for name in state.order()]
    return all(complete(item, state.of(item.id)) for item in items if item is not None)


class Interview:
    r"""One loop in front of one reader."""

    def __init__(self, bank: Bank, transcript: Transcript, screen: Screen, read: Reader) -> None:
        self.bank = bank
        self.transcript = transcript
        self.screen = screen
        self._read = read
        self._shown: set[str] = set()  # items whose model answer stands further up, by a peek

    @property
    def state(self) -> State:
        r"""The transcript's state; it changes with every entry."""
        return self.transcript.state

    def run(self) -> bool:
        r"""Ask what is left; false if the reader left before the end."""
        self.transcript.sit()
        self.screen.prose(HELP)
        try:
            for session in SESSIONS:
                self.session(session)
        except Stopped:
            return False
        return True

    def session(self, session: str) -> None:
        r"""Ask what is left of one session; {py:class}`Stopped` if the reader leaves."""
        if session == "design" and not self.state.chosen:
            self._choose()
        names = [self.state.chosen] if session == "design" else self.state.asked[session]
        items = [item for name in names if (item := self.bank.get(name)) is not None]
        for name in set(names) - {item.id for item in items}:
            self.screen.line(f"{name} is no longer in the bank and is not asked", "yellow")
        if all(complete(item, self.state.of(item.id)) for item in items):
            return
        self.screen.session(session, len(items), sum(item.minutes for item in items))
        for number, item in enumerate(items, start=1):
            if not complete(item, self.state.of(item.id)):
                self._ask(item, number, len(items))

    def _choose(self) -> None:
        names = self.state.asked["design"]
        offered = [item for name in names if (item := self.bank.get(name)) is not None]
        self.screen.session("design", 1, max((item.minutes for item in offered), default=0))
        for number, item in enumerate(offered, start=1):
            self.screen.line(f"{number}  {item.title}, {item.minutes} minutes")
        while offered and not self.state.chosen:
            text = self._line(Cue("choice", "Which one? "))
            if text.isdecimal() and 1 <= int(text) <= len(offered):
                self.transcript.append("choice", item=offered[int(text) - 1].id)
            else:
                self.screen.line(f"a number from 1 to {len(offered)}", "yellow")

    def _ask(self, item: Item, number: int, count: int) -> None:
        progress = self.state.of(item.id)
        self.screen.question(item, number, count)
        self.screen.kept([(title, progress.lines.get(part, ())) for part, title in item.parts])
        if not all(part in progress.ended for part, _ in item.parts):
            self.transcript.append("asked", item=item.id)
        for part, title in item.parts:
            if part in progress.ended:
                continue
            if part == WALK and item.tree is not None and progress.walks:
                self._walk(item, item.tree)
            else:
                self._answer(item, part, title)
        limits = examine(item, progress.answer(), progress.walked)
        self.screen.line(f"Time: {spent(progress.seconds, item.minutes)}", "dim")
        if item.id in self._shown:
            self.screen.line("The model answer stands above, where you peeked.", "dim")
        else:
            self.screen.model(item)
        self.screen.findings(limits.findings, limits.reasons)
        if not limits.blank:
            self.screen.rubric()
            for layer, title in LAYERS.items():
                if layer not in progress.points:
                    self._grade(item, layer, title, limits.highest[layer])
        self.screen.score(result(item, progress), spent(progress.seconds, item.minutes))

    def _answer(self, item: Item, part: str, title: str) -> None:
        progress = self.state.of(item.id)
        if title:
            self.screen.line()
            self.screen.line(title, "bold")
        while True:
            cue = Cue("line", "› ", item.id, part, len(progress.lines.get(part, ())))
            text = self._line(cue, strip=False)
            command = text.strip()
            if command == END:
                self.transcript.append("end", item=item.id, part=part)
                return
            if self._aside(item, command):
                continue
            if _COMMAND.fullmatch(command):
                # A command with a slip in it would stand in the transcript as an answer.
                known = ", ".join((PEEK, TIME, STOP))
                self.screen.line(f"{command} is none of {known}; nothing is written", "yellow")
            else:
                self.transcript.append("line", item=item.id, part=part, text=text)

    def _aside(self, item: Item, command: str) -> bool:
        """A peek or the clock; false if it was neither."""
        progress = self.state.of(item.id)
        if command == PEEK:
            # Written down before it is shown: a kill must not make it undone.
            self.transcript.append("peek", item=item.id)
            self.screen.model(item)
            self._shown.add(item.id)
            self.screen.line("A peek: the score of this one is at most 2.", "yellow")
        elif command == TIME:
            now = progress.seconds + self.transcript.waiting()
            self.screen.line(spent(now, item.minutes), "dim")
        else:
            return False
        return True

    def _walk(self, item: Item, tree: Tree) -> None:
        """Check by check to the cause; all that is shown is computed from what was looked at."""
        progress = self.state.of(item.id)
        offered = tree.offered(self.state.seed)
        self.screen.walk_begins()
        for name in dict.fromkeys(progress.looks):
            self.screen.seen(tree, name)
        while True:
            self.screen.looks(tree, offered, progress.looks)
            text = self._line(Cue("look", "Next? ", item.id, WALK, len(progress.looks)))
            if text.lower() == CAUSE:
                if self._cause(item, tree):
                    return
            elif text.isdecimal() and 1 <= int(text) <= len(offered):
                name = offered[int(text) - 1]
                if name not in progress.looks:
                    self.transcript.append("look", item=item.id, check=name)
                self.screen.seen(tree, name)
            elif not self._aside(item, text):
                self.screen.line(f"a number from 1 to {len(offered)}, or {CAUSE}", "yellow")

    def _cause(self, item: Item, tree: Tree) -> bool:
        """Whether a cause was named; an empty line goes back to the checks."""
        causes = tree.named(self.state.seed)
        self.screen.causes(causes)
        while text := self._line(Cue("cause", "Which? ", item.id, WALK)):
            if text.isdecimal() and 1 <= int(text) <= len(causes):
                self.transcript.append("cause", item=item.id, cause=causes[int(text) - 1].id)
                return True
            if not self._aside(item, text):
                self.screen.line(f"a number from 1 to {len(causes)}, or nothing", "yellow")
        return False

    def _grade(self, item: Item, layer: str, title: str, highest: int) -> None:
        note = f" (counts {highest} at most)" if highest < FULL else ""
        while True:
            cue = Cue("grade", f"{title}{note} 0-{FULL}: ", item.id, layer)
            text = self._line(cue)
            if text in {str(points) for points in range(FULL + 1)}:
                self.transcript.append("grade", item=item.id, layer=layer, points=int(text))
                return
            self.screen.line("0, 1 or 2", "yellow")

    def _line(self, cue: Cue, *, strip: bool = True) -> str:
        try:
            text = self._read(cue)
        except EOFError:
            raise Stopped from None
        if text.strip() == STOP:
            raise Stopped
        # What no file in UTF-8 can hold becomes a question mark rather than the end of the loop.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return text.strip() if strip else text
