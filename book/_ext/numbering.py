r"""Figures, tables and equations count from 1 on every page, and code listings not at all.

Sphinx counts through the whole book, so that a new figure on one page renumbers, and rewrites, all
pages after it. A listing is named by its path and lines; a number would say less.

What a page numbers is known when it has been read. Sphinx would open every page of the book again
after each edit, to walk through it.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector

_UNNUMBERED = ("code-block",)

# Kind, then the id of what is numbered, then its number.
Numbers = dict[str, dict[str, tuple[int, ...]]]


def kind_of(env: BuildEnvironment, node: nodes.Node) -> str | None:
    """As what a node is numbered, if it is; a figure without a caption is not."""
    for domain in env.domains.sorted():
        kind = domain.get_enumerable_node_type(node)
        if isinstance(domain, StandardDomain) and not domain.get_numfig_title(node):
            continue
        if kind:
            return kind
    return None


def numbers_of(env: BuildEnvironment, doctree: nodes.document) -> Numbers:
    """Each kind on this page from 1, in the order that the page has."""
    found: Numbers = {}
    for node in doctree.findall(nodes.Element):
        kind = kind_of(env, node) if node["ids"] else None
        if kind is not None and kind not in _UNNUMBERED:
            numbered = found.setdefault(kind, {})
            numbered[node["ids"][0]] = (len(numbered) + 1,)
    return found


def by_page(env: BuildEnvironment) -> dict[str, Numbers]:
    """The numbers of every page that has any."""
    if not hasattr(env, "page_numbers"):
        env.page_numbers = {}  # type: ignore[attr-defined]
    return env.page_numbers


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Remember the numbers of a page that has been read."""
    if numbers := numbers_of(app.env, doctree):
        by_page(app.env)[app.env.docname] = numbers


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again, or is gone, numbers nothing."""
    by_page(env).pop(docname, None)


def assign(self: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """Stands in for Sphinx's numbering: pages whose numbers differ are written again."""
    before = env.toc_fignumbers
    env.toc_fignumbers = dict(by_page(env))
    return [page for page, numbers in env.toc_fignumbers.items() if numbers != before.get(page)]


def setup(app: Sphinx) -> dict[str, object]:
    """Put our numbering in the place of Sphinx's."""
    TocTreeCollector.assign_figure_numbers = assign  # type: ignore[method-assign]
    app.connect("doctree-read", note)
    app.connect("env-purge-doc", forget)
    return {"version": "2", "env_version": 1, "parallel_read_safe": False}
