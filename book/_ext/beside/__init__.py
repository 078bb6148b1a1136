r"""Ours beside theirs: a function of the engine and its upstream counterpart, in two columns.

`````md
```{beside} mini_vllm.core.block_pool.BlockPool.touch :: vllm/v1/core/block_pool.py#BlockPool.touch
:caption: The same two moves. Look at what upstream does besides them.
:theirs-lines: 10-

A: out of the queue :: "self.free_queue.remove" :: "self.free_block_queue.remove(block)"
B: one holder more :: "block.ref_cnt += 1" :: 14-15
```
`````

The argument is a dotted name of ours and an anchor of theirs. `:caption:` says what to look at.
`:ours-lines:` and `:theirs-lines:` choose lines, `:ours-emphasize:` and `:theirs-emphasize:` mark
some, `:fold:` says after how many lines a column folds (36). The body pairs places: a letter, what
they are, where that is on our side, and where on theirs.

A place is written as lines counted from the first line of the definition (`12`, `3-9`, `12-` to the
end), or as a quoted fragment that stands on exactly one of the lines shown, or as a range between
two fragments (`"while budget" - "break"`). Several are separated by commas. In an option, a value
that begins with a quote needs single quotes around it: `:ours-lines: '"while" - "break"'`. Whatever
leads nowhere fails the build, so that a pair cannot come to point at the wrong line.

Our docstrings are left out, as in a listing. Both sides have their files' line numbers. Without the
pinned tree their side is a link with a notice. Narrow screens, paper and electronic books put one
below the other; a folded column unfolds without scripts.
"""

from __future__ import annotations

from sphinx.application import Sphinx

from book._ext.beside.directive import Beside, connect_links
from book._ext.beside.marked_code import connect_marked_code


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive and its node."""
    app.setup_extension("upstream_anchors.sphinx_domain")
    app.setup_extension("book._ext.weave")  # which asks whether the code of ours has changed
    app.add_directive("beside", Beside)
    connect_links(app)
    connect_marked_code(app)
    app.add_css_file("css/beside.css", priority=810)  # after the book's own
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
