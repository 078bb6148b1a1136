r"""How does a name become lines?

Only the files that a target names are parsed, and each once. The two exceptions read more: a log
string may stand anywhere under `vllm/`, and a flag may be registered by several commands; both
have a file of their own.

A resolver answers or refuses, it never guesses. When a name is wrong, the refusal lists what is
near, so that a writer fixes an anchor by pasting.
"""

from __future__ import annotations

from dataclasses import replace

from upstream_anchors.c_symbols import C_SUFFIXES, c_definitions
from upstream_anchors.defaults import check_default
from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.flags import find_environment_variable, find_flag
from upstream_anchors.lock import Lock
from upstream_anchors.log_strings import find_log_call
from upstream_anchors.pin import Pin, the_pin
from upstream_anchors.place import Place
from upstream_anchors.symbols import Symbol, SymbolTable, markdown_headings
from upstream_anchors.target import Target
from upstream_anchors.tree import Tree

# How many re-exports a Python name may pass through; vLLM has chains of three.
_MAX_REEXPORTS = 6


class Resolver:
    r"""Finds targets in one tree.

    Answers are kept, refusals too: a book asks for the same anchor on many pages. With a `lock`,
    what it holds is searched for only if the lines there are no longer what they were.
    """

    def __init__(self, tree: Tree, pin: Pin | None = None, lock: Lock | None = None) -> None:
        self.tree = tree
        self.pin = pin or the_pin()
        self.lock = lock
        self._tables: dict[str, SymbolTable] = {}
        self._answers: dict[str, Place | AnchorError] = {}

    def resolve(self, text: str) -> Place:
        r"""The place that a target names; {py:class}`.AnchorError` if there is none, or several."""
        key = " ".join(text.split())
        if key not in self._answers:
            try:
                self._answers[key] = self._find(Target.parse(key))
            except AnchorError as error:
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, AnchorError):
            raise answer
        return answer

    def table(self, path: str) -> SymbolTable:
        r"""The symbols of one Python file, parsed on the first call."""
        if path not in self._tables:
            try:
                self._tables[path] = SymbolTable(self.tree.text(path))
            except SyntaxError as error:
                raise AnchorError(
                    f"{path} is not Python that this interpreter reads: {error}"
                ) from error
        return self._tables[path]

    def _find(self, target: Target) -> Place:
        locked = self._still_locked(target)
        if locked is not None:
            return locked
        if target.kind == "env":
            return find_environment_variable(self, target)
        if target.kind == "flag":
            return find_flag(self, target)
        if target.kind == "log":
            return find_log_call(self, target)
        if target.kind == "default":
            return check_default(self, target)
        if target.kind == "python":
            return self._python_name(target)
        return self._path(target)

    def _still_locked(self, target: Target) -> Place | None:
        # A search, or the parsing of a file, is needed once. While the locked lines are what they
        # were, the locked answer stands; `check` resolves without a lock and searches again.
        locked = self.lock.entries.get(target.text) if self.lock else None
        if locked is None or not self.tree.is_file(locked.place.path):
            return None
        return locked.place if locked.place.digest(self.tree) == locked.sha256 else None

    def _path(self, target: Target) -> Place:
        path = self.existing_path(target)
        if self.tree.is_folder(path):
            if target.symbol or target.fragment:
                raise AnchorError(f"{target.text}: {path} is a folder, it has no symbols or lines")
            return Place(target.text, "folder", path)
        if target.symbol:
            symbol = self.symbol(path, target.symbol)
            place = Place(target.text, symbol.kind, path, symbol.name, symbol.start, symbol.end)
        else:
            place = Place(target.text, "file", path)
        return self._narrow(place, target.fragment) if target.fragment else place

    def existing_path(self, target: Target) -> str:
        r"""The target's path, if the tree and the repository have it."""
        path = target.path or ""
        if self.pin.is_sdist_only(path):
            raise AnchorError(
                f"{target.text}: the sdist's build wrote {path}, the repository at {self.pin.tag} "
                f"does not have it, so a link to it would be dead"
            )
        if self.tree.is_file(path) or self.tree.is_folder(path):
            return path
        name = path.rsplit("/", 1)[-1]
        same_name = sorted(p for p in self.tree.files if p.rsplit("/", 1)[-1] == name)[:5]
        near = same_name or nearest_names(path, sorted(self.tree.files))
        raise AnchorError(f"{target.text}: {self.pin} has no {path}", near)

    def symbol(self, path: str, name: str) -> Symbol:
        r"""A symbol of a Python file, or a heading of a Markdown file."""
        if path.endswith(".md"):
            headings = markdown_headings(self.tree.lines(path))
            wanted = name.replace("`", "")
            if wanted in headings:
                return headings[wanted]
            near = nearest_names(wanted, headings)
            raise AnchorError(
                f"{path} has no heading {wanted!r}, or has it twice", _spell(path, near)
            )
        if path.endswith(C_SUFFIXES):
            return self._c_symbol(path, name)
        if not path.endswith(".py"):
            raise AnchorError(
                f"{path}#{name}: symbols are known in Python, C++, CUDA and Markdown files; "
                f'name one line instead: {path}@"fragment"'
            )
        table = self.table(path)
        if name in table:
            return table[name]
        near = _spell(path, nearest_names(name, table))
        if name in table.imported:
            origin = table.imported[name]
            raise AnchorError(f"{path} imports {name} from {origin}; anchor it there", near)
        raise AnchorError(f"{path} defines no {name}", near)

    def _c_symbol(self, path: str, name: str) -> Symbol:
        definitions = c_definitions(self.tree.text(path))
        found = definitions.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            where = ", ".join(str(symbol.start) for symbol in found)
            raise AnchorError(
                f"{path} defines {name} {len(found)} times, at lines {where}; "
                f'name one line instead: {path}@"fragment"'
            )
        near = _spell(path, nearest_names(name, definitions))
        raise AnchorError(f"{path} defines no {name}", near)

    def _narrow(self, place: Place, fragment: str) -> Place:
        lines = place.slice(self.tree)
        first = place.start or 1
        hits = [first + i for i, line in enumerate(lines) if fragment in line]
        if len(hits) == 1:
            return replace(place, kind="line", start=hits[0], end=hits[0])
        inside = place.where
        if hits:
            raise AnchorError(
                f"{place.target}: {fragment!r} is on {len(hits)} lines of {inside} "
                f"({', '.join(map(str, hits[:8]))}); make it longer"
            )
        near = [line.strip() for line in lines]
        raise AnchorError(
            f"{place.target}: {fragment!r} is on no line of {inside}",
            nearest_names(fragment, near, 3),
        )

    def _python_name(self, target: Target) -> Place:
        name = target.name or ""
        seen: list[str] = []
        while len(seen) <= _MAX_REEXPORTS:
            path, rest = self._module_of(name)
            if path is None:
                break
            if not rest:
                return Place(target.text, "module", path)
            table = self.table(path)
            if rest in table:
                symbol = table[rest]
                return Place(target.text, symbol.kind, path, rest, symbol.start, symbol.end)
            head, _, tail = rest.partition(".")
            if head not in table.imported:
                near = nearest_names(rest, table)
                raise AnchorError(f"{target.text}: {path} defines no {rest}", _spell(path, near))
            seen.append(name)
            name = _absolute(path, table.imported[head]) + (f".{tail}" if tail else "")
        raise AnchorError(f"{target.text}: {self.pin} has no module for {name}")

    def _module_of(self, dotted: str) -> tuple[str | None, str]:
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            stem = "/".join(parts[:length])
            for path in (f"{stem}.py", f"{stem}/__init__.py"):
                if self.tree.is_file(path):
                    return path, ".".join(parts[length:])
        return None, dotted


def _absolute(path: str, imported: str) -> str:
    if not imported.startswith("."):
        return imported
    # One dot is the package that the importing file stands in; each further dot is one package up.
    name = imported.lstrip(".")
    package = path.split("/")[: -(len(imported) - len(name))]
    return ".".join([*package, name])


def _spell(path: str, names: list[str]) -> list[str]:
    return [f"{path}#{name}" for name in names]
