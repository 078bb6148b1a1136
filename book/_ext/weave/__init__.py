r"""Weave the code of this repository into its pages.

Three directives place three parts of one Python file where the text needs them, and each part is
shown once:

- `{docstring} package.module` prints a module's docstring as prose, its headings nested below the
  section in which the directive stands;
- `{object} package.module.Name` prints a signature with its docstring and is that object's home;
- `{listing} package.module.Name` prints the code without the docstrings.

A fourth, `{remaining-objects} package`, prints every public object that no page has claimed, so
that a cross-reference to any of them resolves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives; `autodoc2` must be among the extensions, for its database."""
    # Imported here: `book._ext.weave.source` is of use without Sphinx, also to notebooks.
    from book._ext.weave.analysis import setup_analysis
    from book._ext.weave.homes import connect_homes
    from book._ext.weave.listing import Listing
    from book._ext.weave.objects import ModuleDocstring, ObjectHome, RemainingObjects
    from book._ext.weave.outline import connect_outlines
    from book._ext.weave.short import connect_shortening
    from book._ext.weave.shown import connect_shown

    app.setup_extension("autodoc2")
    setup_analysis(app)
    app.add_directive("docstring", ModuleDocstring)
    app.add_directive("object", ObjectHome, override=True)  # Sphinx has a generic one
    app.add_directive("listing", Listing)
    app.add_directive("remaining-objects", RemainingObjects)
    connect_homes(app)
    connect_outlines(app)
    connect_shown(app)
    connect_shortening(app)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
