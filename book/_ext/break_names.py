r"""Where a long name may break on a narrow screen, and where it may not.

`GPUModelRunner.execute_model` is wider than a column of a phone. Without a word on it a browser
either pushes the table out of the page or breaks wherever the room ends, in `penalis` and `e`. So
there the names get a place to break where somebody who writes by hand would break: behind a dot, a
slash or an underscore, and before a capital that begins a word. In running text only a name that
a phone's line cannot hold needs one, and the stylesheet takes it away where the screen is wide.
Nothing is seen of it where there is room, and what is copied is the name as it was.

The dashes before a flag are the one place that a browser likes and nobody else does: `--` at the
end of a line, `block-size` at the beginning of the next.
"""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape
from sphinx.application import Sphinx

# The columns of ours beside upstream's are boxes, and as narrow as cells; so is a listing's head.
_CELL = re.compile(
    r'<td\b.*?</td>|<div class="(?:pair-ours|pair-theirs|code-block-caption)[^"]*">.*?</div>',
    re.DOTALL,
)
_NAME = re.compile(r'(?<=<span class="pre">)[^<]+(?=</span>)')
_LINK = re.compile(r'(?<=<span class="up">)[^<]+(?=</span>)')  # names among a link's words
# Pieces of one or two letters would make a ragged column: `_` at either end, `v1/`.
_PLACE = re.compile(
    r"(?<=[A-Za-z0-9][._/(=])(?=\w{3})"  # behind a mark: `core.` `step`, `num_` `tokens`
    r"|(?<=\w\w[a-z0-9])(?=[A-Z])"  # before a word: `Model` `Runner`, `Type` `KV`
    r"|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})"  # behind a row of capitals: `GPU` `Model`
    r"|(?<=[0-9a-f]{16})(?=[0-9a-f]{16})"  # a digest has no better place
)
_SHORT = 12  # letters: what fits any column
_LONG = 24  # letters: what a box in a box, an answer in its card, holds on a phone
# Where an excerpt of upstream begins: `path · Symbol · 116-161`, words in a link and no code.
_WHERE = re.compile(r'(?<=<a class="up-link up-quiet reference internal")( [^>]*>)([^<]+)(?=</a>)')
_DASHES = re.compile(r'(?<=<span class="pre">)--?[A-Za-z0-9]+(?=[-=.<])')
# In front of the parameters of a signature on one line: no space stands there.
_PARAMETERS = re.compile(r'(?<=<span class="sig-paren">\(</span>)(?=<em class="sig-param")')
MAY_BREAK = "<wbr/>"  # closed, since the pages of the ePub are XML


def with_places(name: str) -> str:
    """A name, as HTML, with `MAY_BREAK` where it may; a short one as it is."""
    return _PLACE.sub(MAY_BREAK, name) if len(name) > _SHORT else name


def in_cells(body: str) -> str:
    """A page's body with such places in the names of its tables, pairs and heads of listings."""

    def placed(cell: re.Match[str]) -> str:
        text = _NAME.sub(lambda name: with_places(name[0]), cell[0])
        return _LINK.sub(lambda words: " ".join(map(with_places, words[0].split(" "))), text)

    return _CELL.sub(placed, body)


def in_text(body: str) -> str:
    """A page's body with such places in the longest names outside of them, and flags in one."""

    def long(names: str) -> str:
        return " ".join(with_places(n) if len(n) >= _LONG else n for n in names.split(" "))

    body = _NAME.sub(lambda name: long(name[0]), body)
    body = _LINK.sub(lambda words: long(words[0]), body)
    body = _WHERE.sub(lambda where: where[1] + long(where[2]), body)
    body = _PARAMETERS.sub(MAY_BREAK, body)
    return _DASHES.sub(lambda flag: f'<span class="keep">{flag[0]}</span>', body)


def in_words(text: str) -> Markup:
    """A plain text, as HTML, with such places in its names: an entry of an index."""
    return Markup(" ".join(with_places(str(escape(word))) for word in text.split(" ")))


def _in_index(context: dict[str, Any]) -> None:
    # No body has been written for these two yet: their templates get the entries.
    if "genindexentries" in context:
        context["genindexentries"] = [
            (
                letter,
                [
                    (in_words(name), (links, [(in_words(sub), to) for sub, to in below], key))
                    for name, (links, below, key) in entries
                ],
            )
            for letter, entries in context["genindexentries"]
        ]
    if "indextitle" in context:
        context["content"] = [
            (letter, [(in_words(entry[0]), *entry[1:]) for entry in entries])
            for letter, entries in context["content"]
        ]


def _complete(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: object) -> None:
    _in_index(context)
    if context.get("body"):
        context["body"] = in_text(in_cells(context["body"]))


def setup(app: Sphinx) -> dict[str, object]:
    """Connect last: what others put into tables is theirs to write first."""
    app.connect("html-page-context", _complete, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
