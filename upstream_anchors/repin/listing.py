r"""The list that a person works through after the machine is done.

It names anchors, places and files, and no line of upstream's text: what stands in the two trees is
shown by `drift --diff --anchor TARGET`, one anchor at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from upstream_anchors.drift.fate import Fate
from upstream_anchors.drift.touched import Touched
from upstream_anchors.repin.decisions import KINDS, Decision, Move
from upstream_anchors.repin.edits import Edit
from upstream_anchors.repin.mentions import Count, Mention

_HEADS = {
    "renamed": "Renamed or moved to another file: take the new target, or choose another",
    "gone": "Gone: rewrite what rests on it, or take it out",
    "broken": "Still there, but not as it was typed: word the anchor anew",
    "changed": "Resolves, and says something else: read the pages that use it",
    "reworded": "Other comments, docstrings or layout: nothing to do, as a rule",
}
_LINES = 3


def summary(move: Move, fates: Sequence[Fate]) -> list[str]:
    r"""How many anchors there are of each kind, those without a decision first."""
    calm = len(fates) - len(move.decisions)
    lines = [f"{len(fates):,} anchors: {calm:,} are the same or have only moved."]
    for kind in KINDS:
        count = len(move.of_kind(kind))
        if count:
            lines.append(f"{count:6,}  {kind:9} {_HEADS[kind]}")
    return lines


def listing(move: Move, touched: Mapping[str, list[Touched]]) -> Iterator[str]:
    r"""Every decision, by kind: the anchor, where it is now, the new target, who uses it."""
    for kind in KINDS:
        decisions = move.of_kind(kind)
        if decisions:
            yield ""
            yield f"{kind.upper()} ({len(decisions):,}). {_HEADS[kind]}."
        for decision in decisions:
            yield from _entry(decision, touched.get(decision.target, []))


def _entry(decision: Decision, readers: Sequence[Touched]) -> Iterator[str]:
    fate = decision.fate
    yield f"  {decision.target}"
    if decision.kind != "gone":
        size = (
            f"; {fate.removed} lines less, {fate.added} more" if fate.added or fate.removed else ""
        )
        score = f"; likeness {fate.score:.2f}" if fate.score is not None else ""
        yield f"      now  {fate.where}{size}{score}"
    if decision.reason and decision.kind == "broken":
        yield f"      why  {decision.reason}"
    if fate.note:
        yield f"      note {fate.note}"
    if decision.suggestion:
        yield f"      take {decision.suggestion}"
    if decision.kind in {"renamed", "gone", "broken"}:
        yield from (f"      edit {use.file}, line {use.line}" for use in decision.uses)
    # What was renamed and rewritten as well needs its readers as much as what only changed.
    if readers and (decision.kind in {"changed", "reworded"} or fate.text == "changed"):
        yield f"      read {', '.join(reader.name for reader in readers)}"


def mentions_listing(mentions: Iterable[Mention], counts: Iterable[Count]) -> Iterator[str]:
    r"""The facts that are no anchors: files that name the old release, and counts that differ."""
    for count in counts:
        yield f"  {count.what}: {count.old:,} then, {count.new:,} now"
    advice = ""
    for mention in mentions:
        if mention.advice != advice:
            advice = mention.advice
            yield f"  {advice[0].upper()}{advice[1:]}:"
        lines = ", ".join(map(str, mention.lines[:_LINES]))
        more = f" and {mention.count - _LINES} more" if mention.count > _LINES else ""
        yield f"      {mention.file}, line {lines}{more}"


def edits_listing(
    edits: Sequence[Edit], missed: Sequence[tuple[str, str]], applied: bool
) -> Iterator[str]:
    r"""The edits that were made, or that `--apply-renames` would make."""
    if applied:
        yield f"{len(edits):,} edits made:"
    elif edits:
        yield f"{len(edits):,} edits that `--apply-renames` would make; none was made:"
    yield from (f"  {edit}" for edit in edits)
    for file, target in missed:
        yield f"  {file}: {target} is not spelled there as one target; edit it by hand"
