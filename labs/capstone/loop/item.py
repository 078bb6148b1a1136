r"""What is asked: one shape for questions, scenarios and symptoms.

Each is a prompt with minutes, rows of the competency map, and a model answer in three layers. They
differ in the parts that an answer is typed in, and in what is listed beside the model answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from capstone.loop.checks import Demand
from capstone.loop.tree import Tree

#: The sessions, in order: key → title.
SESSIONS: dict[str, str] = {
    "rapid-fire": "Rapid-fire fundamentals",
    "deep-dive": "Systems deep dive",
    "design": "Design",
    "debugging": "Debugging",
}
#: The layers of every answer: key → title.
LAYERS: dict[str, str] = {
    "mechanism": "Mechanism",
    "arithmetic": "Invariant and arithmetic",
    "consequence": "Consequence in operation",
}


#: The part of a symptom's answer that is walked, and not typed.
WALK = "tree"


@dataclass(frozen=True)
class Item:
    r"""One thing that is asked.

    `parts` are the pieces of an answer, typed one after the other: key and prompt. Numbers are
    looked for in the part `arithmetic` where there is one, else in the whole answer. `knobs` are
    flags of which a design should name at least half. `listed` is shown with the model answer:
    headings and lines, such as the risks of a design or the tree of a symptom. `tree` is there
    where the part {py:data}`WALK` is walked check by check.
    """

    id: str
    session: str
    title: str
    prompt: str
    minutes: int
    rows: tuple[int, ...]
    layers: dict[str, str]
    demand: Demand
    source: str
    parts: tuple[tuple[str, str], ...] = (("answer", ""),)
    knobs: tuple[str, ...] = ()
    listed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tree: Tree | None = None
