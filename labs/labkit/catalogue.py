r"""Which labs are there, and what does each say about itself?

A lab is a folder `labs/phase-NN-slug/lab-MM-slug/` with a `lab.toml` in it:

```toml
title = "The engine's step, by hand"
tag = "CPU-OK"                  # or GPU-OPT, GPU-REQ
minutes = 45
competency = 3                  # a row of the career map, 1 to 8
after = ["lab-01-trace-a-request"]
tasks = ["say which rows may sample", "run the four stages"]

[[predict]]
id = "ttft-steps"
question = "Budget 8 tokens, a prompt of 20: in which step does the first token come out?"
unit = "step"
truth = "the step in which the engine of the tests hands out the first token"
```

The titles of the tasks are repeated in the markers of `solution.py`; `python -m labkit verify`
compares the two. A prediction's `truth` says how the tests compute the answer; the answer itself
is written nowhere.

**A process lab** has nothing to fill in: what it asks for is done elsewhere, and other people or
other tools are the judges. It says `kind = "process"`, has steps where another lab has tasks, and
names the module that looks at what the learner has left behind ({py:mod}`labkit.process`):

```toml
kind = "process"
title = "Find and scope a pull request"
tag = "CPU-OK"
grader = "capstone.progress.first_pr"

[[step]]
title = "write a plan of one page"
minutes = 240
command = "capstone plan check PLAN.md"     # what to run next, when this step comes first
judge = "capstone plan"                     # who says that the step is done
```

Its minutes are those of its steps. It may leave out the competency: then it asks for all rows.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

TAGS = ("CPU-OK", "GPU-OPT", "GPU-REQ")
_FOLDER = re.compile(r"lab-\d\d-[a-z0-9-]+")
_KEYS = {
    "code": {"title", "tag", "minutes", "competency", "after", "tasks", "predict", "seconds"},
    "process": {"title", "tag", "competency", "after", "grader", "step", "predict"},
}
#: The row of a process lab that asks for all of them.
ALL_ROWS = 0


class LabError(ValueError):
    r"""No such lab, or a lab that says something impossible about itself."""


@dataclass(frozen=True)
class Question:
    r"""One thing to predict before coding; `truth` says how the tests find the answer out."""

    id: str
    question: str
    truth: str
    unit: str = ""
    choices: tuple[str, ...] = ()

    def answer(self, given: str) -> str:
        r"""A learner's answer as it is kept: one of the choices, or the number without its unit.

        A question with a unit and without choices asks for a number that is not negative. What
        can be no answer is refused with a {py:class}`LabError`.
        """
        text = given.strip()
        if self.choices:
            if text not in self.choices:
                allowed = ", ".join(self.choices)
                raise LabError(f"{self.id}: {text!r} is not an answer; it may be {allowed}")
            return text
        if self.unit:
            # `12 tokens` is 12, and so is `12 token`; `12 apples` is a misunderstanding.
            unit = re.escape(self.unit.removesuffix("s"))
            match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*(?:{unit}s?)?", text, re.IGNORECASE)
            if not match:
                raise LabError(
                    f"{self.id}: {text!r} is not a number of {self.unit}; "
                    "write one that is 0 or more, in digits"
                )
            return match[1]
        if not text:
            raise LabError(f"{self.id}: {text!r} is not an answer; it may be anything but nothing")
        return text


@dataclass(frozen=True)
class Step:
    r"""One step of a process lab: what to run for it, and who says that it is done."""

    title: str
    minutes: int
    command: str
    judge: str


@dataclass(frozen=True)
class Lab:
    r"""One lab: its folder and the contents of its `lab.toml`.

    `seconds` bounds each single test (see {py:mod}`labkit.guard`), not the lab. `steps` and
    `grader` are those of a process lab, whose `tasks` are the titles of its steps.
    """

    folder: Path
    title: str
    tag: str
    minutes: int
    competency: int
    tasks: tuple[str, ...]
    after: tuple[str, ...] = ()
    questions: tuple[Question, ...] = field(default=())
    seconds: float = 5.0
    steps: tuple[Step, ...] = ()
    grader: str = ""

    @property
    def is_process(self) -> bool:
        r"""Whether this is a process lab, without starter, solution and tests."""
        return bool(self.grader)

    @property
    def name(self) -> str:
        r"""The folder's name, `lab-03-engine-step-by-hand`."""
        return self.folder.name

    @property
    def phase(self) -> str:
        r"""The phase's folder name, `phase-01-architecture-and-request-lifecycle`."""
        return self.folder.parent.name

    @property
    def root(self) -> Path:
        r"""The repository that the lab belongs to."""
        return self.folder.parents[2]

    @property
    def short(self) -> str:
        r"""What one types: `phase-01/lab-03`."""
        return f"{self.phase[:8]}/{self.name[:6]}"

    @property
    def solution(self) -> Path:
        r"""The reference, with its regions marked."""
        return self.folder / "solution.py"

    @property
    def starter(self) -> Path:
        r"""The learner's file, generated once and then edited in place."""
        return self.folder / "starter.py"

    def question(self, id: str) -> Question:
        r"""The prediction with this id; an unknown one is a {py:class}`LabError`."""
        for question in self.questions:
            if question.id == id:
                return question
        known = ", ".join(question.id for question in self.questions) or "none"
        raise LabError(f"{self.name} asks for no prediction {id!r}; it has: {known}")


