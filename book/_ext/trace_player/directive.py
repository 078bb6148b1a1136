r"""`{trace}`: a figure with a player in it, numbered and captioned like any other."""

from __future__ import annotations

from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from book._ext.trace_player.still import PANELS, player
from book._ext.trace_player.store import note_use, recording_of


def panels(argument: str | None) -> tuple[str, ...]:
    """`requests, budget` as a tuple in the order of the page; an unknown name is an error."""
    wanted = [part.strip() for part in (argument or "").split(",") if part.strip()]
    unknown = [part for part in wanted if part not in PANELS]
    if unknown or not wanted:
        given = ", ".join(unknown) or "nothing"
        raise ValueError(f"{given}: choose from {', '.join(PANELS)}")
    return tuple(part for part in PANELS if part in wanted)


class TraceDirective(SphinxDirective):
    """Record a scenario, or take its recording from the cache, and put it on the page."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {
        "steps": directives.nonnegative_int,
        "start": directives.nonnegative_int,
        "show": panels,
        "caption": directives.unchanged_required,
        "name": directives.unchanged,
        "compact": directives.flag,
        "plays": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        """A figure; the caption says what to look at, and a trace without one is refused."""
        scenario = self.arguments[0]
        if "caption" not in self.options:
            raise self.error(f"trace: {scenario} has no :caption:")
        limit = self.options.get("steps")
        try:
            recording = recording_of(scenario)
        except LookupError as problem:
            raise self.error(f"trace: {problem}") from problem
        if limit is not None:
            if not 1 <= limit <= recording.num_steps:
                raise self.error(f"trace: :steps: {limit}; {scenario} has {recording.num_steps}")
            recording = recording.shortened(limit)
        start = self.options.get("start", 1)
        if start > recording.num_steps:
            raise self.error(f"trace: :start: {start}; {scenario} has {recording.num_steps} steps")
        uses = note_use(self.env, scenario)
        element_id = f"trace-{scenario}" + (f"-{uses}" if uses > 1 else "")
        markup = player(
            recording,
            element_id,
            self.options.get("show", PANELS),
            start,
            compact="compact" in self.options,
            plays=self.options.get("plays", 0),
        )
        figure = nodes.figure("", nodes.raw("", markup, format="html"), classes=["trace-figure"])
        figure += self._caption()
        self.set_source_info(figure)
        self.add_name(figure)
        if not figure["ids"]:
            self.state.document.note_implicit_target(figure)
        return [figure]

    def _caption(self) -> nodes.caption:
        children, messages = self.parse_inline(self.options["caption"])
        return nodes.caption("", "", *children, *messages)
