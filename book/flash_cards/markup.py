r"""The book's Markdown as HTML that a flash card can hold.

A card is read on a telephone, away from the book: a link leads nowhere there, so roles become what
a reader sees of them and no more. Numbers are computed, as on the page. Formulas go to the
MathJax that Anki brings along. A role, a directive or an image that has no such form is refused:
half a sentence on a card is worse than a build that stops.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_role import myst_role_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name, guess_lexer
from pygments.util import ClassNotFound

from book.quantities import registry
from upstream_anchors.target import Target, split_title

FORMATTER = HtmlFormatter(nowrap=True, classprefix="k-")
_TITLED = re.compile(r"(?P<title>.+?)\s*<(?P<target>[^<>]+)>", re.DOTALL)


class MarkupError(ValueError):
    """Text that no card can show as the page does."""


def html(markdown: str) -> str:
    """Markdown of an entry, of a statement or of a description, as HTML."""
    return str(_PARSER.render(markdown)).strip()


def _quantity(text: str) -> str:
    return f'<span class="number">{escape(registry.printed(text))}</span>'


def _upstream(text: str) -> str:
    title, target = split_title(text.removeprefix("!"))
    if title:
        return escape(title)
    parsed = Target.parse(target)
    if target.startswith("default:"):
        name = target.split("#", 1)[1].replace("=", " = ", 1)
    elif target.startswith(("env:", "flag:", "log:")):
        name = target.split(":", 1)[1].strip('"')
    else:
        name = parsed.symbol or parsed.path
    return f"<code>{escape(name)}</code>"


def _python(text: str) -> str:
    titled = _TITLED.fullmatch(text)
    if titled:
        return escape(titled["title"])
    name = text.lstrip("!")
    return f"<code>{escape(name.rsplit('.', 1)[-1] if name.startswith('~') else name)}</code>"


def _document(text: str) -> str:
    titled = _TITLED.fullmatch(text)
    if titled is None:
        raise MarkupError(f"{{doc}}`{text}` has no words of its own to show on a card")
    return escape(titled["title"])


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


ROLES: dict[str, Callable[[str], str]] = {
    "qty": _quantity,
    "given": escape,
    "up": _upstream,
    "inv": _code,
    "q": _code,
    "kbd": _code,
    "doc": _document,
    "cite": lambda text: f"[{escape(text)}]",
    **{f"py:{kind}": _python for kind in ("class", "func", "meth", "mod", "attr", "data", "exc")},
}


class CardRenderer(RendererHTML):
    """What the standard renderer does not know, or what needs a place that a card has not."""

    def myst_role(self, tokens: Any, idx: int, *_: Any) -> str:
        """A role as the words that a reader sees."""
        name, text = tokens[idx].meta["name"], tokens[idx].content
        if name not in ROLES:
            raise MarkupError(f"{{{name}}}`{text}`: no card shows this role")
        return ROLES[name](" ".join(text.split()))

    def math_inline(self, tokens: Any, idx: int, *_: Any) -> str:
        """For the MathJax of Anki."""
        return rf"\({escape(tokens[idx].content.strip())}\)"

    def math_block(self, tokens: Any, idx: int, *_: Any) -> str:
        """A displayed formula."""
        return rf"<p>\[{escape(tokens[idx].content.strip())}\]</p>"

    math_block_label = math_block

    def link_open(self, *_: Any) -> str:
        """Only the words of a link."""
        return ""

    link_close = link_open

    def fence(self, tokens: Any, idx: int, *_: Any) -> str:
        """Code in colours."""
        info = tokens[idx].info.strip()
        if info.startswith("{"):
            raise MarkupError(f"the directive {info} has no form on a card")
        try:
            lexer = get_lexer_by_name(info) if info else guess_lexer("")
        except ClassNotFound as problem:
            raise MarkupError(f"code in {info!r}: {problem}") from problem
        code = highlight(tokens[idx].content, lexer, FORMATTER).rstrip("\n")
        return f'<pre class="code"><code>{code}</code></pre>\n'

    def image(self, tokens: Any, idx: int, *_: Any) -> str:
        """A card has no files beside it."""
        raise MarkupError(f"the image {tokens[idx].attrs.get('src')} has no place on a card")

    def html_inline(self, tokens: Any, idx: int, *_: Any) -> str:
        """Markup of the page's own."""
        raise MarkupError(f"raw HTML {tokens[idx].content!r} has no form on a card")

    html_block = html_inline


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"xhtmlOut": True}, renderer_cls=CardRenderer)
    parser.enable("table")
    parser.use(myst_role_plugin)
    parser.use(dollarmath_plugin, double_inline=True)
    # The plugin brings renderers of its own.
    renderer = parser.renderer
    for rule in ("math_inline", "math_inline_double", "math_block", "math_block_label"):
        method = "math_inline" if rule == "math_inline" else "math_block"
        renderer.rules[rule] = getattr(renderer, method)  # type: ignore[attr-defined]
    renderer.rules["myst_role"] = renderer.myst_role  # type: ignore[attr-defined]
    return parser


_PARSER = _make_parser()
