r"""What a page shows of a definition, as a digest: an edit of anything else in its file is no edit.

A listing prints code and line numbers, a table of counterparts prints how long a class is. Had the
page depended on the file, a better sentence in a docstring at its end would have a chapter read
again that has nothing of it. So a page notes, for each definition, a *view*: the text of what it
takes from there. The file is looked at again when its bytes have changed, and the page is read
again when the view has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.weave.source import Piece, SourceError, code_without_docstrings, locate

#: How a view is taken, by its name.
VIEWS: dict[str, Callable[[Piece], object]] = {"code": code_without_docstrings}

# Page, then view and full name of a definition: its file, digests of the file and of the view.
Shown = dict[str, dict[tuple[str, str], tuple[str, str, str]]]


def shown(env: BuildEnvironment) -> Shown:
    """What each page has noted."""
    if not hasattr(env, "weave_shown"):
        env.weave_shown = {}  # type: ignore[attr-defined]
    return env.weave_shown  # type: ignore[attr-defined,no-any-return]


def note(env: BuildEnvironment, view: str, name: str, piece: Piece) -> None:
    """The page being read shows this view of this piece."""
    noted = shown(env).setdefault(env.docname, {})
    noted[view, name] = (str(piece.path), _digest_of_file(piece.path), _digest(view, piece))


def outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Pages that show something which looks different now, or is gone."""
    roots = tuple(Path(root) for root in app.config.weave_roots)
    digests: dict[str, str | None] = {}
    found = []
    for page, noted in sorted(shown(env).items()):
        for (view, name), (path, file_digest, before) in noted.items():
            if path not in digests:
                digests[path] = _digest_of_file(Path(path)) if Path(path).is_file() else None
            if digests[path] == file_digest:
                continue
            now = _view_now(view, name, roots)
            if now == before and digests[path] is not None:
                noted[view, name] = (path, str(digests[path]), before)
            else:
                found.append(page)
    return sorted(set(found) & env.found_docs)


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again starts with nothing noted."""
    shown(env).pop(docname, None)


def _view_now(view: str, name: str, roots: tuple[Path, ...]) -> str | None:
    try:
        return _digest(view, locate(name, roots))
    except (SourceError, SyntaxError):
        return None


def _digest(view: str, piece: Piece) -> str:
    return hashlib.sha256(repr(VIEWS[view](piece)).encode()).hexdigest()


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def connect_shown(app: Sphinx) -> None:
    """Ask when Sphinx decides which pages are out of date."""
    app.connect("env-get-outdated", outdated)
    app.connect("env-purge-doc", forget)
