r"""What the page's script needs to count progress, and the minutes at the head of a page.

Every build writes `course.js`: the labs and the pages of each phase with their minutes, as far as
they are written. A page for which `phases.toml` declares minutes says so below its title ("about
40 minutes") and can be ticked as read at its foot. A lab's README has both in its card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from labkit.catalogue import Catalogue
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.boxes import new_box
from book._ext.cards import page_of
from book.phases import declared_minutes, is_lesson, others, phases
from book.reading_time import in_words

SCRIPT = "course.js"


def course(root: Path, known: set[str]) -> dict[str, dict[str, list]]:
    """Labs and pages of each written phase, and lessons of each module, with their minutes."""
    labs = [lab for lab in Catalogue(root).labs if page_of(lab) in known]
    listed = {}
    for phase in phases():
        if phase.guide not in known:
            continue
        documents = [phase.guide, *phase.documents(known)]
        listed[f"{phase.number:02d}"] = {
            "labs": [[lab.short, lab.minutes] for lab in labs if lab.phase == phase.folder],
            "pages": [[d, phase.budget(d)] for d in documents if phase.budget(d)],
        }
    for document, minutes in sorted(others().items()):
        if is_lesson(document) and document in known:  # it counts for its module
            listed.setdefault(document.split("/")[-2], {"labs": [], "pages": []})["pages"].append(
                [document, minutes]
            )
    return listed


def budget(document: str) -> int | None:
    """The declared minutes of a page that can be ticked as read, else `None`."""
    return declared_minutes(document)


def write_script(app: Sphinx, env: BuildEnvironment) -> None:
    """After reading, before writing: pages then refer to the script by its checksum."""
    if app.builder.format != "html":
        return
    data = json.dumps(course(Path(app.srcdir), env.found_docs), sort_keys=True)
    target = Path(app.outdir) / "_static" / SCRIPT
    target.parent.mkdir(parents=True, exist_ok=True)
    text = f"(window.insideTheEngine ??= {{}}).course = {data};\n"
    target.write_text(text, encoding="utf-8")


def add_minutes(app: Sphinx, doctree: nodes.document) -> None:
    """Put the minutes below the title."""
    minutes = budget(app.env.docname)
    noted: dict[str, int | None] = _noted(app.env)
    noted[app.env.docname] = minutes
    title = next(doctree.findall(nodes.title), None)
    if minutes is None or title is None:
        return
    line = nodes.paragraph("", f"About {in_words(minutes)}")
    title.parent.insert(title.parent.index(title) + 1, new_box("page-minutes", line))


def _noted(env: BuildEnvironment) -> dict[str, int | None]:
    if not hasattr(env, "page_minutes"):
        env.page_minutes = {}  # type: ignore[attr-defined]
    return env.page_minutes  # type: ignore[attr-defined]


def outdated(app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
    """Pages whose declared minutes are other than what they print."""
    known = _noted(env).items()
    return [d for d, minutes in known if d in env.found_docs and budget(d) != minutes]


def add_tick(app: Sphinx, pagename: str, template: str, context: dict, doctree: Any) -> None:
    """Tell the template of the page's foot whether the page can be ticked as read."""
    context["page_has_minutes"] = budget(pagename) is not None


def setup(app: Sphinx) -> dict[str, object]:
    """Connect; the script comes before the ones that read it."""
    app.connect("env-updated", write_script)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", add_minutes)
    app.connect("html-page-context", add_tick)
    app.add_css_file("css/progress.css", priority=850)  # after the sheets that conf.py names
    app.add_js_file("js/store.js", loading_method="defer", priority=400)
    app.add_js_file(SCRIPT, loading_method="defer", priority=400)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
