r"""`{downloads}`: the finished downloads, with their sizes, linked where the site has them.

`nox -s downloads` and `nox -s cards` leave their files in the build folder. A build of the site
that finds them there takes them along; another says by which command they are made. So the site
never waits for a PDF, and never links to one that is not there.
"""

from __future__ import annotations

import posixpath
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from book._ext.notebooks import state

FOLDER = "downloads"


@dataclass(frozen=True)
class Download:
    """A file that a session makes; readers know it by its kind."""

    kind: str
    name: str
    what: str
    session: str


FILES = (
    Download(
        "PDF",
        "inside-the-engine.pdf",
        "every page of the site on A4, with contents, outline, running heads and working links",
        "downloads",
    ),
    Download("ePub", "inside-the-engine.epub", "the same for readers' devices", "downloads"),
    Download("Flash cards", "inside-the-engine.apkg", "a deck for Anki", "cards"),
)


def size_of(path: Path) -> str:
    """Megabytes, and of a PDF the pages."""
    text = f"{path.stat().st_size / 1e6:.1f} MB"
    if path.suffix == ".pdf":
        try:
            from book.downloads.pdf_file import page_count
        except ImportError:  # the site can be built without what reads a PDF
            return text
        text = f"{page_count(path)} pages, {text}"
    return text


def found(app: Sphinx) -> dict[str, str]:
    """Name and size of every download that there is."""
    folder = state(app, FOLDER)
    return {f.name: size_of(folder / f.name) for f in FILES if (folder / f.name).is_file()}


class Downloads(SphinxDirective):
    """A table of what there is and of what can be made."""

    option_spec: ClassVar[dict] = {}

    def run(self) -> list[nodes.Node]:
        """A row a file; its kind becomes a link when the page is written for the site."""
        there = found(self.env.app)
        self.env.metadata[self.env.docname]["downloads"] = repr(there)
        rows = ["| file | what it is | size |", "|---|---|---|"]
        for file in FILES:
            size = there.get(file.name, f"not made yet: `nox -s {file.session}`")
            rows.append(f"| **{file.kind}** | {file.what} | {size} |")
        return self.parse_text_to_nodes("\n".join(rows))


def outdated(app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
    """The pages whose table would be another one now."""
    there = repr(found(app))
    return [
        page
        for page, data in env.metadata.items()
        if page in env.found_docs and data.get("downloads", there) != there
    ]


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the kinds of files that are there into links; other editions cannot follow one."""
    if app.builder.name != "html" or "downloads" not in app.env.metadata.get(docname, {}):
        return
    there = found(app)
    names = {file.kind: file.name for file in FILES if file.name in there}
    for kind in list(doctree.findall(nodes.strong)):
        if name := names.get(kind.astext()):
            address = posixpath.relpath(f"{FOLDER}/{name}", posixpath.dirname(docname))
            reference = nodes.reference("", "", refuri=address, internal=True)
            kind.replace_self(reference)
            reference += kind


def take_along(app: Sphinx, exception: Exception | None) -> None:
    """Copy the files into the site."""
    if exception is not None or app.builder.name != "html":
        return
    target = Path(app.outdir) / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    for name in found(app):
        target.mkdir(exist_ok=True)
        shutil.copyfile(state(app, FOLDER) / name, target / name)


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.setup_extension("book._ext.notebooks")  # which says where builds keep things
    app.add_directive("downloads", Downloads)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-resolved", link)
    app.connect("build-finished", take_along)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
