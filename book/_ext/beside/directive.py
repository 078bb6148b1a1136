r"""`{beside}`: read what is asked for, find both sides, and lay them out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from book._ext.beside.marked_code import LETTERS, MarkedCode
from book._ext.beside.selection import Line, SelectionError, select
from book._ext.weave.shown import note
from book._ext.weave.source import SourceError, code_without_docstrings, locate
from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import link_to, upstream_domain, warn_missing
from upstream_anchors.sphinx_domain.highlighting import highlight_lines, language_of
from upstream_anchors.sphinx_domain.naming import line_span
from upstream_anchors.sphinx_domain.source import source_of

_PAIR = re.compile(
    r"(?P<letter>[A-Z]):\s+(?P<words>.+?)\s+::\s+(?P<ours>.+?)\s+::\s+(?P<theirs>.+)"
)
FOLD_AFTER = 36


class Pair(NamedTuple):
    """A letter, what it says, and where that is on both sides, as the writer put it."""

    letter: str
    words: str
    ours: str
    theirs: str


class Side(NamedTuple):
    """One column: its lines by number, those chosen, and where its definition begins."""

    key: str
    lines: list[Line]
    first: int
    language: str
    label: str


class Beside(SphinxDirective):
    r"""See {py:mod}`book._ext.beside` for what a writer may say."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict] = {
        "caption": directives.unchanged_required,
        "ours-lines": directives.unchanged_required,
        "theirs-lines": directives.unchanged_required,
        "ours-emphasize": directives.unchanged_required,
        "theirs-emphasize": directives.unchanged_required,
        "fold": directives.positive_int,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Two columns below a caption, and the letters explained."""
        ours_name, separator, target = map(str.strip, self.arguments[0].partition("::"))
        if not separator:
            raise self.error("beside: the argument should read `ours.dotted.name :: anchor`")
        if "caption" not in self.options:
            raise self.error("beside: say what to look at, with `:caption:`")
        try:
            place = source_of(self.env).resolve(target)
            if place.start is None:
                raise AnchorError(f"{place.target}: name a definition, not a whole file")
        except AnchorError as error:
            warn_missing(error, self.get_location())
            self.env.note_reread()
            return []
        upstream_domain(self.env).note_use(self.env.docname, place.target)
        try:
            pairs = self._pairs()
            ours = self._ours(ours_name)
            theirs = self._theirs(place)
            left = self._column(ours, self._our_link(ours_name, ours), pairs)
            right = self._their_column(place, theirs, pairs)
        except (SourceError, SelectionError) as problem:
            raise self.error(f"beside {self.arguments[0]}: {problem}") from problem
        box = nodes.container(classes=["beside", "full-width"])
        words, _ = self.parse_inline(self.options["caption"])
        box += nodes.paragraph("", "", *words, classes=["beside-caption"])
        box += nodes.container("", left, right, classes=["beside-columns"])
        if pairs:
            box += self._legend(pairs)
        self.set_source_info(box)
        self.add_name(box)
        return [box]

    def _pairs(self) -> list[Pair]:
        pairs: list[Pair] = []
        for line in filter(str.strip, self.content):
            match = _PAIR.fullmatch(line.strip())
            if match is None:
                raise SelectionError(f"a pair should read `A: words :: ours :: theirs`: {line!r}")
            pairs.append(Pair(**match.groupdict()))
        letters = [pair.letter for pair in pairs]
        if letters != list(LETTERS[: len(letters)]):
            raise SelectionError(
                f"letters run from A to at most {LETTERS[-1]}, in order: {', '.join(letters)}"
            )
        return pairs

    def _ours(self, name: str) -> Side:
        roots = tuple(Path(root) for root in self.config.weave_roots)
        piece = locate(name, roots)
        note(self.env, "code", name, piece)
        shown = code_without_docstrings(piece)
        if not shown:
            raise SourceError(f"{name}: nothing is left to show")
        root = min((r for r in roots if piece.path.is_relative_to(r)), key=lambda r: len(r.parts))
        path = piece.path.relative_to(root).as_posix()
        return Side("ours", shown, piece.first, "python", path)

    def _theirs(self, place: Place) -> Side | None:
        tree = source_of(self.env).tree
        if tree is None:
            return None
        first, last = place.start or 1, place.end or 1
        lines = [line.rstrip() for line in tree.lines(place.path)[first - 1 : last]]
        margin = min(len(line) - len(line.lstrip()) for line in lines if line)
        numbered = [(first + i, line[margin:]) for i, line in enumerate(lines)]
        return Side("theirs", numbered, first, language_of(place.path), place.path)

    def _column(self, side: Side, link: nodes.Node, pairs: list[Pair]) -> nodes.container:
        wanted = self.options.get(f"{side.key}-lines", "1-")
        numbers = set(select(wanted, side.lines, side.first))
        shown = [line for line in side.lines if line[0] in numbers]
        marked: set[int] = set()
        if spec := self.options.get(f"{side.key}-emphasize"):
            marked = set(select(spec, shown, side.first))
        ranges = [(p.letter, select(getattr(p, side.key), shown, side.first)) for p in pairs]
        coloured = highlight_lines("\n".join(text for _, text in side.lines), side.language)
        html = dict(zip((number for number, _ in side.lines), coloured))
        margin = min((len(t) - len(t.lstrip()) for _, t in shown if t), default=0)
        rows = []
        for number, _ in shown:
            begins = "".join(letter for letter, lines in ranges if lines[0] == number)
            holds = "".join(letter for letter, lines in ranges if number in lines)
            bare = html[number].removeprefix(" " * margin)
            rows.append((number, bare, begins, holds, number in marked))
        code = "\n".join(text[margin:] for _, text in shown)
        block = MarkedCode(code, code, language=side.language, force=True, rows=rows)
        block["fold"] = self.options.get("fold", FOLD_AFTER)
        block["label"] = f"{side.label}, lines {shown[0][0]} to {shown[-1][0]}"
        self.set_source_info(block)
        span = line_span(shown[0][0], shown[-1][0])
        head = nodes.paragraph("", "", link, nodes.Text(f" · {span}"), classes=["beside-where"])
        return nodes.container("", head, block, classes=["beside-column", f"beside-{side.key}"])

    def _our_link(self, name: str, ours: Side) -> nodes.Node:
        short = ".".join(name.split(".")[-2:])
        text = nodes.literal("", f"{ours.label} · {short}")
        link = addnodes.pending_xref(
            "", text, refdomain="py", reftype="obj", reftarget=name, refexplicit=True
        )
        link["beside"] = True
        link["refdoc"] = self.env.docname
        return link

    def _their_column(
        self, place: Place, theirs: Side | None, pairs: list[Pair]
    ) -> nodes.container:
        link = link_to(self.env, place, nodes.literal("", f"{place.path} · {place.symbol}"))
        link["classes"].append("up-quiet")
        if theirs is not None:
            return self._column(theirs, link, pairs)
        notice = nodes.paragraph(
            "",
            f"Upstream's side is not here: this page was built without the tree of "
            f"{source_of(self.env).pin}. The link above leads to the lines.",
        )
        head = nodes.paragraph("", "", link, classes=["beside-where"])
        return nodes.container("", head, notice, classes=["beside-column", "up-absent"])

    def _legend(self, pairs: list[Pair]) -> nodes.bullet_list:
        legend = nodes.bullet_list(classes=["beside-legend"])
        for pair in pairs:
            words, _ = self.parse_inline(pair.words)
            letter = nodes.strong("", pair.letter, classes=[f"beside-{pair.letter}"])
            legend += nodes.list_item("", nodes.paragraph("", "", letter, nodes.Text(" "), *words))
        return legend


def connect_links(app: Sphinx) -> None:
    """Our side links to where the book documents the object; where it does not, it is text."""
    app.connect("missing-reference", _leave_as_text)


def _leave_as_text(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    return content if node.get("beside") else None
