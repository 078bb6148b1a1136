r"""What of a page is looked for, and under which heading?

A page is cut into *entries*, the places that a result can lead to: its sections, each object of
our code, each question. What is said in an entry goes into *fields*, because a word counts for
more in a title than in a program, and a name counts most where it is defined.

This runs once for each page that is read, and what it finds is kept in Sphinx's environment: a
build after a one-page edit reads one page and not the book.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from docutils import nodes
from sphinx import addnodes

from book._ext.boxes import box
from book._ext.questions import summary
from book._ext.search.words import name_key, terms
from upstream_anchors.place import Place
from upstream_anchors.target import Target

FIELDS = ("title", "context", "name", "literal", "upstream", "body", "code")

_SKIPPED = (
    nodes.raw,
    nodes.comment,
    nodes.system_message,
    nodes.math,
    nodes.math_block,
    addnodes.index,
    addnodes.toctree,
    summary,
)
# The first that a notebook's output has is the one that the page shows.
_SHOWN = ("text/markdown", "text/html", "image/svg+xml", "image/png", "text/plain")
_LONGEST_TITLE = 120
_LONGEST_TERM = 3  # words


@dataclass
class Entry:
    """One place that a result can lead to."""

    kind: str  # page, section, code, question, exercise, invariant
    anchor: str
    title: str
    text: str = ""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    introduces: set[str] = field(default_factory=set)  # the terms that it has in italics, stemmed

    def count(self, name: str, text: str) -> None:
        """Count the terms of a text for a field."""
        found = terms(text, stop=name not in {"title", "context"})
        if found:
            self.counts.setdefault(name, Counter()).update(found)


@dataclass
class Page:
    """What is known of a page: its entries in order, and how often it uses which upstream name."""

    title: str
    entries: list[Entry]
    upstream: Counter[tuple[str, str]]  # (path, symbol), or (kind, name) for what has no path


class PageReader:
    """Walks one doctree and collects its entries."""

    def __init__(self, title: str) -> None:
        self.page = Page(title, [Entry("page", "", title)], Counter())
        self.page.entries[0].count("title", title)
        self._pieces: dict[int, list[str]] = {0: []}

    def read(self, document: nodes.document) -> Page:
        """All of a document."""
        self._children(document, 0, first=True)
        for number, pieces in self._pieces.items():
            entry = self.page.entries[number]
            entry.text = " ".join("".join(pieces).split())
            entry.count("body", entry.text)
            if entry.kind != "page":
                entry.count("context", self.page.title)
        return self.page

    def _begin(self, kind: str, anchor: str, title: str) -> int:
        title = " ".join(title.split())
        entry = Entry(kind, anchor, shortened(title))
        entry.count("title", title)
        self.page.entries.append(entry)
        number = len(self.page.entries) - 1
        self._pieces[number] = []
        return number

    def _children(self, node: nodes.Element, at: int, *, first: bool = False) -> None:
        for child in node.children:
            if isinstance(child, nodes.section) and first:
                self._children(child, at)  # the page's own title is known
            elif isinstance(child, nodes.Text):
                self._pieces[at].append(child.astext())
            elif isinstance(child, nodes.Element):
                self._element(child, at)

    def _element(self, node: nodes.Element, at: int) -> None:
        entry = self.page.entries[at]
        if isinstance(node, _SKIPPED):
            return
        if isinstance(node, nodes.title) and isinstance(node.parent, nodes.section):
            return
        if isinstance(node, nodes.paragraph) and "entry-header" in node["classes"]:
            return
        if isinstance(node, nodes.section):
            self._children(node, self._begin("section", node["ids"][0], heading(node)))
        elif isinstance(node, addnodes.desc):
            self._object(node, at)
        elif isinstance(node, box) and node["ids"]:
            self._box(node, at)
        elif isinstance(node, nodes.literal_block):
            entry.count("code", node.astext())
        elif isinstance(node, nodes.literal):
            entry.count("literal", node.astext())
            self._pieces[at].append(node.astext())
        elif isinstance(node, nodes.image):
            self._pieces[at].append(node.get("alt", ""))
        elif isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle":
            shown = min(node.children, key=lambda child: preference(child.get("mime_type", "")))
            self._children(shown, at)
        elif isinstance(node, nodes.container) and "up-code" in node["classes"]:
            self._excerpt(node, at)
        else:
            if isinstance(node, nodes.emphasis) and len(node.astext().split()) <= _LONGEST_TERM:
                entry.introduces.add(" ".join(terms(node.astext(), stop=True)))
            if isinstance(node, nodes.reference) and "up_place" in node:
                self._use(Place(*node["up_place"]), at, 1)
            self._children(node, at)
            if not isinstance(node, nodes.Inline):
                self._pieces[at].append(" ")

    def _object(self, node: addnodes.desc, at: int) -> None:
        signature = node[0]
        if not signature.get("ids"):
            self._children(node, at)
            return
        full = f"{signature['module']}.{signature['fullname']}"
        number = self._begin("code", signature["ids"][0], signature["fullname"])
        entry = self.page.entries[number]
        parts = full.split(".")
        for start in range(len(parts)):
            entry.count("name", ".".join(parts[start:]))
        for name in signature.findall(addnodes.desc_sig_name):
            entry.count("code", name.astext())
        self._children(node[1], number)

    def _box(self, node: box, at: int) -> None:
        anchor = node["ids"][0]
        kind = anchor.split("-")[0]
        prompt = next((b for b in node.findall(box) if "entry-prompt" in b["classes"]), None)
        if kind in {"question", "exercise"} and prompt is not None:
            number = self._begin(kind, anchor, prompt.astext())
            self._children(prompt, number)
            self._pieces[number].clear()  # it is the title
            for child in node.children:
                if child is not prompt:
                    self._element(child, number)
        elif kind == "inv":
            number = self._begin("invariant", anchor, anchor.removeprefix("inv-"))
            self.page.entries[number].count("name", anchor.removeprefix("inv-"))
            self._children(node, number)
        else:
            self._children(node, at)

    def _excerpt(self, node: nodes.container, at: int) -> None:
        for caption in node.findall(nodes.caption):
            for link in caption.findall(nodes.reference):
                if "up_place" in link:
                    self._use(Place(*link["up_place"]), at, 3)
            self._pieces[at].append(" ".join(part.astext() for part in caption.children) + " ")
        for code in node.findall(nodes.literal_block):
            self.page.entries[at].count("code", code.astext())

    def _use(self, place: Place, at: int, weight: int) -> None:
        """Note an anchor under every form in which somebody might type it."""
        entry = self.page.entries[at]
        key = upstream_key(place.target)
        self.page.upstream[key] += weight
        for form in spelled(*key):
            for _ in range(weight):
                entry.count("upstream", form)


def heading(section: nodes.section) -> str:
    """The text of a section's title."""
    title = section.next_node(nodes.title)
    return title.astext() if title is not None else ""


