r"""A page of the ePub: strict XHTML, nothing that needs a script, colours that stand on any paper.

Devices differ in what they can do, and the weakest sets the rules: no fold, no custom property of
CSS, no script. So answers move to the end of their page as they do on paper, folds are opened, and
the palette's names become its colours. Figures keep a light ground of their own, because a device
that turns the page dark turns neither a drawing's ink nor its paper.
"""

from __future__ import annotations

import re
from html import unescape

from bs4 import BeautifulSoup, Tag

from book.downloads import answers
from book.downloads.article import clean, open_folds

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
# HTML leaves them open, also behind an attribute that holds a `>`; XML would take all that follows
# for their content.
_OPEN_VOID = re.compile(rf"<({'|'.join(sorted(VOID))})\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*?)\s*/?>")
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|#\d+|#x[0-9a-fA-F]+);)(\w+);")
_VARIABLE = re.compile(r"var\((--[\w-]+)(?:,\s*([^()]+))?\)")


class NotXhtml(ValueError):
    """What a page holds cannot be written as XHTML."""


def readable(body: str) -> str:
    """The inside of a page as the ePub has it."""
    page = parse(body)
    clean(page)
    open_folds(page)
    answers.collect(page)
    for line in page.select("dt.sig dl, dt.sig dd"):
        # A signature over several lines is a list of definitions without a term: not allowed.
        line["class"] = ["sig-line" if line.name == "dd" else "sig-lines"]
        line.name = "div"
    for element in page.find_all(True):
        tidy(element)
    return page.decode_contents(formatter="minimal")


def parse(body: str) -> Tag:
    """The page as XML: the case of SVG's names is kept, and so is every blank of code."""
    text = _OPEN_VOID.sub(r"<\1\2/>", _SCRIPT.sub("", body))
    text = _ENTITY.sub(lambda found: _character(found[0]), text)
    soup = BeautifulSoup(
        f'<div class="page" xmlns:epub="http://www.idpf.org/2007/ops">{text}</div>',
        "lxml-xml",
        preserve_whitespace_tags={"pre", "code"},
        multi_valued_attributes={"*": ["class"]},
    )
    page = soup.find("div")
    if not isinstance(page, Tag):
        raise NotXhtml("a page without content")
    del page["xmlns:epub"]
    return page


def _character(entity: str) -> str:
    character = unescape(entity)
    if character == entity:
        raise NotXhtml(f"{entity} is no entity of HTML")
    return character


def tidy(element: Tag) -> None:
    """Nothing that a validator refuses or a device does not know."""
    element.can_be_empty_element = element.name in VOID
    if element.name == "svg" and "xmlns" not in element.attrs:
        element["xmlns"] = "http://www.w3.org/2000/svg"
    for name, value in list(element.attrs.items()):
        if name in {"align", "valign", "border", "frame", "rules"} and not in_svg(element):
            del element[name]
        elif isinstance(value, str) and "var(" in value:
            element[name] = concrete(value)


def in_svg(element: Tag) -> bool:
    """Whether this is part of a drawing, where other attributes are allowed."""
    return element.name == "svg" or element.find_parent("svg") is not None


def concrete(value: str) -> str:
    """A value of CSS with each variable's fallback, which is the light colour, in its place."""
    return _VARIABLE.sub(lambda found: found[2] or "currentColor", value)
