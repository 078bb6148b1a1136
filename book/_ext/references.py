r"""A role whose references live in one of our small domains, usable without a domain prefix."""

from __future__ import annotations

from docutils.nodes import Element
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole


class DomainRole(XRefRole):
    """`{inv}` and `{q}`: a cross-reference that knows its domain; dangling ones fail the build."""

    def __init__(self, domain: str, kind: str) -> None:
        super().__init__(warn_dangling=True)
        self.domain, self.kind = domain, kind

    def process_link(
        self, env: BuildEnvironment, refnode: Element, has_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Set the domain, which a role registered on the application does not have."""
        refnode["refdomain"] = self.domain
        refnode["reftype"] = self.kind
        refnode["refwarn"] = True
        return title, target.strip()
