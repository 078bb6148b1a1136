r"""What machine does the report ask for, and can the learner's stand in for it?

Counts of GPUs, names of cards and platforms, and sizes of models are read from the text. They are
what the reporter had, which is not always what the defect needs; but nobody can see a kernel's
fault without the kernel, so a report is taken at its word unless it says how to do without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from capstone.triage.findings import span

_CARDS = re.compile(
    r"\b(?:[ABH]\d{3}0?|GB\d{2,3}|L40S?|L4|V100|T4|MI\d{3}X?|RTX[ -]?\w*(?: \d{4})?|RDNA\d"
    r"|gfx\d+\w*|sm_?1?\d{2}a?|SM1?\d{2}|TPU|XPU|HPU|NPU|Gaudi|Ascend|DGX \w+|GPUs?|CUDA|ROCm)\b"
)
_MANY = re.compile(
    r"\b(\d+)\s*(?:x|×)?\s*(?:\w+\s+){0,2}?(?:GPUs?|[ABH]\d{3}|MI\d{3})"
    r"|\b(?:TP|tensor[_-]parallel(?:[_-]size)?)[ =]*(\d+)"
)
_SIZE = re.compile(r"(?<![\w.])(?:\w+-)*?(\d{1,4}(?:\.\d)?)\s?B\b(?!-?rate)")
_GIANTS = re.compile(r"\b(?:DeepSeek[- ]?(?:V\d|R1)|Kimi-K\d|GLM-\d|gpt-oss-120b)[\w.-]*", re.I)
#: The report says that it can be seen without the machine.
_WITHOUT = re.compile(
    r"\bno (?:GPU|model|CUDA) (?:is )?(?:needed|required|necessary)|\bwithout (?:a |the )?"
    r"(?:GPU|model|weights|CUDA)\b|\bon a CPU\b|\bCPU[- ]only\b|\+cpu\b|\bno (?:CUDA|GPU)\b"
    r"|\bpure(?:ly)? Python|\b(?:is|this) Python logic\b|\bhardware (?:does not|doesn['’]t) matter"
    r"|\b[Ii]ndependent of the (?:environment|hardware)|\benv(?:ironment)? independent\b"
)
_BYTES_A_WEIGHT = 2
_SMALL = 1.0  # billions of weights that any machine runs


@dataclass(frozen=True)
class Demand:
    r"""What the report asks for: GPU memory in GiB, the rule that says so, and where."""

    gib: float
    rule: str
    where: str


def demand(title: str, body: str) -> Demand | None:
    r"""The largest thing that the report asks for, or `None`."""
    found: list[Demand] = []
    for text, label in ((title, "title"), (body, "body")):
        for size in _SIZE.finditer(text):
            billions = float(size[1])
            # A size behind a card's name is its memory: `H100 80GB` does not match, `24 B` may.
            if billions > _SMALL:
                rule = f"a model of {billions:g} billion weights"
                found.append(
                    Demand(
                        billions * _BYTES_A_WEIGHT * 1e9 / 2**30, rule, span(label, *size.span())
                    )
                )
        for many in _MANY.finditer(text):
            count = int(many[1] or many[2])
            if count > 1:
                found.append(Demand(80.0 * count, f"{count} GPUs", span(label, *many.span())))
        for giant in _GIANTS.finditer(text):
            found.append(Demand(640.0, "a model for a whole server", span(label, *giant.span())))
        for card in _CARDS.finditer(text):
            found.append(Demand(16.0, "a GPU", span(label, *card.span())))
    return max(found, key=lambda one: one.gib, default=None)


def without(body: str) -> str | None:
    r"""Where the report says that the machine does not matter."""
    found = _WITHOUT.search(body)
    return span("body", *found.span()) if found else None
