r"""Which page is the home of which object, known before any page is read.

`{remaining-objects}` must print what no other page prints. It cannot wait until all pages are read
(it is itself on one of them), so the sources are scanned for `{object}` first; that costs a few
milliseconds. When the answer changes, the pages that asked are read again.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_HOME = re.compile(
    r"^[ \t]*[`:]{3,}\{(?P<kind>object|docstring|remaining-objects)\}[ \t]+(?P<name>[\w.]+)[ \t]*\n"
    r"(?P<options>(?:[ \t]*:[\w-]+:.*\n)*)",
    re.MULTILINE,
)


def scan(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """The directives of a page that make it a home: kind, full name, options."""
    found = []
    for match in _HOME.finditer(text):
        options = dict(re.findall(r":([\w-]+):[ \t]*(.*)", match["options"]))
        found.append((match["kind"], match["name"], options))
    return found


def claimed(env: BuildEnvironment) -> dict[str, str]:
    """Object name to the page that is its home; a class claims the members that it shows."""
    return getattr(env, "weave_homes", {})


def shares(env: BuildEnvironment) -> set[str]:
    """The packages that some page prints what remains of."""
    return getattr(env, "weave_shares", set())


def note_asker(env: BuildEnvironment) -> None:
    """What this page shows depends on what other pages claim."""
    if not hasattr(env, "weave_askers"):
        env.weave_askers = set()  # type: ignore[attr-defined]
    env.weave_askers.add(env.docname)


def _collect(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    homes: dict[str, str] = {}
    rests: set[str] = set()
    for docname in sorted(env.found_docs):
        path = Path(str(env.doc2path(docname)))
        if path.suffix != ".md":
            continue
        for kind, name, options in scan(path.read_text(encoding="utf-8")):
            if kind == "remaining-objects":
                rests.add(name)
                continue
            if kind == "docstring":
                if "no-index" not in options:
                    homes[name] = docname
                continue
            members = options.get("members")
            homes[name] = docname
            if "no-members" in options:
                continue
            if members is None:
                homes[f"{name}.*"] = docname
            else:
                homes.update({f"{name}.{m.strip()}": docname for m in members.split(",")})
    changed = homes != getattr(env, "weave_homes", None) or rests != shares(env)
    env.weave_homes = homes  # type: ignore[attr-defined]
    env.weave_shares = rests  # type: ignore[attr-defined]
    askers: set[str] = getattr(env, "weave_askers", set())
    return sorted(askers & env.found_docs) if changed else []


def _forget_first(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Forget all pages that are about to be read before the first of them is.

    Sphinx forgets each page just before it reads it. An object, or a question, that moved to a
    page which comes earlier in the alphabet would be a duplicate of its own old self.
    """
    for docname in docnames:
        for domain in env.domains.sorted():
            domain.clear_doc(docname)


def connect_homes(app: Sphinx) -> None:
    """Scan before Sphinx decides which pages are out of date."""
    app.add_config_value("weave_roots", [], "env", types=frozenset({list, tuple}))
    app.connect("env-get-outdated", _collect)
    app.connect("env-before-read-docs", _forget_first)
