r"""The ePub: Sphinx's own builder, with pages that any device can show and no file that none needs.

Our pages assume a browser: folds, scripts, themes. Here each is made plain on its way into the
book ({py:mod}`book.downloads.xhtml`), and the site's styles and scripts stay out of the package.
"""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sphinx.application import Sphinx
from sphinx.builders.epub3 import Epub3Builder
from sphinx.builders.html._assets import _CascadingStyleSheet

STYLES = Path(__file__).resolve().parents[1] / "downloads" / "epub.css"
_ITEM = re.compile(r'<item id="[^"]*" href="([^"]*)" media-type="[^"]*" />')
KEPT = {"_static", "_images", "META-INF"}


class EpubEdition(Epub3Builder):
    """The builder called `epub`."""

    def write_domain_indices(self) -> None:
        """None: a list of modules that a device cannot search helps nobody."""
        self.domain_indices = []

    def copy_static_files(self) -> None:
        """The package's own style sheet, the colours of code, and the cover; nothing else."""
        static = Path(self.outdir) / "_static"
        shutil.rmtree(static, ignore_errors=True)
        static.mkdir(parents=True)
        self.create_pygments_style_file()
        shutil.copyfile(STYLES, static / STYLES.name)
        if self.config.epub_cover:
            picture = Path(self.confdir) / self.config.edition_cover
            shutil.copyfile(picture, Path(self.outdir) / self.config.epub_cover[0])

    def build_content(self) -> None:
        """List the package's files, when what extensions left for the site has been taken out."""
        pages = {name.split("/")[0] for name in self.env.found_docs}
        for path in sorted(Path(self.outdir).iterdir()):
            if path.is_dir() and path.name not in KEPT | pages:
                shutil.rmtree(path)
        for path in sorted((Path(self.outdir) / "_static").iterdir()):
            if path.suffix not in {".css", ".png"}:
                path.unlink() if path.is_file() else shutil.rmtree(path)
        super().build_content()
        content = Path(self.outdir) / "content.opf"
        text = content.read_text(encoding="utf-8")
        content.write_text(_ITEM.sub(self._with_property, text), encoding="utf-8")

    def _with_property(self, item: re.Match[str]) -> str:
        """A row of the manifest, with what the format wants to be told of its file."""
        address = unquote(unescape(item[1]))
        if self.config.epub_cover and address == self.config.epub_cover[0]:
            return item[0].replace("/>", 'properties="cover-image"/>')
        path = Path(self.outdir) / address
        if path.suffix == self.out_suffix and "<svg" in path.read_text(encoding="utf-8"):
            return item[0].replace("/>", 'properties="svg"/>')
        return item[0]


def plain_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Make a page plain, last of all that change it."""
    if app.builder.name != "epub":
        return
    from book.downloads.xhtml import readable  # only this builder needs its parser

    context["css_files"] = [
        _CascadingStyleSheet("_static/pygments.css"),
        _CascadingStyleSheet(f"_static/{STYLES.name}"),
    ]
    context["script_files"] = []
    if context.get("body"):
        context["body"] = readable(context["body"])


def setup(app: Sphinx) -> dict[str, object]:
    """Replace the builder."""
    app.add_builder(EpubEdition, override=True)
    app.add_config_value("edition_cover", "", "", types=frozenset({str}))
    app.connect("html-page-context", plain_page, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
