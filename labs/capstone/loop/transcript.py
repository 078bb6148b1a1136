r"""A loop as it is written down: one line the moment something happens.

Every line that is typed, every peek, every grade is an entry of a {py:class}`.Journal`, on the disk
before the next is asked for. There is no other state: going on after a kill, making the matrix and
comparing two loops all read the entries from the start, by the same {py:meth}`State.apply` that
the running loop uses.

**Seals.** Each entry carries a digest of itself and of the seal before it. It keeps nobody out; it
says, for each line, whether it is as the program wrote it. A line that was changed, taken away or
put in is reported with its number, and so is one that was cut short or that makes no sense where it
stands. Everything else still counts. A file is never rewritten, whatever is found in it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capstone.errors import CapstoneError
from capstone.loop.draw import Draw
from capstone.loop.grading import FULL
from capstone.loop.item import LAYERS, SESSIONS, WALK
from capstone.loop.walk import Walked
from capstone.records import Journal, now

#: Since 2, trees are walked: `look` and `cause`. A loop of version 1 goes on as it began.
VERSION = 2
OLDER = (1,)
START = "begin"


@dataclass
class Progress:
    r"""How far one item has come. `seconds` is time spent on the answer, over all sittings.

    `walks` is false in a transcript that is older than the walk: its trees were typed.
    """

    lines: dict[str, list[str]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    points: dict[str, int] = field(default_factory=dict)
    peeked: bool = False
    seconds: float = 0.0
    looks: list[str] = field(default_factory=list)
    cause: str = ""
    walks: bool = True

    def answer(self) -> dict[str, str]:
        r"""What was typed, part by part."""
        return {part: "\n".join(lines) for part, lines in self.lines.items()}

    @property
    def walked(self) -> Walked | None:
        r"""How the tree of the item was walked, if this transcript knows of walks."""
        return Walked(tuple(self.looks), self.cause) if self.walks else None


@dataclass
class State:
    r"""Where a loop stands after its entries so far; `remarks` are complaints about the file."""

    seed: int = 0
    version: int = VERSION
    bank: str = ""
    began: str = ""
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: str = ""
    progress: dict[str, Progress] = field(default_factory=dict)
    sittings: int = 0
    remarks: list[str] = field(default_factory=list)
    sealed: bool = True
    _clock: float | None = None

    def order(self) -> list[str]:
        r"""The ids that are asked, in order; of the scenarios only the chosen one."""
        ids: list[str] = []
        for session in SESSIONS:
            if session == "design":
                ids += [self.chosen] if self.chosen else []
            else:
                ids += self.asked.get(session, ())
        return ids

    def of(self, item: str) -> Progress:
        r"""The progress of an item; empty if it has not begun."""
        return self.progress.setdefault(item, Progress(walks=self.version not in OLDER))

    def apply(self, entry: Mapping[str, Any]) -> None:
        r"""Take one entry in; {py:class}`.CapstoneError` if it makes no sense here."""
        event = entry.get("event")
        handler: Callable[[Mapping[str, Any]], None] | None = {
            "loop": self._loop,
            "sitting": self._sitting,
            "choice": self._choice,
            "asked": self._asked,
            "line": self._line,
            "peek": self._peek,
            "end": self._end,
            "look": self._look,
            "cause": self._cause,
            "grade": self._grade,
        }.get(str(event))
        if handler is None:
            raise CapstoneError(f"no event is called {event!r}")
        if bool(self.asked) == (event == "loop"):
            raise CapstoneError("a loop begins once, in its first line")
        handler(entry)

    def _loop(self, entry: Mapping[str, Any]) -> None:
        version = entry.get("version")
        if type(version) is not int or version not in (*OLDER, VERSION):
            raise CapstoneError(f"version {version!r} of a transcript is not known")
        self.version = version
        asked = entry.get("asked")
        if not isinstance(asked, dict) or set(asked) != set(SESSIONS):
            raise CapstoneError(f"`asked` must have the sessions {', '.join(SESSIONS)}")
        if not all(isinstance(ids, list) for ids in asked.values()):
            raise CapstoneError("`asked` must have a list of ids for each session")
        self.seed = int(_number(entry, "seed"))
        self.asked = {session: tuple(map(str, asked[session])) for session in SESSIONS}
        self.bank, self.began = str(entry.get("bank")), _printable(str(entry.get("at")))

    def _sitting(self, entry: Mapping[str, Any]) -> None:
        self.sittings += 1
        self._clock = _number(entry, "t")

    def _choice(self, entry: Mapping[str, Any]) -> None:
        name = str(entry.get("item"))
        if name not in self.asked["design"]:
            raise CapstoneError(f"{name} is none of the scenarios that were offered")
        if self.chosen and self.chosen != name:
            raise CapstoneError(f"{self.chosen} was chosen before")
        self.chosen = name

    def _asked(self, entry: Mapping[str, Any]) -> None:
        self._item(entry)
        self._clock = _number(entry, "t")

    def _line(self, entry: Mapping[str, Any]) -> None:
        progress, part = self._item(entry), str(entry.get("part"))
        if part in progress.ended:
            raise CapstoneError(f"{entry.get('item')}: {part} was ended before")
        text = entry.get("text")
        if not isinstance(text, str):
            raise CapstoneError(f"`text` is {text!r}")
        self._spend(progress, entry)
        progress.lines.setdefault(part, []).append(text)

    def _peek(self, entry: Mapping[str, Any]) -> None:
        progress = self._item(entry)
        self._spend(progress, entry)
        progress.peeked = True

    def _end(self, entry: Mapping[str, Any]) -> None:
        progress = self._item(entry)
        self._spend(progress, entry)
        progress.ended.add(str(entry.get("part")))

    def _look(self, entry: Mapping[str, Any]) -> None:
        progress, name = self._walk(entry), entry.get("check")
        if not isinstance(name, str):
            raise CapstoneError(f"`check` is {name!r}")
        self._spend(progress, entry)
        progress.looks.append(_printable(name))

    def _cause(self, entry: Mapping[str, Any]) -> None:
        progress, name = self._walk(entry), entry.get("cause")
        if not isinstance(name, str):
            raise CapstoneError(f"`cause` is {name!r}")
        self._spend(progress, entry)
        progress.cause = _printable(name)
        progress.ended.add(WALK)

    def _walk(self, entry: Mapping[str, Any]) -> Progress:
        progress = self._item(entry)
        if not progress.walks:
            raise CapstoneError("a loop of version 1 has no walks")
        if WALK in progress.ended:
            raise CapstoneError(f"{entry.get('item')}: its cause was named before")
        return progress

    def _grade(self, entry: Mapping[str, Any]) -> None:
        progress, layer = self._item(entry), str(entry.get("layer"))
        points = entry.get("points")
        if layer not in LAYERS or type(points) is not int or points not in range(FULL + 1):
            raise CapstoneError(f"a grade of {points!r} for {layer}: 0, 1 or 2 for a layer")
        if not progress.ended:
            raise CapstoneError(f"{entry.get('item')} is graded before it was answered")
        if layer in progress.points:
            raise CapstoneError(f"{entry.get('item')}: {layer} was graded before")
        progress.points[layer] = points

    def _item(self, entry: Mapping[str, Any]) -> Progress:
        name = str(entry.get("item"))
        if name not in self.order():
            raise CapstoneError(f"{name} is not asked in this loop")
        return self.of(name)

    def _spend(self, progress: Progress, entry: Mapping[str, Any]) -> None:
        # Seconds count within a sitting; what lies between two sittings is nobody's time.
        at = _number(entry, "t")
        if self._clock is not None:
            progress.seconds += max(0.0, at - self._clock)
        self._clock = at


def _number(entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
        raise CapstoneError(f"`{key}` is {value!r}, expected a number")
    return value


def _printable(text: str) -> str:
    """JSON can say what no UTF-8 file can hold; a report must be able to quote it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def seal_of(previous: str, entry: Mapping[str, Any]) -> str:
    r"""The digest of an entry (its own seal left out) after the one before."""
    body = {key: value for key, value in entry.items() if key != "seal"}
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    # A lone surrogate, as a terminal may deliver one, has no UTF-8 form of its own.
    return hashlib.sha256((previous + text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Transcript:
    r"""The journal of one loop and its state so far.

    Opening reads the file and changes nothing in it. `clock` gives seconds; only differences count.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.journal = Journal(path)
        self.state = State()
        self._seal = START
        self._clock = clock
        self._began = clock()
        for number, entry in self.journal.numbered():
            self._take(number, entry)

    @property
    def name(self) -> str:
        r"""What the loop is called: the file's name."""
        return self.path.stem

    def _take(self, number: int, entry: dict[str, Any] | None) -> None:
        remarks = self.state.remarks
        if entry is None:
            remarks.append(f"line {number} holds no entry; it was cut short or damaged")
            return
        expected = seal_of(self._seal, entry)
        self._seal = str(entry.get("seal"))
        if self._seal != expected:
            self.state.sealed = False
            remarks.append(
                f"line {number} is not as it was written here, or a line before it is missing"
            )
        try:
            self.state.apply(entry)
        except CapstoneError as error:
            remarks.append(_printable(f"line {number} is left out: {error}"))

    def begin(self, drawn: Draw, bank: str) -> None:
        r"""Write the first line; a file that is there already is refused."""
        if self.path.exists():
            raise CapstoneError(f"{self.path} exists; `capstone loop resume {self.name}` goes on")
        asked = {session: list(ids) for session, ids in drawn.asked.items()}
        self.append("loop", version=VERSION, seed=drawn.seed, bank=bank, asked=asked)

    def sit(self) -> None:
        r"""Begin a sitting: from here on time counts again."""
        if not self.state.asked:
            raise CapstoneError(
                f"{self.path}: the first line is missing; nothing can go on from it"
            )
        self._began = self._clock()
        self.append("sitting")

    def waiting(self) -> float:
        r"""Seconds since the last entry of this sitting; they count with the next one."""
        last = self.state._clock
        return 0.0 if last is None else max(0.0, self._clock() - self._began - last)

    def append(self, event: str, **fields: Any) -> None:
        r"""Write one event down and take it in; the seal and the time are added here."""
        entry = {
            "at": now(),
            "t": round(self._clock() - self._began, 2),
            "event": event,
            **fields,
        }
        seal = seal_of(self._seal, entry)
        self.journal.append(**entry, seal=seal)
        self._seal = seal
        self.state.apply(entry)
