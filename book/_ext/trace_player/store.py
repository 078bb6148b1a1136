r"""Which pages show which recordings, and which of them must be read again.

A page that is not read again keeps its recordings, so the pages themselves are the cache. Whether
one must be read again is asked in two steps. First the code: what {py:mod}`book.dependencies`
finds for the registry of scenarios, that is, the syntax trees without docstrings of the scenarios
and of every module of the engine that they reach. If that is as it was, nothing is played. If it
changed, the scenarios are played, and a page is read again only if what it shows came out
different.
"""

from __future__ import annotations

import functools
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.notebooks import code_tree
from book.dependencies import of_module
from book.traces.registry import SCENARIOS, recorded

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = "book.traces.registry"

#: A recording by name; a scenario is played at most once in a build.
recording_of = functools.cache(recorded)


def pages(env: BuildEnvironment) -> dict[str, dict[str, str]]:
    """Page to scenario to the digest of the recording that the page shows."""
    if not hasattr(env, "trace_pages"):
        env.trace_pages = {}  # type: ignore[attr-defined]
    return env.trace_pages


def note_use(env: BuildEnvironment, name: str) -> int:
    """Remember that the page shows this scenario; returns how many it shows by now."""
    shown = pages(env).setdefault(env.docname, {})
    shown[name] = recording_of(name).digest()
    uses = env.temp_data.setdefault("trace_uses", {})
    uses[name] = uses.get(name, 0) + 1
    return uses[name]


def outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Pages with a recording that would come out different now."""
    code = of_module(REGISTRY, ROOT, code_tree(app, ROOT)).digest()
    before = getattr(env, "trace_code", None)
    env.trace_code = code  # type: ignore[attr-defined]
    if before in (None, code):
        return []
    return [
        docname
        for docname, shown in sorted(pages(env).items())
        if docname in env.found_docs
        and any(
            name not in SCENARIOS or recording_of(name).digest() != digest
            for name, digest in shown.items()
        )
    ]


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again starts without recordings."""
    pages(env).pop(docname, None)
