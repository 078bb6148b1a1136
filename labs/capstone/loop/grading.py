r"""From an answer to a score of 0 to 4.

**What is given.** The learner compares the answer with the model answer and gives each layer 0 (not
there), 1 (in part) or 2 (as the model answer has it). Call them $m$, $a$ and $c$: mechanism,
invariant or arithmetic, consequence in operation.

**What a machine can say** lowers them, never raises them:

- Of the values that the question demands ({py:mod}`capstone.loop.checks`), all that are needed are
  reached: $a$ stays. Some, but fewer: $a \le 1$. None: $a = 0$.
- A design that names fewer than half of its knobs: $m \le 1$.
- A walk to a cause that earned $w$ points ({py:mod}`capstone.loop.walk`): $m \le w$. If the parts
  that are typed stayed empty, $a = c = 0$.
- An answer without a word: $m = a = c = 0$.

**The score** is $\lfloor 4 (m + a + c) / 6 \rfloor$: four only for all three layers in full, three
for one layer in part, two when one layer is missing.

**The caps.** The score is at most 2 if

- *peek*: the model answer was asked for before the answer was ended; or
- *skipped arithmetic*: the question demands values and the answer holds no number at all, or the
  question demands none and $a = 0$.

The second follows from the sum as it stands ($2 + 0 + 2$ makes 2). It is applied all the same, so
that nobody loosens the sum and with it the rule.

A score depends on the answer, the peek, the three grades and the demand; not on time. Overtime is
recorded and shown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capstone.errors import CapstoneError
from capstone.loop.amounts import amounts
from capstone.loop.checks import Finding, Verdict, check
from capstone.loop.item import LAYERS, Item
from capstone.loop.walk import Walked, judge

FULL = 2  # points of a layer
BEST = 4
CAP = 2
#: What a layer's points mean, as the prompt and the rubric print it.
RUBRIC = ("not there", "in part", "as the model answer has it")


@dataclass(frozen=True)
class Limits:
    r"""What a machine found in an answer, and what each layer may have at most."""

    highest: Mapping[str, int]
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    numbers: int
    blank: bool


@dataclass(frozen=True)
class Grade:
    r"""The score of one answer and how it came about."""

    layers: Mapping[str, int]
    raw: int
    score: int
    peeked: bool
    skipped: bool
    limits: Limits

    @property
    def caps(self) -> tuple[str, ...]:
        r"""The caps that hold for this answer, whether or not they lowered it."""
        return ("peek",) * self.peeked + ("skipped arithmetic",) * self.skipped


def examine(item: Item, answer: Mapping[str, str], walked: Walked | None = None) -> Limits:
    r"""Read an answer by machine; `answer` maps the item's parts to what was typed.

    `walked` is how its tree was walked; none for an item without a tree, or of a transcript that is
    older than the walk.
    """
    whole = "\n".join(answer.get(key, "") for key, _ in item.parts)
    if item.tree is None:
        walked = None
    if not whole.strip() and not (walked and (walked.looks or walked.cause)):
        return Limits(dict.fromkeys(LAYERS, 0), (), ("nothing was written",), 0, True)
    sums = answer.get("arithmetic", "") if "arithmetic" in dict(item.parts) else whole
    highest = dict.fromkeys(LAYERS, FULL)
    reasons: list[str] = []
    findings = check(item.demand, sums)
    if item.demand.needed:
        met = sum(finding.verdict is Verdict.MET for finding in findings)
        highest["arithmetic"] = FULL if met >= item.demand.needed else min(met, 1)
        tally = f"{met} of {len(findings)} values reached, {item.demand.needed} needed"
        few = f": arithmetic at most {highest['arithmetic']}" if met < item.demand.needed else ""
        reasons.append(tally + few)
    if item.tree is not None and walked:
        verdict = judge(item.tree, walked)
        highest["mechanism"] = verdict.points
        reasons = [*verdict.sentences(), *reasons]
        if not whole.strip():
            highest |= {"arithmetic": 0, "consequence": 0}
            reasons.append("nothing was written beside the walk: mechanism alone counts")
    if item.knobs:
        named = sum(_named(flag, whole) for flag in item.knobs)
        if 2 * named < len(item.knobs):
            highest["mechanism"] = 1
            reasons.append(f"{named} of {len(item.knobs)} knobs named: mechanism at most 1")
    return Limits(highest, tuple(findings), tuple(reasons), len(list(amounts(sums))), False)


def _named(flag: str, text: str) -> bool:
    """A flag as it stands, or as the field of the config is written."""
    name = flag.removeprefix("--")
    return any(form in text for form in (name, name.replace("-", "_")))


def grade(item: Item, limits: Limits, points: Mapping[str, int], *, peeked: bool) -> Grade:
    r"""Apply the formula; `points` are the learner's, one of 0, 1, 2 for each layer."""
    for layer, given in points.items():
        if layer not in LAYERS or given not in range(FULL + 1):
            raise CapstoneError(f"{item.id}: {layer} {given!r}: a layer has 0, 1 or 2 points")
    layers = {layer: min(points.get(layer, 0), limits.highest[layer]) for layer in LAYERS}
    if item.demand.needed:
        skipped = limits.numbers == 0
    else:
        skipped = layers["arithmetic"] == 0
    raw = BEST * sum(layers.values()) // (FULL * len(LAYERS))
    score = min(raw, CAP) if peeked or skipped else raw
    return Grade(layers, raw, score, peeked, skipped, limits)
