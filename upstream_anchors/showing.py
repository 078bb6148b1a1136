r"""How an anchor looks at a shell.

A terminal gets colours; a pipe gets plain text, with the same line numbers in front, so that
`show … | grep` works. A whole file is shown by its outline: nobody wants seven thousand lines.
"""

from __future__ import annotations

import re

from rich.console import Console
from rich.syntax import Syntax

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree

_BARE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_bare(name: str, tree: Tree) -> bool:
    r"""Whether this is a name to look up, like `EngineCore.step`, rather than a target."""
    return bool(_BARE.fullmatch(name)) and not tree.is_file(name) and not tree.is_folder(name)


def print_place(resolver: Resolver, place: Place, console: Console) -> None:
    r"""Print where a target led: its path and lines, its permalink, and the code or an outline."""
    title = f"{place.path}  {place.symbol}" if place.symbol else place.path
    lines = "" if place.start is None else f"  lines {place.start}-{place.end}"
    console.print(f"{title}  ({place.kind}){lines}", style="bold")
    console.print(place.permalink(resolver.pin), style="cyan")
    console.print()
    if place.start is not None:
        _print_code(resolver.tree, place, console)
    elif place.kind == "folder":
        prefix = f"{place.path}/"
        names = {path.removeprefix(prefix).split("/")[0] for path in place.slice(resolver.tree)}
        for name in sorted(names):
            console.print(name + ("/" if resolver.tree.is_folder(prefix + name) else ""))
    else:
        _print_outline(resolver, place, console)


def _print_code(tree: Tree, place: Place, console: Console) -> None:
    code = place.slice(tree)
    start = place.start or 1
    if console.is_terminal:
        lexer = Syntax.guess_lexer(place.path, "\n".join(code))
        text = "\n".join(code)
        console.print(
            Syntax(text, lexer, line_numbers=True, start_line=start, background_color="default")
        )
        return
    width = len(str(place.end))
    for number, line in enumerate(code, start=start):
        console.print(f"{number:>{width}}  {line}".rstrip())


def _print_outline(resolver: Resolver, place: Place, console: Console) -> None:
    count = len(resolver.tree.lines(place.path))
    if not place.path.endswith(".py"):
        console.print(f"{count} lines")
        return
    try:
        table = resolver.table(place.path)
    except AnchorError as error:
        console.print(str(error))
        return
    console.print(f"{count} lines; it defines:")
    for name in table:
        symbol = table[name]
        if symbol.kind == "method" or (symbol.kind in {"class", "function"} and "." not in name):
            indent = "  " * (name.count(".") + 1)
            console.print(f"{indent}{name.rsplit('.', 1)[-1]}  {symbol.start}-{symbol.end}")
