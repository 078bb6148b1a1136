r"""How alike are two definitions, when neither path nor name can be relied on?

$$\text{score} = 0.5 \cdot \text{body} + 0.3 \cdot \text{name} + 0.2 \cdot \text{place}$$

**Body** compares syntax trees. A tree is taken apart into features: what each node is (its type
with the identifier or constant it carries) and what stands directly under what. Docstrings are left
out, and the definition's own name reads `*` wherever it occurs. The two multisets are compared by
Dice's coefficient, and every feature weighs as much as its identifier is rare among all candidates:
that two methods both have a `self` says nothing, that both mention `ref_cnt` says a lot. C++ and
CUDA have no syntax tree here; their features are tokens and pairs of tokens.

**Name** is 1 for the same last name, else Dice's coefficient over the words in it.

**Place** is what stands around it: see {py:mod}`upstream_anchors.drift.search`.

A candidate is taken when its score reaches `THRESHOLD` and is ahead of every other by `MARGIN`. A
body of fewer than `SMALL` features proves nothing, so a small one must keep its name.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import pairwise

from upstream_anchors.drift.wording import drop_docstrings, parsed

THRESHOLD = 0.55
MARGIN = 0.05
SMALL = 12
BODY, NAME, PLACE = 0.5, 0.3, 0.2

_WORD = re.compile(r"[A-Za-z_]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_C_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STRUCTURE = 0.2  # the weight of a feature that carries no identifier

Feature = tuple[Hashable, ...]


def identifiers(text: str) -> frozenset[str]:
    r"""The identifiers of a slice: what a first, cheap comparison goes by."""
    return frozenset(_WORD.findall(text))


def name_words(name: str) -> frozenset[str]:
    r"""`KVCacheManager` and `kv_cache_manager` have the same words."""
    return frozenset(part.lower() for part in _PART.findall(name))


def overlap(left: Iterable[Hashable], right: Iterable[Hashable]) -> float:
    r"""Dice's coefficient of two sets; 1 for two empty ones."""
    a, b = set(left), set(right)
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def name_likeness(left: str, right: str) -> float:
    r"""Of two dotted names: 1 when the last parts are the same, else how many words they share."""
    a, b = left.rsplit(".", 1)[-1], right.rsplit(".", 1)[-1]
    if a == b:
        return 1.0
    return min(0.95, overlap(name_words(a), name_words(b)))


def features(text: str, name: str, python: bool = True) -> Counter[Feature]:
    r"""The multiset that a definition is compared by; `name` is its own, which is left out."""
    own = name.rsplit(".", 1)[-1]
    tree = parsed(text) if python else None
    if tree is None:
        tokens = ["*" if t == own else t for t in _TOKEN.findall(_C_COMMENT.sub(" ", text))]
        return Counter([*zip(tokens), *pairwise(tokens)])
    drop_docstrings(tree)
    found: Counter[Feature] = Counter()
    stack: list[tuple[ast.AST, str]] = [(node, "") for node in tree.body]
    while stack:
        node, above = stack.pop()
        kind, carried = type(node).__name__, _carried(node)
        if carried == own:
            carried = "*"
        found[(kind, carried)] += 1
        found[(above, kind, carried)] += 1
        stack += [
            (child, kind)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.Load, ast.Store, ast.Del))
        ]
    return found


def _carried(node: ast.AST) -> str:
    for field in ("id", "attr", "arg", "name"):
        value = getattr(node, field, None)
        if isinstance(value, str):
            return value
    if isinstance(node, ast.Constant):
        return repr(node.value)[:60]
    return ""


class Rarity:
    r"""How much an identifier says: little if every candidate has it, much if hardly one does."""

    def __init__(self, documents: Iterable[frozenset[str]]) -> None:
        self.counts: Counter[str] = Counter()
        self.number = 0
        for words in documents:
            self.counts.update(words)
            self.number += 1

    def of(self, word: str) -> float:
        r"""From 0.1 for a word of every candidate to 1 for a word of none."""
        value = math.log((self.number + 1) / (self.counts[word] + 0.5)) / math.log(self.number + 2)
        return min(1.0, max(0.1, value))

    def weight(self, feature: Feature) -> float:
        r"""The weight of a feature: that of its last identifier."""
        carried = feature[-1]
        if not isinstance(carried, str) or not carried or carried == "*":
            return _STRUCTURE
        return self.of(carried) if _WORD.fullmatch(carried) else 2 * _STRUCTURE

    def likeness(self, left: Counter[Feature], right: Counter[Feature]) -> float:
        r"""Dice's coefficient of two multisets of features, each weighed by its rarity."""
        shared = total = 0.0
        for feature in left.keys() | right.keys():
            weight = self.weight(feature)
            a, b = left[feature], right[feature]
            shared += weight * 2 * min(a, b)
            total += weight * (a + b)
        return shared / total if total else 1.0