class Catalogue:
    r"""All labs below a folder, in reading order.

    `root` is the repository: labs are looked for in `root/labs/phase-*/lab-*/`, and the learner's
    state is kept in `root/.labs/`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or Path(__file__).parents[2]).resolve()
        folders = sorted(self.root.glob("labs/phase-*/lab-*/"))
        self.labs = [read(folder) for folder in folders if (folder / "lab.toml").is_file()]

    def find(self, name: str) -> Lab:
        r"""The one lab that a name means.

        Takes a path, a folder's name, its beginning, or `phase-01/lab-03`; when one phase alone
        has labs, `03` or `3` will do. Anything else raises {py:class}`LabError`
        with the nearest names; so does the path of a lab that lies in another copy of the project.
        """
        path, wanted = Path(name).resolve(), name.strip("/")
        exact = [lab for lab in self.labs if path == lab.folder]
        if not exact and (path / "lab.toml").is_file():
            raise LabError(
                f"{path} is in another copy of the project; this command is of {self.root}"
            )
        found = exact or [lab for lab in self.labs if _means(wanted, lab)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LabError(f"{name!r} means several labs: {', '.join(lab.short for lab in found)}")
        forms = {form: lab for lab in self.labs for form in (lab.name, lab.short)}
        near = difflib.get_close_matches(Path(wanted).name, forms, n=6, cutoff=0.3)
        once = list(dict.fromkeys(forms[form].name for form in near))[:3]
        listing = ", ".join(once or [lab.name for lab in self.labs])
        which = "the nearest" if once else "there are" if listing else "there are none"
        raise LabError(f"no lab is called {name!r}; {which}{': ' if listing else ''}{listing}")

    def select(self, names: list[str]) -> list[Lab]:
        r"""The labs that are named, or all when none is."""
        return [self.find(name) for name in names] if names else list(self.labs)

    def holding(self, path: Path) -> Lab | None:
        r"""The lab in whose folder a path lies; one of another copy is refused, as `find` does."""
        path = path.resolve()
        around = (one for one in (path, *path.parents) if (one / "lab.toml").is_file())
        folder = next(around, None)
        return self.find(str(folder)) if folder else None


def read(folder: Path) -> Lab:
    r"""Read a lab's `lab.toml`. A key that is missing, unknown or impossible is refused."""
    stat = (folder / "lab.toml").stat()
    return _read(folder, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=512)
def _read(folder: Path, stamp: tuple[int, int]) -> Lab:
    # A page of the book asks for all labs, and there is a page for each: a file is read once.
    source = folder / "lab.toml"
    try:
        data = tomllib.loads(source.read_text(encoding="utf-8"))
        lab = _lab(folder, data)
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{source}: {error}") from None
    if not _FOLDER.fullmatch(folder.name):
        raise LabError(f"{folder}: a lab's folder is called lab-NN-slug")
    if lab.tag not in TAGS:
        raise LabError(f"{source}: tag {lab.tag!r} is none of {', '.join(TAGS)}")
    all_rows = lab.is_process and lab.competency == ALL_ROWS
    if not (1 <= lab.competency <= 8 or all_rows):
        raise LabError(f"{source}: competency {lab.competency} is not a row of the map, 1 to 8")
    return lab


def _lab(folder: Path, data: dict) -> Lab:
    kind = data.pop("kind", "code")
    if kind not in _KEYS:
        raise LabError(f"{folder / 'lab.toml'}: kind {kind!r} is none of {', '.join(_KEYS)}")
    if unknown := set(data) - _KEYS[kind]:
        raise LabError(f"{folder / 'lab.toml'}: unknown keys {sorted(unknown)}")
    if kind == "process":
        return _process(folder, data)
    return Lab(
        folder=folder.resolve(),
        title=data["title"],
        tag=data["tag"],
        minutes=int(data["minutes"]),
        competency=int(data["competency"]),
        tasks=tuple(data["tasks"]),
        after=tuple(data.get("after", ())),
        questions=_questions(data),
        seconds=float(data.get("seconds", 5.0)),
    )


def _process(folder: Path, data: dict) -> Lab:
    steps = tuple(Step(**step) for step in data["step"])
    if not steps or not data["grader"]:
        raise LabError(f"{folder / 'lab.toml'}: a process lab has steps and a grader")
    return Lab(
        folder=folder.resolve(),
        title=data["title"],
        tag=data["tag"],
        minutes=sum(step.minutes for step in steps),
        competency=int(data.get("competency", ALL_ROWS)),
        tasks=tuple(step.title for step in steps),
        after=tuple(data.get("after", ())),
        questions=_questions(data),
        steps=steps,
        grader=data["grader"],
    )


def _questions(data: dict) -> tuple[Question, ...]:
    return tuple(
        Question(**{**question, "choices": tuple(question.get("choices", ()))})
        for question in data.get("predict", ())
    )


def _means(wanted: str, lab: Lab) -> bool:
    phase, _, name = wanted.rpartition("/")
    if phase and not lab.phase.startswith(Path(phase).name):
        return False
    if name.isdigit():
        return lab.name.startswith(f"lab-{int(name):02d}-")
    return lab.name == name or lab.name.startswith(f"{name}-")
