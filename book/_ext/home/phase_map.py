r"""`{phases}`: all twenty phases, and what leads to what.

On a page it is a list, and for everybody who does not look at it, it stays one: number, title,
what the phase is about, what it goes on from, labs and minutes. On a wide screen the style lays the
same items out as a map, at the places of `book/phases.toml`, over the lines that
{py:func}`edges` draws from their needs; nothing is said twice. A phase that is not written says so
and is no link.

The box with `data-progress-phase` belongs to the script that knows the reader's progress: it puts
its own text there, and sets `--done`, from 0 to 1, for the bar below it.
"""

from __future__ import annotations

from collections.abc import Iterable

from docutils import nodes

from book._ext.boxes import new_box
from book._ext.cards import CardDirective, note_contents
from book.phases import REGISTRY, Phase, phases
from book.reading_time import in_words

#: Units of the drawing a column, a row, and from a row's edge to the edge of what stands in it.
COLUMN, ROW, INSET = 100, 120, 12
COLUMNS = 7


class PhaseMap(CardDirective):
    """All phases, as they stand."""

    def run(self) -> list[nodes.Node]:
        """How many are written, the list over its lines, the hidden table of contents."""
        self.env.note_dependency(str(REGISTRY))
        every = phases()
        written = [phase for phase in every if phase.written(self.root)]
        note_contents(self.env, [phase.guide for phase in written])
        verb = "is" if len(written) == 1 else "are"
        state = (
            f"{len(written)} of {len(every)} phases {verb} written. "
            "A phase goes on from those that lead to it."
        )
        listing = nodes.bullet_list(classes=["phase-list"])
        for phase in every:
            listing += self._item(phase, every, phase in written)
        rows = 1 + max(phase.place[0] for phase in every)
        lines = nodes.raw("", drawing(every, rows), format="html")
        box = new_box("phase-map", self.text(state, "phases-state"), lines, listing)
        toc = ["```{toctree}", ":hidden:", ":caption: Phases", ""]
        toc += [f"/{phase.guide}" for phase in written]
        contents = self.parse_text_to_nodes("\n".join([*toc, "```"])) if written else []
        return [box, *contents]

    def _item(self, phase: Phase, every: list[Phase], written: bool) -> nodes.list_item:
        row, column = phase.place
        last = phase is every[-1]
        css = ["phase-node", f"at-row-{row}", "at-all" if last else f"at-col-{column}"]
        item = nodes.list_item(classes=css if written else [*css, "not-written"])
        title = nodes.paragraph(classes=["phase-title"])
        number = f"{phase.number:02d}"
        title += [nodes.inline(number, number, classes=["phase-number"]), nodes.Text(" ")]
        title += self.link(phase.title, phase.guide) if written else nodes.inline("", phase.title)
        item += [title, self.text(phase.line, "phase-line")]
        item += self.text(_needs(phase, every), "phase-needs")
        if not written:
            item += self.text("not written yet", "phase-unwritten")
        elif labs := self.labs(phase.folder):
            minutes = sum(lab.minutes for lab in labs)
            count = nodes.Text(f"0 / {len(labs)} labs, {in_words(minutes)}")
            item += new_box(
                "phase-progress", count, **{"progress-phase": number, "progress-form": "labs"}
            )
        return item


def _needs(phase: Phase, every: list[Phase]) -> str:
    if not phase.needs:
        return "Begins the book."
    if phase is every[-1]:
        return "Goes on from all of them."
    names = [f"{p.number:02d}" for p in every if p.slug in phase.needs]
    return f"Goes on from {_listed(names)}."


def _listed(words: list[str]) -> str:
    return " and ".join(", ".join(words).rsplit(", ", 1))


def edges(every: list[Phase]) -> list[tuple[Phase, Phase]]:
    """Who leads to whom; not to the last phase, which all the others lead to."""
    by_slug = {phase.slug: phase for phase in every}
    return [(by_slug[slug], phase) for phase in every[:-1] for slug in phase.needs]


def drawing(every: list[Phase], rows: int) -> str:
    """The lines below the list, in units that the style stretches to the list's width."""
    taken = {phase.place for phase in every[:-1]}
    paths = "".join(
        f'<path data-from="{a.number:02d}" data-to="{b.number:02d}" d="{_way(a, b, taken)}"/>'
        for a, b in edges(every)
    )
    size = f"0 0 {COLUMN * COLUMNS} {ROW * rows}"
    return (
        f'<svg class="phase-lines" viewBox="{size}" preserveAspectRatio="none" '
        f'aria-hidden="true" focusable="false">{paths}</svg>'
    )


def _way(start: Phase, end: Phase, taken: Iterable[tuple[int, int]]) -> str:
    """From the foot of one to the head of the other, around whatever stands between."""
    (row, column), (last, goal) = start.place, end.place
    x = COLUMN * column + COLUMN // 2
    if row == last:
        y = ROW * row + ROW // 2
        return f"M{x} {y}H{COLUMN * goal + COLUMN // 2}"
    way = [f"M{x} {ROW * (row + 1) - INSET}"]
    for between in range(row + 1, last + 1):
        if between == last:
            to = COLUMN * goal + COLUMN // 2
        elif (between, (x - COLUMN // 2) / COLUMN) not in taken:
            to = x
        elif (between, goal) not in taken:
            to = COLUMN * goal + COLUMN // 2
        else:  # between two columns, on the side where it has to go, or on the right
            to = x + (-COLUMN // 2 if COLUMN * goal + COLUMN // 2 < x else COLUMN // 2)
        above, below = ROW * between - INSET, ROW * between + INSET
        middle = ROW * between
        way.append(f"L{x} {above}C{x} {middle} {to} {middle} {to} {below}")
        x = to
        if between != last:
            way.append(f"L{x} {ROW * (between + 1) - INSET}")
    return "".join(way)
