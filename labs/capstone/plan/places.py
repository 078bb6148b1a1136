r"""Where would its test stand?

A regression test belongs into a file that exists, that a step of CI runs, and that is about the
place which will change. What a test file is about is read from what it does, not from what it is
called: `vllm/v1/core/sched/utils.py` has no `test_utils.py` of its own, and each file of that name
belongs to others; two files elsewhere import `check_stop` from it.

Evidence, strongest first:

- **imports**: names of the module that the file imports, from the module itself or from a package
  that passes them on; the symbol in question counts most;
- **names**: how often that symbol occurs, since a file that uses a helper once is not its test;
- **share**: how much of all that the file imports from the engine comes from here;
- **path**: words of the module's path that stand in the file's path, rare words first;
- **neighbours**: for a module that no test imports, the modules that import it count in its place.

A file that no step of CI runs is taken only where there is no other. It stays a guess, so the
reason is said beside it and the next two are named. On 57 places that were labelled beforehand the
first is right for 24 of the 25 that were looked at meanwhile, and for 27 of the 32 that were not;
the right one is among the three for 24 and 30 (`tests/capstone/plan/test_homes.py`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upstream_anchors.tree import Tree

from capstone.plan.ci_areas import covering

if TYPE_CHECKING:
    from capstone.plan.upstream import Upstream

_FROM = re.compile(r"^[ \t]*from (vllm[\w.]*) import[ \t]*(\([^)]*\)|[^\n]*)", re.MULTILINE)
_DOTTED = re.compile(r"\bvllm(?:\.\w+)+")
_WORD = re.compile(r"\w+")
_PART = re.compile(r"[a-z]+|\d+")
_NOT_A_NAME = re.compile(r"#[^\n]*|\bas \w+")

#: What each kind of evidence weighs; set on the labelled places that may be looked at.
IMPORTED, ASKED_FOR, MENTIONED, SHARE, NEIGHBOUR = 2.0, 5.0, 2.5, 6.0, 1.5
TAKEN, STEM, FOLDER, SAME_NAME, MIRROR, NO_STEP = 6.0, 1.6, 0.8, 4.0, 5.0, -20.0


@dataclass(frozen=True)
class Home:
    r"""A test file, how much speaks for it, and the reason in words."""

    path: str
    score: float
    why: str


@dataclass(frozen=True)
class Suite:
    r"""One test file: the dotted names that it takes from the engine, and its text."""

    path: str
    taken: frozenset[str]
    text: str

    @property
    def modules(self) -> int:
        r"""How many names it takes, as the whole of which one module has a share."""
        return max(1, len(self.taken))


class Suites:
    r"""All test files of the tree, read once, and how rare each word of their paths is."""

    def __init__(self, tree: Tree) -> None:
        self.all = [_read(tree, path) for path in tree.python_files("tests") if _is_test(path)]
        counts = Counter(part for suite in self.all for part in set(_parts(suite.path)))
        self.rarity = {part: math.log(len(self.all) / n) for part, n in counts.items()}
        self.stems = {path.rsplit("/", 1)[-1] for path in tree.python_files("vllm")}

    def alike(self, source: str, test: str) -> float:
        r"""Words that both paths have; the file's own count more than the folders around it."""
        *folders, name = source.split("/")
        *around, test_name = test.split("/")
        stem, there = set(_parts(name)), set(_parts(test_name)) - {"test"}
        above, beside = set(_parts("/".join(folders[1:]))), set(_parts("/".join(around[1:])))
        score = FOLDER * self._rare((above & beside) | (above & there) | (stem & beside))
        # Words of the test's name that the source knows nothing of: it is about something else.
        score -= FOLDER * self._rare(there - stem - above)
        if test_name == f"test_{name}":
            score += SAME_NAME * bool(above & beside or not above)
        if test_name == f"test_{name}" or test_name.removeprefix("test_") not in self.stems:
            # The share of its name that is there: `prefill` is a third of a longer one. A test
            # that has the name of another module is about that one.
            same = self._rare(stem & there)
            score += STEM * same * same / (sum(self.rarity.get(p, 9.0) for p in stem) or 1.0)
        return score + MIRROR * _mirrored(folders[1:], around[1:])

    def _rare(self, parts: Iterable[str]) -> float:
        return sum(self.rarity.get(part, 0.0) for part in parts)


