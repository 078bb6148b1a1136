r"""The codebase map on a page: the drawing, the table, and who is imported most.

All of it is computed from the tree when the page is built. Without the tree there is nothing to
compute it from, and a notice stands in its place.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from upstream_anchors.codebase_map.graph import CodeGraph
from upstream_anchors.codebase_map.part import FileEntry, Part, choose_part
from upstream_anchors.codebase_map.picture import describe, draw, implied_imports
from upstream_anchors.errors import AnchorError
from upstream_anchors.sphinx_domain.domain import link_to, warn_missing
from upstream_anchors.sphinx_domain.source import source_of

_FEW = 2


class _FromTheGraph(SphinxDirective):
    # Asks for the graph, or puts the notice.

    def run(self) -> list[nodes.Node]:
        source = source_of(self.env)
        if source.tree is None:
            text = (
                f"What stands here is computed from the tree of {source.pin}, and this page was "
                "built without it."
            )
            return [
                nodes.container("", nodes.paragraph("", text), classes=["up-code", "up-absent"])
            ]
        try:
            return self.from_graph(CodeGraph.cached(source.tree, source.pin))
        except AnchorError as error:
            warn_missing(error, self.get_location())
            self.env.note_reread()
            return []

    def from_graph(self, graph: CodeGraph) -> list[nodes.Node]:
        raise NotImplementedError

    def link(self, path: str, shown: str = "") -> nodes.Node:
        r"""A link to a file of the tree."""
        place = source_of(self.env).resolve(path)
        return link_to(self.env, place, nodes.literal("", shown or path, classes=["up"]))

    def table(
        self, heads: list[str], rows: list[list[list[nodes.Node]]], numbers: range = range(0)
    ) -> nodes.table:
        r"""A table of rows of cells of inline nodes; the columns `numbers` end flush right."""
        group = nodes.tgroup(cols=len(heads))
        group += [nodes.colspec(colwidth=1) for _ in heads]
        group += nodes.thead("", _row([[nodes.Text(head)] for head in heads]))
        group += nodes.tbody("", *map(_row, rows))
        for row in group.findall(nodes.row):
            for column in numbers:
                row[column]["classes"] += ["text-right"]
        return nodes.table("", group, classes=["up-map"])


class MapPicture(_FromTheGraph):
    r"""`{map-picture} PART…`: the files of a part and their imports, importers above.

    The caption says what was left out. A reader who cannot see it is told the rows.
    """

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def from_graph(self, graph: CodeGraph) -> list[nodes.Node]:
        r"""The drawing with its caption."""
        part = choose_part(graph, self.arguments[0].split())
        drawing = f'<div class="figure-scroll">{draw(part)}</div>'
        caption = (
            f"{len(part.entries)} files at the pin, importers above what they import, and how many "
            f"files from outside import each. {implied_imports(part)} imports are left out because "
            "a chain of others implies them."
        )
        figure = nodes.figure("", nodes.raw("", drawing, format="html"), align="default")
        figure += nodes.caption("", caption)
        # A raw node is dropped by every other builder, so what it shows is said there in words.
        spoken = addnodes.only("", nodes.paragraph("", describe(part)), expr="not html")
        return [figure, spoken]


class MapTable(_FromTheGraph):
    r"""`{map-table} PART…`: a row a file, with its size, its importers and its callers."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def from_graph(self, graph: CodeGraph) -> list[nodes.Node]:
        r"""The table."""
        part = choose_part(graph, self.arguments[0].split())
        heads = ["File", "Lines", "Imported by", "Called from"]
        rows = [self._file(part, entry) for entry in part.entries]
        return [self.table(heads, rows, range(1, 2))]

    def _file(self, part: Part, entry: FileEntry) -> list[list[nodes.Node]]:
        root = min(part.names, key=len)
        importers = f"{len(entry.importers)}, {part.outside_importers(entry)} from outside"
        callers: list[nodes.Node] = []
        who = list(dict.fromkeys((c.path, c.caller) for c in entry.callers))
        for path, symbol in who[:_FEW]:
            callers += [nodes.Text(", ")] if callers else []
            callers.append(nodes.literal("", symbol or path))
        if len(who) > _FEW:
            callers.append(nodes.Text(f" and {len(who) - _FEW:,} more"))
        return [
            [self.link(entry.path, entry.path.removeprefix(f"{root}/"))],
            [nodes.Text(f"{entry.file.lines:,}")],
            [nodes.Text(importers)],
            callers or [nodes.Text("no call that was followed")],
        ]


class MostImported(_FromTheGraph):
    r"""`{most-imported} 10`: the files of the package that most files import."""

    has_content = False
    required_arguments = 1

    def from_graph(self, graph: CodeGraph) -> list[nodes.Node]:
        r"""The table, with how many of the importers do so only lazily or for types."""
        count = directives.positive_int(self.arguments[0])
        rows: list[list[list[nodes.Node]]] = []
        for path, importers in graph.most_imported(count):
            moments = [{one.when for one in found} for found in graph.importers[path].values()]
            cells = [importers, *(sum(m == {w} for m in moments) for w in ("typing", "lazy"))]
            rows.append([[self.link(path)], *([nodes.Text(f"{n:,}")] for n in cells)])
        heads = ["File", "Importers", "only for types", "only lazily"]
        return [self.table(heads, rows, range(1, 4))]


class MapTally(_FromTheGraph):
    r"""`{map-tally}`: files, imports, and how many calls of the package could be followed."""

    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def from_graph(self, graph: CodeGraph) -> list[nodes.Node]:
        r"""The sentence, and the reasons for what was not followed, most frequent first."""
        reasons: dict[str, int] = {}
        for file in graph.files.values():
            for reason, count in file.unresolved.items():
                reasons[reason] = reasons.get(reason, 0) + count
        calls = sum(file.calls for file in graph.files.values())
        outside = sum(file.outside for file in graph.files.values())
        text = (
            f"At the pin that is {len(graph.files):,} files with {len(graph.imports):,} imports "
            f"among them and {calls:,} calls: {len(graph.calls):,} lead to a definition of the "
            f"tree, {outside:,} to a library or to Python itself, and of {sum(reasons.values()):,} "
            "the text does not say. Why not, by frequency:"
        )
        rows: list[list[list[nodes.Node]]] = [
            [[nodes.Text(reason)], [nodes.Text(f"{count:,}")]]
            for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
        ]
        table = self.table(["The callee is", "Calls"], rows, range(1, 2))
        return [nodes.paragraph("", text), table]


def connect_codebase(app: Sphinx) -> None:
    r"""Register the directives."""
    app.add_directive("map-picture", MapPicture)
    app.add_directive("map-table", MapTable)
    app.add_directive("most-imported", MostImported)
    app.add_directive("map-tally", MapTally)


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))
