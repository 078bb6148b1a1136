r"""`{correspondence} mini_vllm.core`: ours, its counterpart, both lengths, what ours leaves out.

Prints the rows of `book/correspondence.toml` whose module lies in a package: pairs first, then the
names that stand alone, grouped by the reason. With `:itself:` the rooms below are left to others.
A public name without a row ends the build.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import box, new_box
from book._ext.weave import shown
from book._ext.weave.source import Piece, locate
from book.correspondence import (
    DATA,
    CorrespondenceError,
    Row,
    of_room,
    problems,
    public_methods,
    read_rows,
)
from upstream_anchors.errors import AnchorError
from upstream_anchors.sphinx_domain.source import AnchorSource, source_of

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _read(stamp: int) -> list[Row]:
    return read_rows()


def rows() -> list[Row]:
    """The data, read again when the file has changed."""
    return _read(DATA.stat().st_mtime_ns)


class CorrespondenceDirective(SphinxDirective):
    """The rows of one room of the house."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {"itself": directives.flag}

    def run(self) -> list[nodes.Node]:
        """The room's box; an error for a room that has no row."""
        room, itself = self.arguments[0], "itself" in self.options
        self.env.note_dependency(str(DATA))
        try:
            chosen = of_room(rows(), room, itself=itself)
        except CorrespondenceError as error:
            raise self.error(str(error)) from error
        if not chosen:
            raise self.error(f"correspondence: no entry in {room}")
        table = new_box("correspondence")
        if any(row.anchor for row in chosen):
            table += _heads("ours", "upstream", "what ours leaves out")
        for row in chosen:
            if row.anchor:
                table += self.pair(row)
        # Each reason once, however many names share it.
        alone = [row for row in chosen if not row.anchor]
        for text, group in groupby(alone, key=lambda row: row.text):
            table += self.alone(text, list(group))
        return [table]

    def pair(self, row: Row) -> box:
        """Ours, theirs, and the sentence."""
        piece = self.piece(row)
        ours = f"{_link(row, piece)}\n\n{_lines(piece.last - piece.first + 1)}"
        theirs, shared = self.theirs(row, piece)
        halves = [("pair-ours", ours), ("pair-theirs", theirs), ("pair-text", row.text + shared)]
        return new_box("pair", *(new_box(css, *self.parsed(text)) for css, text in halves))

    def theirs(self, row: Row, piece: Piece) -> tuple[str, str]:
        """The counterpart with its length, and what can be said of the methods with the tree."""
        source = source_of(self.env)
        try:
            place = source.resolve(str(row.anchor))
        except AnchorError:
            return f"{{up}}`{row.anchor}`", ""  # the role says what is wrong
        length = (place.end or 0) - (place.start or 0) + 1
        text = f"{{up}}`{row.anchor}`\n\n{_lines(length)}, `{place.path}`"
        mine, yours = public_methods(piece.node), public_methods(_node(source, place))
        if not mine or len(yours) < 2:
            return text, ""
        shared = f"{len(mine & yours)} of its {len(yours)} public methods are in ours by name."
        return text, f"\n\n{shared}"

    def alone(self, text: str, group: list[Row]) -> box:
        """Names with no counterpart, and why."""
        names = ", ".join(_link(row, self.piece(row)) for row in group)
        left, right = self.parsed(names), self.parsed(text)
        return new_box("pair is-alone", new_box("pair-ours", *left), new_box("pair-text", *right))

    def piece(self, row: Row) -> Piece:
        """Ours, in the source; the page is made again when that changes."""
        piece = locate(row.full_name, (Path(self.env.srcdir),))
        shown.note(self.env, "in brief", row.full_name, piece)
        return piece

    def parsed(self, text: str) -> Iterator[nodes.Node]:
        """Markdown to nodes."""
        yield from self.parse_text_to_nodes(text)


def _heads(*texts: str) -> box:
    heads = (new_box("pair-head", nodes.paragraph("", text)) for text in texts)
    return new_box("pair is-heads", *heads)


def _link(row: Row, piece: Piece) -> str:
    role = "class" if isinstance(piece.node, ast.ClassDef) else "func"
    return f"{{py:{role}}}`~{row.full_name}`"


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"


def _in_brief(piece: Piece) -> object:
    length = piece.last - piece.first + 1
    return type(piece.node).__name__, length, sorted(public_methods(piece.node))


def _node(source: AnchorSource, place: Any) -> ast.AST | None:
    if source.resolver is None or place.symbol is None or not place.path.endswith(".py"):
        return None
    table = source.resolver.table(place.path)
    return table[place.symbol].node if place.symbol in table else None


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    try:
        found = problems(rows(), Path(env.srcdir) / "mini_vllm")
    except CorrespondenceError as error:
        found = [str(error)]
    for problem in found:
        logger.warning("correspondence: %s", problem, type="correspondence")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and the check of every build."""
    app.setup_extension("book._ext.weave")  # which asks whether a view has changed
    shown.VIEWS["in brief"] = _in_brief
    app.add_directive("correspondence", CorrespondenceDirective)
    app.connect("env-check-consistency", _check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
