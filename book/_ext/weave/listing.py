r"""`{listing}`: code as it stands in the file, without docstrings that the page already shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.directives.code import container_wrapper
from sphinx.util.docutils import SphinxDirective

from book._ext.weave.shown import note
from book._ext.weave.source import SourceError, code_without_docstrings, locate
from upstream_anchors.sphinx_domain.naming import line_span

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Listing(SphinxDirective):
    r"""Print the code of a module, class, function or assignment.

    Lines count from 1 in the listing as shown. Where a number would rot, quote a fragment: it must
    stand on exactly one shown line, else the build fails.

    ```
    :lines: 3-9, 14
    :from: "while token_budget"
    :to: "break"
    :emphasize: 4, "token_budget -="
    :caption: The budget
    ```
    """

    required_arguments = 1
    option_spec: ClassVar[dict] = {
        "lines": directives.unchanged_required,
        "from": directives.unchanged_required,
        "to": directives.unchanged_required,
        "emphasize": directives.unchanged_required,
        "caption": directives.unchanged_required,
        "name": directives.unchanged,
        "class": directives.class_option,
    }

    def run(self) -> list[nodes.Node]:
        """Build the literal block with its caption."""
        name = self.arguments[0]
        roots = tuple(Path(r) for r in self.config.weave_roots)
        try:
            piece = locate(name, roots)
            shown = code_without_docstrings(piece)
            shown = self._select(shown)
            emphasized = self._numbers(self.options.get("emphasize", ""), shown)
        except SourceError as problem:
            raise self.error(f"listing {name}: {problem}") from problem
        note(self.env, "code", name, piece)
        if not shown:
            raise self.error(f"listing {name}: nothing is left to show")

        block = nodes.literal_block(text="\n".join(text for _, text in shown))
        block["language"] = "python"
        block["classes"] += ["listing", *self.options.get("class", [])]
        if emphasized:
            block["highlight_args"] = {"hl_lines": emphasized}
        self.set_source_info(block)
        path = _relative(piece.path, roots)
        place = f"`{path}`, lines {line_span(shown[0][0], shown[-1][0])}"
        if title := self.options.get("caption"):
            place = f"{title} · {place}"
        wrapper = container_wrapper(self, block, place)  # type: ignore[arg-type]
        wrapper["classes"].append("listing-wrapper")
        self.add_name(wrapper)
        return [wrapper]

    def _select(self, shown: list[tuple[int, str]]) -> list[tuple[int, str]]:
        if "lines" in self.options:
            if "from" in self.options or "to" in self.options:
                raise SourceError("give either :lines: or :from:/:to:")
            kept = [shown[n - 1] for n in self._numbers(self.options["lines"], shown)]
        else:
            start = self._numbers(self.options["from"], shown)[0] if "from" in self.options else 1
            stop = len(shown)
            if "to" in self.options:
                stop = self._numbers(self.options["to"], shown[start - 1 :])[0] + start - 1
            kept = shown[start - 1 : stop]
        margin = min((len(t) - len(t.lstrip()) for _, t in kept if t), default=0)
        return [(number, text[margin:]) for number, text in kept]

    @staticmethod
    def _numbers(spec: str, shown: list[tuple[int, str]]) -> list[int]:
        """Positions (1-based, in the listing) that a list of numbers, ranges, fragments names."""
        wanted: list[int] = []
        if '"' not in spec and not re.fullmatch(r"[\d\s,-]*", spec):
            spec = (
                '"' + spec.replace('"', '\\"') + '"'
            )  # Markdown took the quotes of a lone fragment
        for fragment in _QUOTED.findall(spec):
            text = fragment.replace('\\"', '"')
            hits = [i for i, (_, line) in enumerate(shown, 1) if text in line]
            if len(hits) != 1:
                raise SourceError(f"fragment {text!r} stands on {len(hits)} lines, not on one")
            wanted += hits
        for part in re.split(r"[,\s]+", _QUOTED.sub(" ", spec).strip()):
            if not part:
                continue
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if match is None:
                raise SourceError(f"{part!r} is neither a line, a range, nor a quoted fragment")
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last <= len(shown):
                raise SourceError(f"lines {part} of a listing that has {len(shown)}")
            wanted += range(first, last + 1)
        return sorted(set(wanted))


def _relative(path: Path, roots: tuple[Path, ...]) -> str:
    """The path as a reader at the repository's root would type it."""
    shortest = min((r for r in roots if path.is_relative_to(r)), key=lambda r: len(r.parts))
    return path.relative_to(shortest).as_posix()
