r"""The role: a name in the text becomes a link to its lines.

It is resolved while the page is read and not, as Sphinx's own references are, while it is written:
the tree does not depend on other pages, and a warning at read time carries the line of the text
that caused it.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.util.docutils import SphinxRole

from upstream_anchors.errors import AnchorError
from upstream_anchors.sphinx_domain.domain import link_to, upstream_domain, warn_missing
from upstream_anchors.sphinx_domain.naming import shown_name
from upstream_anchors.sphinx_domain.source import source_of
from upstream_anchors.target import split_title

# A dot or an underscore inside, which no word has; a version, `v0.22.1`, is not one.
_NAME = re.compile(r"(?=\w*[._]\w)(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:\(\))?")


class UpstreamRole(SphinxRole):
    r"""`path#Symbol`, or `its name <path#Symbol>`; a `!` in front shows the name and links nothing.

    A title that is itself a name, `get_new_blocks`, `EngineCore.step` or the last part of the
    symbol, `touch`, is set as code, as it is in the text around it. Without a title the link shows
    the shortest name that says enough: the symbol, the flag, the variable, the words of the log
    line, or else the path.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        r"""The link, or the bare text and a warning."""
        if self.text.startswith("!"):
            title, target = split_title(self.text[1:])
            return [nodes.literal("", title or target)], []
        title, target = split_title(self.text)
        try:
            place = source_of(self.env).resolve(target)
        except AnchorError as error:
            warn_missing(error, self.get_location())
            # The page may be unchanged next time; the anchor must still be reported then.
            self.env.note_reread()
            return [nodes.literal(self.rawtext, title or target, classes=["up-missing"])], []
        upstream_domain(self.env).note_use(self.env.docname, place.target)
        content: nodes.TextElement
        own_name = (place.symbol or "").rpartition(".")[2]
        if title and title != own_name and not _NAME.fullmatch(title):
            content = nodes.inline("", title, classes=["up"])
        else:
            content = nodes.literal("", title or shown_name(place), classes=["up"])
        link = link_to(self.env, place, content)
        self.set_source_info(link)
        return [link], []
