r"""Which anchors is a ledger asked for?

The whole book's anchors do not fit on one page: a browser needs seconds for a table of thousands
of rows. So ledgers divide the tree among themselves, each with the folders that it has: an anchor
stands in the ledger whose folder is nearest above it. That is a partition by construction, and
it is whole if one of them has the root (`.`); if none has, the build names the anchors left over.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from sphinx.environment import BuildEnvironment

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import upstream_domain
from upstream_anchors.sphinx_domain.source import source_of

ROOT = "."


@dataclass(frozen=True)
class Scope:
    r"""What one ledger was asked: the anchors of a phase, of a page, or below some folders.

    Nothing set means the whole book.
    """

    phase: int | None = None
    page: str | None = None
    under: tuple[str, ...] = ()

    def pages(self, env: BuildEnvironment) -> list[str]:
        r"""The pages whose anchors count, sorted."""
        uses = upstream_domain(env).uses
        if self.page is not None:
            return [self.page] if self.page in uses else []
        if self.phase is None:
            return sorted(uses)
        folder = re.compile(rf"(?:.*/)?phase-{self.phase:02d}-[^/]*/")
        return sorted(name for name in uses if folder.match(name))


def scopes_of(env: BuildEnvironment, docname: str) -> list[Scope]:
    r"""What the ledgers of a page were asked."""
    return env.metadata[docname].get("anchor_ledgers", [])


def holders(env: BuildEnvironment) -> dict[str, list[str]]:
    r"""Folder or file of the tree → the pages whose ledgers have it: one, or somebody erred."""
    found: dict[str, list[str]] = {}
    for docname in sorted(env.found_docs):
        for scope in scopes_of(env, docname):
            for prefix in scope.under:
                found.setdefault(prefix, []).append(docname)
    return found


def nearest(prefixes: Collection[str], path: str) -> str | None:
    r"""The longest of `prefixes` that is `path` or a folder above it; the root is above all."""
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        prefix = "/".join(parts[:length])
        if prefix in prefixes:
            return prefix
    return ROOT if ROOT in prefixes else None


def places_of(env: BuildEnvironment, scope: Scope) -> dict[Place, list[str]]:
    r"""The places a ledger shows, by path and line, each with the pages that use it."""
    users: dict[str, list[str]] = {}
    for page in scope.pages(env):
        for target in upstream_domain(env).uses[page]:
            users.setdefault(target, []).append(page)
    prefixes = holders(env) if scope.under else {}
    found = {}
    for target, pages in users.items():
        try:
            place = source_of(env).resolve(target)
        except AnchorError:
            continue  # reported where it is used
        if not scope.under or nearest(prefixes, place.path) in scope.under:
            found[place] = pages
    order = sorted(found, key=lambda p: (p.path, p.start or 0, p.end or 0, p.target))
    return {place: found[place] for place in order}


def left_over(env: BuildEnvironment) -> list[Place]:
    r"""Places below no ledger's folders, where ledgers divide the tree; else none."""
    prefixes = holders(env)
    if not prefixes:
        return []
    return [p for p in places_of(env, Scope()) if nearest(prefixes, p.path) is None]
