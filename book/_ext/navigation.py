r"""When a page comes, goes, moves or is renamed, every page is written again.

Each page shows its neighbours and, beside it, the titles of all others. Sphinx writes only pages
that were read again, and the rest would go on pointing at what was there before.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def shape(env: BuildEnvironment) -> tuple[object, ...]:
    """The order and the titles of all pages."""
    order = sorted((name, tuple(inside)) for name, inside in env.toctree_includes.items())
    titles = sorted((name, title.astext()) for name, title in env.titles.items())
    return (tuple(order), tuple(titles))


def rewrite_all(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """All pages if the shape of the book changed since the last build, else none."""
    before = getattr(env, "book_shape", None)
    env.book_shape = shape(env)  # type: ignore[attr-defined]
    changed = before is not None and before != env.book_shape  # type: ignore[attr-defined]
    return sorted(env.found_docs) if changed else []


def setup(app: Sphinx) -> dict[str, object]:
    """Connect after all pages have been read."""
    app.connect("env-updated", rewrite_all)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
