r"""`{ptx} linear-prefill`: what a kernel became, for a device that need not be here.

```{ptx} linear-prefill
:capability: 90
:show: wgmma\.mma_async | cp\.async
:around: 1
:most: 2
```

Compiles the specimen ({py:mod}`book.specimens`) when the page is built, or takes it from the cache
under `_build/ptx`, and shows the lines that match the patterns, with neighbours. The caption says
for what it was compiled, by which compiler, what it takes, and that it was not run. Where Triton
is not installed a notice stands in its place; a pattern that matches nothing ends the build.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import box, new_box
from book.ptx import Code, PtxError, compiled, excerpt
from book.specimens import KERNELS


class PtxDirective(SphinxDirective):
    """Lines of a kernel's PTX, with a caption that says where they come from."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {
        "capability": directives.positive_int,
        "show": directives.unchanged_required,
        "around": directives.nonnegative_int,
        "most": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        """The box, the notice, or an error of the build."""
        for path in KERNELS.glob("*.py"):
            self.env.note_dependency(str(path))
        if "show" not in self.options:
            raise self.error("ptx: say with `:show:` which lines, as patterns with ` | ` between")
        capability = self.options.get("capability", 90)
        folder = Path(self.env.app.outdir).parent / "ptx"
        try:
            code = compiled(self.arguments[0], capability, folder)
            return [self.absent(capability) if code is None else self.shown(code)]
        except PtxError as problem:
            raise self.error(f"ptx: {self.arguments[0]}: {problem}") from problem

    def shown(self, code: Code) -> nodes.Node:
        """The lines, and the caption."""
        patterns = [part.strip() for part in self.options["show"].split(" | ")]
        found = excerpt(
            code.lines,
            patterns,
            around=self.options.get("around", 1),
            most=self.options.get("most", 2),
        )
        block = nodes.literal_block(found.text, found.text, language="ptx", force=True)
        block["highlight_args"] = {"hl_lines": list(found.hits)}
        self.set_source_info(block)
        lines = "line matches" if found.found == 1 else "lines match"
        caption = f"{code.caption()} {found.found} of its {len(code.lines):,} {lines}."
        return self.framed("ptx", caption, block)

    def absent(self, capability: int) -> nodes.Node:
        """The notice in its place."""
        text = (
            f"The machine code of `{self.arguments[0]}` for sm_{capability} is not here: this page "
            "was built where Triton is not installed."
        )
        return self.framed("ptx ptx-absent", text)

    def framed(self, css: str, caption: str, *children: nodes.Node) -> box:
        """A box like that of a measurement: what is shown, and in small letters what it is."""
        note = new_box("measurement-note", *self.parse_text_to_nodes(caption))
        return new_box(css, *children, note)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("ptx", PtxDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
