r"""The excerpt: upstream's code on our page, under upstream's line numbers.

The numbers in the margin are the tree's, so that what a reader sees here and at the permalink in
the caption is the same line. Which lines to show and which to mark is counted from the anchor, so
that an excerpt moves with its symbol: `:lines: 3-9` are the third to the ninth line of it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import link_to, upstream_domain, warn_missing
from upstream_anchors.sphinx_domain.highlighting import language_of
from upstream_anchors.sphinx_domain.naming import line_span
from upstream_anchors.sphinx_domain.source import source_of
from upstream_anchors.tree import Tree


class Excerpt(SphinxDirective):
    r"""`{up-code} path#Symbol`, with `:lines:`, `:emphasize:` and `:caption:`.

    Lines are counted from the first line of the anchor, and `12-` is the twelfth to its last. With
    a fragment that is the one line the fragment is on, and `:lines:` may run on beyond it; with a
    whole file, from its top. A list of ranges (`1-4, 9-12`) is shown with a gap between them. A
    range that leaves the anchor is an error: the anchor would no longer say what is shown.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {
        "lines": directives.unchanged_required,
        "emphasize": directives.unchanged_required,
        "caption": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        r"""The excerpt in a captioned container, or a link with a notice, or a warning."""
        source = source_of(self.env)
        try:
            place = source.resolve(self.arguments[0])
            if place.kind == "folder":
                raise AnchorError(f"{place.target}: a folder has no lines to show")
            if place.start is None and "lines" not in self.options:
                raise AnchorError(f"{place.target}: of a whole file, say which lines: `:lines:`")
            last = self._last_line(place, source.tree)
            shown = _numbers(self.options.get("lines"), place, last, "lines")
            marked = _numbers(self.options.get("emphasize"), place, last, "emphasize")
            whole = [(place.start or 1, place.end or 1)]
            ranges = _runs(shown) or whole
            outside = [n for n in marked if not any(a <= n <= b for a, b in ranges)]
            if outside:
                first = place.start or 1
                raise AnchorError(
                    f"{place.target}: `:emphasize:` names line {outside[0] - first + 1} of the "
                    f"anchor, which is not shown"
                )
        except AnchorError as error:
            warn_missing(error, self.get_location())
            self.env.note_reread()
            return []
        upstream_domain(self.env).note_use(self.env.docname, place.target)
        covered = _covering(place, ranges)
        if source.tree is None:
            return [self._notice(covered)]
        return [self._excerpt(source.tree, covered, ranges, set(marked))]

    def _last_line(self, place: Place, tree: Tree | None) -> int:
        # The last line of the tree that this anchor lets an excerpt show.
        if place.start is None or place.kind == "line":
            return len(tree.lines(place.path)) if tree else 10**9
        return place.end or place.start

    def _excerpt(
        self, tree: Tree, covered: Place, ranges: list[tuple[int, int]], marked: set[int]
    ) -> nodes.container:
        lines = tree.lines(covered.path)
        chosen = [list(lines[first - 1 : last]) for first, last in ranges]
        margin = _margin([line for block in chosen for line in block])
        box = nodes.container(classes=["up-code", "literal-block-wrapper"], literal_block=True)
        box += self._caption(covered)
        for (first, last), block in zip(ranges, chosen):
            code = "\n".join(line[margin:].rstrip() for line in block)
            part = nodes.literal_block(code, code, language=language_of(covered.path))
            part["linenos"] = True
            part["force"] = True  # a slice need not be a whole statement
            part["highlight_args"] = {"linenostart": first}
            inside = [n - first + 1 for n in sorted(marked) if first <= n <= last]
            if inside:
                part["highlight_args"]["hl_lines"] = inside
            self.set_source_info(part)
            box += part
        self.set_source_info(box)
        self.add_name(box)
        return box

    def _caption(self, covered: Place) -> nodes.caption:
        caption = nodes.caption("", "", classes=["up-caption"])
        if text := self.options.get("caption"):
            inline, _ = self.parse_inline(text)
            caption += nodes.inline("", "", *inline)
        lines = line_span(covered.start, covered.end)
        label = f"{covered.path} · {lines}"
        if covered.symbol:
            label = f"{covered.path} · {covered.symbol} · {lines}"
        link = link_to(self.env, covered, nodes.Text(label))
        link["classes"].append("up-quiet")  # a preview of what stands below would be in the way
        caption += nodes.inline("", "", link, classes=["up-where"])
        return caption

    def _notice(self, covered: Place) -> nodes.container:
        box = nodes.container(classes=["up-code", "up-absent"])
        box += self._caption(covered)
        box += nodes.paragraph(
            "",
            f"The excerpt is not here: this page was built without the tree of "
            f"{source_of(self.env).pin}. The link above leads to the lines.",
        )
        self.set_source_info(box)
        return box


def _numbers(text: str | None, place: Place, last: int, option: str) -> list[int]:
    # Line numbers of the tree, from numbers that count from the anchor's first line.
    first = place.start or 1
    numbers: list[int] = []
    for part in (text or "").split(","):
        if not part.strip():
            continue
        match = re.fullmatch(r"\s*(\d+)\s*(?:(-)\s*(\d+)?)?\s*", part)
        if not match:
            raise AnchorError(
                f"{place.target}: `:{option}:` should read like `3-9, 12` or `12-`: {text!r}"
            )
        low = int(match[1])
        if match[2] and not match[3]:
            if place.end is None or place.kind == "line":
                raise AnchorError(f"{place.target} has no end for `:{option}:` {part.strip()}")
            high = place.end - first + 1
        else:
            high = int(match[3] or match[1])
        if not 1 <= low <= high or first + high - 1 > last:
            raise AnchorError(
                f"{place.target}: `:{option}:` {part.strip()} is outside the anchor, which has "
                f"{last - first + 1} lines"
            )
        numbers += range(first + low - 1, first + high)
    return sorted(set(numbers))


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _covering(place: Place, ranges: list[tuple[int, int]]) -> Place:
    return Place(place.target, place.kind, place.path, place.symbol, ranges[0][0], ranges[-1][1])


def _margin(lines: list[str]) -> int:
    return min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
