r"""What stands in a plan, and in which order?

The order is that of a reviewer's questions: what is wrong, where, what must stay true, what will
you do, how will I know, what else could break, how large is it, and what is it not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from capstone.plan.markdown import Document, Item, Section

#: Section → what belongs there, as the frame says it.
SECTIONS: dict[str, str] = {
    "Problem": "what goes wrong, for whom, and how one sees it, in two or three sentences",
    "Load-bearing lines": "each line that the change rests on, as an anchor, and why it matters",
    "Invariants": "what stays true: `id`: how, or new: a predicate that names state; how",
    "Change": "what you will do, and why there",
    "Regression test": "an existing place under tests/, and what fails there today",
    "Blast radius": "a line each: an anchor, or the reason why it cannot be reached",
    "Size": "lines of the diff, code and tests",
    "Benchmark": "the method, or that no claim is made",
    "Out of scope": "what a reader could expect here and will not get",
    "Before the first commit": "ticked when it is done",
}

#: The four things that a change of an inference engine breaks elsewhere.
RADIUS = ("TP", "Quantization", "LoRA", "Speculative decoding")

#: One page: what fits one sheet at eleven points.
MOST_WORDS, MOST_LINES = 650, 90

#: Lines of a diff that one reviewer reads in one sitting.
FEWEST_CHANGED, MOST_CHANGED, RFC_BEYOND = 50, 200, 500

_CLAIM = re.compile(
    r"\b(faster|speed(s|ed)?[ -]?up|speeds?|throughput|latency|slower|overhead|"
    r"TTFT|TPOT|ITL|tok/s|tokens per second|memory savings?|less memory|performance)\b",
    re.IGNORECASE,
)
_DISCLAIMED = re.compile(r"\bno (performance )?claim\b", re.IGNORECASE)
_NO_CLAIM = re.compile(
    r"\b(no|not any|without|neither|nothing)\b[^.;]{0,40}$|\bnot\b[^.;]{0,20}$", re.I
)
_ESTIMATE = re.compile(r"(\d[\d,]*)\s*lines\b(.*)", re.DOTALL)
_PARTS = re.compile(r"(\d[\d,]*)\s+(code|tests?|docs?)\b")


@dataclass(frozen=True)
class Estimate:
    r"""The size a plan expects: lines of the diff, its parts, and what is said beside them."""

    line: int
    total: int
    parts: tuple[int, ...]
    reason: str


class Plan:
    r"""A document, read as a plan; what it lacks is empty here and a complaint elsewhere."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.header = document.top.fields()

    def section(self, title: str) -> Section:
        r"""The section of that title, an empty one at line 0 if there is none."""
        return self.document.by_title.get(title, Section(title, 0))

    def field(self, section: str, key: str) -> Item:
        r"""A `Key: value` of a section; an empty one where the section stands."""
        there = self.section(section)
        return there.fields().get(key, Item(there.line, ""))

    @property
    def name(self) -> str:
        r"""The title of the change, `Plan:` left out."""
        return self.document.title.removeprefix("Plan:").strip()

    @property
    def issue(self) -> str:
        r"""The number of the issue, `""` if none is named."""
        found = re.search(r"#(\d+)\b|/issues/(\d+)\b", self.header.get("Issue", Item(0, "")).text)
        return (found[1] or found[2]) if found else ""

    @property
    def prefix(self) -> str:
        r"""What the title of the pull request will begin with."""
        return self.header.get("Prefix", Item(0, "")).text.strip("` ")

    @property
    def place(self) -> str:
        r"""The path of the test file, without the name of a test in it."""
        text = self.field("Regression test", "Place").text
        spans = re.findall(r"`([^`]+)`", text) or text.split()[:1]
        return spans[0].partition("#")[0].partition("::")[0] if spans else ""

    @property
    def estimate(self) -> Estimate | None:
        r"""The estimated size, `None` if no number of lines is given."""
        item = self.field("Size", "Estimate")
        found = _ESTIMATE.search(item.text)
        if not found:
            return None
        parts = tuple(_number(number) for number, _ in _PARTS.findall(found[2]))
        return Estimate(item.line, _number(found[1]), parts, found[2])

    @property
    def claim(self) -> str:
        r"""The word by which the plan promises performance, `""` if it promises none.

        Looked for in the title, the problem and the change. A word that a `no` or `not` of the
        same clause takes back is no promise.
        """
        texts = [self.name, self.section("Problem").prose, self.section("Change").prose]
        return next(filter(None, map(claimed, texts)), "")

    def touched(self) -> list[str]:
        r"""The paths that the plan speaks of as load-bearing, and its test: what may change."""
        spans = re.findall(r"`([^`]+)`", self.section("Load-bearing lines").prose)
        spans += re.findall(r"`([^`]+)`", self.section("Change").prose)
        paths = [re.split(r"[#@]", span)[0] for span in spans if "/" in span]
        return list(dict.fromkeys([*paths, self.place] if self.place else paths))


def disclaimed(text: str) -> bool:
    r"""Whether a text says that it claims nothing: `no claim`, or `no performance claim`."""
    return bool(_DISCLAIMED.search(text))


def claimed(text: str) -> str:
    r"""The first word of a text that promises performance and is not taken back."""
    plain = re.sub(r"`[^`]*`", " ", text)
    for found in _CLAIM.finditer(plain):
        if not _NO_CLAIM.search(plain[: found.start()]):
            return found[0]
    return ""


def _number(text: str) -> int:
    return int(text.replace(",", ""))
