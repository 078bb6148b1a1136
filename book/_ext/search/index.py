r"""From what the pages say to what a browser can look up.

Each term has a list of the entries in which it stands, and for each a number from 1 to 63: how much
this entry is about this term. It is BM25F, as far as it does not depend on the query: the counts in
the fields are weighted and added, divided by the length of the entry, and saturated, so that the
tenth occurrence says less than the second. What is left for the browser is to add up a few lists,
each times the rarity of its term.

A list is a string, so that the browser takes apart only the lists it needs. It is a row of pairs:
the distance to the next entry, in base 32 with the lowest digit first (a digit from 32 on says that
another follows), then the number.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from book._ext.search.pages import Entry, Page, asked_as
from book._ext.search.words import STOP_WORDS, stem

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
WEIGHTS = {
    "title": 6.0,
    "context": 0.8,
    "name": 5.0,
    "literal": 1.5,
    "upstream": 2.0,
    "body": 1.0,
    "code": 0.3,
}
LENGTH_MATTERS = 0.55  # b of BM25
SATURATES_AT = 1.6  # k1 of BM25
SHORTEST = 60  # added to every length: three lines are not better than thirty for being three

# Pages that list everything are the answer to little; a chapter is where a thing is explained.
_PRIORS = {
    "list": 0.55,
    "pin": 0.8,
    "reference": 0.9,
    "guide": 0.92,
    "exercises": 0.88,
    "mini-build": 0.92,
}
_KINDS = {
    "00-guide": "guide",
    "01-deep-dive": "deep dive",
    "02-mini-build": "mini-build",
    "EXERCISES": "exercises",
    "INTERVIEW": "interview",
    "CHEATSHEET": "cheat sheet",
}
_LISTS = {
    f"book/reference/{name}"
    for name in ("anchors", "correspondence", "minutes", "papers", "quantities")
}


@dataclass
class Placed:
    """An entry with its place in the book."""

    page: int
    entry: Entry


def page_kind(docname: str) -> str:
    """What kind of page this is, in the words of the results."""
    last = docname.rpartition("/")[2]
    if last in _KINDS:
        return _KINDS[last]
    if re.search(r"/lab-\d+[^/]*/", f"/{docname}"):
        return "lab"
    if docname.startswith("labs/"):
        return "labs"
    if docname in _LISTS:
        return "list"
    if docname == "UPSTREAM_PIN":
        return "pin"
    return "reference" if docname.startswith("book/reference/") else "page"


def crumb(docname: str) -> str:
    """Where a page stands: its phase and its kind."""
    kind = page_kind(docname)
    kind = {"list": "reference", "page": "", "pin": ""}.get(kind, kind)
    phase = re.search(r"/phase-(\d+)-", f"/{docname}")
    parts = [f"phase {phase[1]}" if phase else "", kind]
    return " · ".join(part for part in parts if part)


def build(pages: dict[str, Page]) -> dict[str, Any]:
    """The index of a book, ready to be written as JSON."""
    docnames = sorted(pages)
    placed = [Placed(i, entry) for i, name in enumerate(docnames) for entry in pages[name].entries]
    postings = _postings([one.entry for one in placed])
    vocabulary = sorted(postings)
    return {
        "pages": [
            [name, pages[name].title, crumb(name), _PRIORS.get(page_kind(name), 1.0)]
            for name in docnames
        ],
        "entries": [
            [one.page, one.entry.kind, one.entry.anchor, one.entry.title, one.entry.text]
            for one in placed
        ],
        "introduced": _introduced([one.entry for one in placed]),
        "upstream": _upstream(pages, docnames),
        "terms": " ".join(vocabulary),
        "postings": " ".join(encoded(postings[term]) for term in vocabulary),
        "stop": " ".join(sorted(STOP_WORDS | {stem(word) for word in STOP_WORDS})),
    }


def _postings(entries: list[Entry]) -> dict[str, list[tuple[int, int]]]:
    """Term to entries, each with how much it is about the term."""
    lengths = [_length(entry) for entry in entries]
    average = sum(lengths) / max(len(lengths), 1) or 1.0
    found: dict[str, list[tuple[int, int]]] = {}
    for number, entry in enumerate(entries):
        norm = 1 - LENGTH_MATTERS + LENGTH_MATTERS * lengths[number] / average
        weighted: dict[str, float] = {}
        for name, counts in entry.counts.items():
            weight = WEIGHTS[name]
            for term, count in counts.items():
                weighted[term] = weighted.get(term, 0.0) + weight * count
        for term, value in weighted.items():
            about = value / norm / (SATURATES_AT + value / norm)
            found.setdefault(term, []).append((number, max(1, round(63 * about))))
    return found


def _introduced(entries: list[Entry]) -> dict[str, list[int]]:
    """Each term with the entries that have it in italics, which is how the book introduces one.

    In a question or its answer italics only stress a word.
    """
    found: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        if entry.kind in {"question", "exercise"}:
            continue
        for term in entry.introduces - {""}:
            found.setdefault(term, []).append(number)
    return dict(sorted(found.items()))


def _length(entry: Entry) -> float:
    """The weighted number of terms; titles and names are no reason to call an entry long."""
    counts = entry.counts
    empty: Counter[str] = Counter()
    prose, code = counts.get("body", empty).total(), counts.get("code", empty).total()
    return SHORTEST + prose + WEIGHTS["code"] * code


def encoded(postings: list[tuple[int, int]]) -> str:
    """A list of postings, ordered by entry, as a string."""
    out: list[str] = []
    last = 0
    for number, about in postings:
        gap, last = number - last, number
        while gap > 31:
            out.append(DIGITS[32 + (gap & 31)])
            gap >>= 5
        out.append(DIGITS[gap])
        out.append(DIGITS[about])
    return "".join(out)


def _upstream(pages: dict[str, Page], docnames: list[str]) -> list[list[Any]]:
    """Each upstream name, the pages that use it, most often first, and what it may be asked as."""
    uses: dict[tuple[str, str], list[list[int]]] = {}
    for number, docname in enumerate(docnames):
        if page_kind(docname) == "list":
            continue
        for key, count in pages[docname].upstream.items():
            uses.setdefault(key, []).append([number, count])
    return [
        [
            *key,
            [part for use in sorted(uses[key], key=lambda u: (-u[1], u[0])) for part in use],
            " ".join(asked_as(*key)),
        ]
        for key in sorted(uses)
    ]