def shortened(title: str) -> str:
    """A title that fits a line or two: a question's first words."""
    if len(title) <= _LONGEST_TITLE:
        return title
    return title[:_LONGEST_TITLE].rsplit(" ", 1)[0] + " …"


def preference(mime_type: str) -> int:
    """Where a type of output stands among those that a page shows."""
    return _SHOWN.index(mime_type) if mime_type in _SHOWN else len(_SHOWN)


def upstream_key(target: str) -> tuple[str, str]:
    """What an anchor names, without the line in it: path and symbol, or kind and name."""
    parsed = Target.parse(target)
    if parsed.path is not None:
        return parsed.path, parsed.symbol or ""
    if parsed.kind == "log":
        return "log", parsed.fragment or ""
    return parsed.kind, parsed.name or ""


def spelled(where: str, name: str) -> list[str]:
    """The forms of an upstream name: the file, the symbol, its parts, the module's name for it.

    The only place that knows them: the index counts them as text, and {py:func}`asked_as` hands
    them to the browser.
    """
    if name and "/" not in where and "." not in where:
        return [name]
    last = where.rpartition("/")[2]
    # A folder goes by its path alone: the end of it, `core` or `tests`, is a word like any other.
    forms = [where] if last.isidentifier() and last.islower() else [where, last]
    if name and not re.search(r"\s", name):
        module = re.sub(r"\.py$", "", where)
        parts = name.split(".")
        forms += [".".join(parts[start:]) for start in range(len(parts))]
        forms += [".".join(parts[:end]) for end in range(1, len(parts))]  # the classes around it
        forms.append(f"{module}.{name}")
    elif name:
        forms.append(name)
    return forms


def asked_as(where: str, name: str) -> list[str]:
    """The queries that mean this upstream name and nothing else, as keys that ignore spelling.

    A file's own name keeps its ending: who types `core.py` means the file and all in it, and `core`
    is a word like any other.
    """
    last = where.rpartition("/")[2]
    forms = [form for form in spelled(where, name) if form != last or not last.endswith(".py")]
    keys = [name_key(form) for form in forms]
    if last.endswith(".py"):
        keys.append(f"{name_key(last)}.py")
    return list(dict.fromkeys(keys))
