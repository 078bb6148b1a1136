r"""What became of a flag, an environment variable, a log string, a default?

These are facts rather than places: the name, the text or the value is what a sentence of the book
rests on. So they are looked up by it first, with the resolver's own rules, and only when that fails
is the definition around them followed to see what stands there now.
"""

from __future__ import annotations

import difflib

from upstream_anchors.defaults import read_default
from upstream_anchors.drift.line_fates import enclosing
from upstream_anchors.drift.search import Found, Lost, Search
from upstream_anchors.errors import AnchorError
from upstream_anchors.log_strings import log_calls
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.target import Target

# How alike two log messages must be to pass for one that was edited.
_SAME_MESSAGE = 0.6


def follow_registration(search: Search, place: Place) -> Found | Lost:
    r"""Where a flag or an environment variable is registered now.

    A flag that a dataclass field stands for is found through the field, wherever its class went.
    """
    try:
        here = search.new.resolve(place.target)
        return Found(here.path, here.symbol, here.start, here.end)
    except AnchorError as error:
        reason = error
    field = _field_at(search.old, place)
    if field is not None:
        found = search.definition(place.path, field)
        if isinstance(found, Found):
            return Found(found.path, place.symbol, found.start, found.end, found.score, holds=False)
    return Lost(_short(reason) if "other commands" in str(reason) else "")


def _field_at(resolver: Resolver, place: Place) -> str | None:
    if not place.path.endswith(".py"):
        return None
    table = resolver.table(place.path)
    for name in table:
        symbol = table[name]
        if symbol.kind == "attribute" and (symbol.start, symbol.end) == (place.start, place.end):
            return name
    return None


def _short(error: AnchorError) -> str:
    return error.reason.split(": ", 1)[-1].split(";")[0]


def follow_log(search: Search, place: Place, fragment: str) -> Found | Lost:
    r"""The call that prints this text now, or the one that prints nearly the same in its place."""
    try:
        here = search.new.resolve(place.target)
        return Found(here.path, None, here.start, here.end)
    except AnchorError as error:
        reason = error
    function = enclosing(search.old, place.path, place.start or 1)
    found = search.definition(place.path, function) if function else search.file(place.path)
    if isinstance(found, Lost):
        return Lost("several calls print it now") if "logger calls" in str(reason) else Lost()
    said = _message_at(search.old, place)
    best: tuple[float, int, int] | None = None
    for call, message in log_calls(search.new.tree.text(found.path)):
        first, last = call.lineno, call.end_lineno or call.lineno
        if found.start is not None and not found.start <= first <= (found.end or first):
            continue
        likeness = difflib.SequenceMatcher(None, said, message, autojunk=False).ratio()
        if fragment in message:
            likeness = 1.0
        if best is None or likeness > best[0]:
            best = (likeness, first, last)
    if best is None or best[0] < _SAME_MESSAGE:
        return Lost("its function stands, and no longer says it")
    note = "the text of the log changed" if best[0] < 1 else "several calls print it now"
    return Found(found.path, None, best[1], best[2], found.score, holds=False, note=note)


def _message_at(resolver: Resolver, place: Place) -> str:
    for call, message in log_calls(resolver.tree.text(place.path)):
        if call.lineno == place.start:
            return message
    return ""


def follow_default(search: Search, place: Place) -> tuple[Found | Lost, str]:
    r"""Where a default is declared now, and its value there; an empty value when it is gone."""
    target = Target.parse(place.target)
    name = place.symbol or ""
    found = _declared_at(search, place.path, name)
    if found is None:
        owner, _, field = name.rpartition(".")
        home = search.definition(place.path, owner) if owner else search.file(place.path)
        if isinstance(home, Lost):
            return home, ""
        if home.score is None:
            return Lost("its class stands" if owner else "its file stands"), ""
        renamed = f"{home.symbol}.{field}" if home.symbol else field
        found = _declared_at(search, home.path, renamed, home.score)
        if found is None:
            return Lost(), ""
    place_there, value = found
    holds = place_there.score is None and _equal(value, target.value or "")
    return Found(**{**vars(place_there), "holds": holds}), value


def _declared_at(
    search: Search, path: str, name: str, score: float | None = None
) -> tuple[Found, str] | None:
    if not search.new.tree.is_file(path):
        return None
    try:
        value, start, end = read_default(search.new, path, name)
    except AnchorError:
        return None
    return Found(path, name, start, end, score), value


def _equal(value: str, claimed: str) -> bool:
    import ast

    try:
        a, b = ast.literal_eval(value), ast.literal_eval(claimed)
    except (ValueError, SyntaxError):
        return value == claimed
    return type(a) is type(b) and a == b