def _is_test(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith("test_")


def _read(tree: Tree, path: str) -> Suite:
    # Not through the tree's own cache: it would keep ten megabytes as lines.
    text = (tree.root / path).read_text(encoding="utf-8", errors="replace")
    return Suite(path, frozenset(_taken(text)), text)


def _taken(text: str) -> Iterator[str]:
    # Imports, and dotted names in strings: `patch("vllm.v1.engine.core.EngineCore")`.
    yield from _DOTTED.findall(text)
    for module, names in _FROM.findall(text):
        for name in _WORD.findall(_NOT_A_NAME.sub("", names)):
            yield f"{module}.{name}"


def _parts(path: str) -> list[str]:
    return _PART.findall(path.removesuffix(".py").lower())


@dataclass(frozen=True)
class _Wanted:
    """A source file, the symbols of it that are asked for, and its classes and functions."""

    path: str
    symbols: tuple[str, ...]
    public: frozenset[str]

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def names_in(self, suite: Suite) -> set[str]:
        """The names of this module that a test file takes; "" for the module as such."""
        found = set()
        for dotted in suite.taken:
            if dotted == self.module:
                found.add("")
            elif dotted.startswith(f"{self.module}."):
                found.add(dotted[len(self.module) + 1 :].split(".")[0])
            else:
                package, _, name = dotted.rpartition(".")
                if name in self.public and self.module.startswith(f"{package}."):
                    found.add(name)  # passed on by a package around it
        return found


def homes(targets: Sequence[str], upstream: Upstream, most: int = 3) -> list[Home]:
    r"""The test files that speak of these places, best first; empty where nothing does."""
    wanted = _wanted(targets, upstream)
    suites = upstream.suites
    found = [home for suite in suites.all if (home := _home(suite, wanted, suites)) is not None]
    if not any(home.why for home in found):
        found = _by_neighbours(found, wanted, upstream)
    found.sort(key=lambda home: (-home.score, home.path))
    # Reading CI's selection costs a file each, so only the first few are asked about.
    found = [_with_step(home, upstream) for home in found[: 4 * most]]
    found.sort(key=lambda home: (-home.score, home.path))
    return found[:most]


def _wanted(targets: Sequence[str], upstream: Upstream) -> list[_Wanted]:
    symbols: dict[str, list[str]] = {}
    for target in targets:
        place = upstream.find(target)
        here = symbols.setdefault(place.path, [])
        if place.symbol:
            here.append(place.symbol)
    found = []
    for path, names in symbols.items():
        public: frozenset[str] = frozenset()
        if path.endswith(".py"):
            table = upstream.resolver.table(path)
            kinds = {"class", "function"}
            public = frozenset(name for name in table if table[name].kind in kinds)
        found.append(_Wanted(path, tuple(dict.fromkeys(names)), public))
    return found


def _home(suite: Suite, wanted: Iterable[_Wanted], suites: Suites) -> Home | None:
    score, reasons = 0.0, []
    for one in wanted:
        names = one.names_in(suite)
        asked = [symbol for symbol in one.symbols if symbol.split(".")[0] in names]
        if names:
            score += TAKEN + IMPORTED * math.log2(1 + len(names))
            score += SHARE * len(names) / suite.modules
            score += ASKED_FOR * bool(asked)
            for symbol in asked:
                score += MENTIONED * math.log2(1 + _mentions(symbol, suite.text))
            said = {symbol.split(".")[0] for symbol in asked} or names - {""} or {"the module"}
            reasons.append(", ".join(sorted(said)[:2]))
        score += suites.alike(one.path, suite.path)
    return Home(suite.path, score, "; ".join(reasons)) if score > 0 else None


def _mentions(symbol: str, text: str) -> int:
    # Of `Scheduler.schedule`, the method where it is called and else the class.
    owner, _, name = symbol.rpartition(".")
    pattern = rf"\.{name}\(" if owner else rf"\b{name}\b"
    return len(re.findall(pattern, text))


def _mirrored(folders: list[str], around: list[str]) -> float:
    """How much of the way the test's folder follows the source's, if it leaves it nowhere."""
    if not folders or folders[: len(around)] != around:
        return 0.0
    return len(around) / len(folders)


def _by_neighbours(
    found: Sequence[Home], wanted: Sequence[_Wanted], upstream: Upstream
) -> list[Home]:
    """Scores again, with the modules that import the wanted ones in their place."""
    near = [_Wanted(path, (), frozenset()) for one in wanted for path in _importers(one, upstream)]
    by_path = {suite.path: suite for suite in upstream.suites.all}
    again = []
    for home in found:
        suite = by_path[home.path]
        uses = {one.path: len(names) for one in near if (names := one.names_in(suite))}
        weight = sum(math.log2(1 + count) for count in uses.values())
        why = f"through {min(uses, key=lambda path: (-uses[path], path))}" if uses else ""
        again.append(Home(home.path, home.score + NEIGHBOUR * weight, why))
    return again


def _importers(one: _Wanted, upstream: Upstream) -> set[str]:
    package, _, stem = one.module.rpartition(".")
    # Each pattern begins with its own letters, which is what makes 25 MB a matter of a moment.
    patterns = (
        rf"{re.escape(one.module)}\b",
        rf"from {re.escape(package)} import [^\n]*\b{stem}\b",
    )
    found = (upstream.tree.files_matching(pattern.encode()) for pattern in patterns)
    return {path for paths in found for path in paths} - {one.path}


def _with_step(home: Home, upstream: Upstream) -> Home:
    if covering(upstream.steps, upstream.tree, home.path):
        return home
    return Home(home.path, home.score + NO_STEP, home.why)
