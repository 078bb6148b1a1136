r"""The map as Markdown: one page that is half filled in.

No word of upstream's own descriptions is on it. What a file is for is the reader's to say, in one
sentence; the page gives what can be counted and looked up, and leaves the line for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from upstream_anchors.codebase_map.document import (
    GONE,
    PLACEHOLDER,
    MapDocument,
    Section,
    fenced,
    header,
)
from upstream_anchors.codebase_map.part import Caller, FileEntry, Neighbour, Part

_FEW = 4
_NAMES = 8

_SUFFIX = {"load": "", "typing": " (typing)", "lazy": " (lazy)"}


def write_map(part: Part, pin: str, old: MapDocument | None = None, picture: str = "") -> str:
    r"""The page of a part; `old` is a map whose sentences and notes are kept.

    `picture` is the address of a drawing to show at the top.
    """
    lines = [old.title] if old and old.title and not _is_ours(old.title) else [_title(part)]
    lines += ["", header(part.names, pin), "", *fenced(_summary(part, picture)), ""]
    if old:
        lines += _notes(old.top)
    for folder in part.folders:
        lines += [f"## `{folder}/`", ""]
        if old and folder in old.folders:
            lines += _notes(old.folders[folder])
        empty = [path for path in part.empty if path.rpartition("/")[0] == folder]
        if empty:
            names = _listed([_code(path, folder) for path in empty])
            lines += [*fenced([f"No statement stands in {names}: no sentence needed."]), ""]
        for entry in part.entries:
            if entry.folder == folder:
                lines += _file(part, entry, old.files.get(entry.path) if old else None)
    lines += _gone(part, old) if old else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _title(part: Part) -> str:
    return f"# Map of {_listed([f'`{name}`' for name in part.names])}"


def _is_ours(title: str) -> bool:
    return title.startswith("# Map of `")


def _summary(part: Part, picture: str) -> list[str]:
    lines = sum(entry.file.lines for entry in part.entries)
    calls = sum(entry.file.calls for entry in part.entries)
    outside = sum(entry.file.outside for entry in part.entries)
    unresolved = sum(sum(entry.file.unresolved.values()) for entry in part.entries)
    text = (
        f"{len(part.entries)} files, {lines:,} lines. Of {calls:,} calls in them, "
        f"{calls - outside - unresolved:,} lead to a definition of the tree, {outside:,} to a "
        f"library or to Python itself, and of {unresolved:,} the text does not say where they "
        "lead: callers among those are missing below."
    )
    found = ["", text, ""]
    if picture:
        found += [f"![The files of this part and their imports]({picture})", ""]
    return found


def _file(part: Part, entry: FileEntry, old: Section | None) -> list[str]:
    sentence = old.sentence if old and old.sentence else PLACEHOLDER
    lines = [f"### `{entry.path}`", "", f"Role: {sentence}", ""]
    lines += [*fenced(["", *_facts(part, entry), ""]), ""]
    return lines + (_notes(old) if old else [])


def _facts(part: Part, entry: FileEntry) -> list[str]:
    names = [f"`{name}`" for name, _, _ in entry.public]
    defines = _some(names, _NAMES) if names else "no public name"
    facts = [f"- {entry.file.lines:,} lines; defines {defines}"]
    if entry.imports:
        inside = [_neighbour(one, entry.folder) for one in entry.imports]
        facts.append(f"- imports, of this part: {_listed(inside)}")
    if entry.importers:
        few = _some([_neighbour(one, entry.folder) for one in entry.importers], _FEW)
        beyond = part.outside_importers(entry)
        where = f", {beyond} of them outside this part" if beyond else ""
        facts.append(f"- imported by {_files(len(entry.importers))}{where}: {few}")
    else:
        facts.append("- imported by no file of the tree")
    if entry.callers:
        few = _some([_caller(one, entry.folder) for one in entry.callers], _FEW)
        files = len({one.path for one in entry.callers})
        total = sum(len(one.lines) for one in entry.callers)
        facts.append(f"- called {_times(total)} from {_files(files)}: {few}")
    return facts


def _caller(one: Caller, folder: str) -> str:
    who = f"`{one.caller}` in " if one.caller else "the body of "
    return f"`{one.callee}` by {who}{_code(one.path, folder)}"


def _neighbour(one: Neighbour, folder: str) -> str:
    return _code(one.path, folder) + _SUFFIX[one.when]


def _code(path: str, folder: str) -> str:
    # Beside the file: its name alone, for a line that can be read.
    return f"`{path.removeprefix(folder + '/')}`"


def _gone(part: Part, old: MapDocument) -> list[str]:
    files = {p: s for p, s in old.files.items() if s.has_text and p not in _entries(part)}
    folders = {p: s for p, s in old.folders.items() if s.has_text and p not in part.folders}
    if not (files or folders or old.gone.has_text):
        return []
    lines = [f"## {GONE}", "", *_notes(old.gone)]
    for path, section in folders.items():
        lines += [f"## `{path}/`", "", *_notes(section)]
    for path, section in files.items():
        lines += [f"### `{path}`", ""]
        if section.sentence:
            lines += [f"Role: {section.sentence}", ""]
        lines += _notes(section)
    return lines


def _entries(part: Part) -> set[str]:
    return {entry.path for entry in part.entries}


def _notes(section: Section) -> list[str]:
    lines = section.note_lines
    return [*lines, ""] if lines else []


def _some(items: Sequence[str], limit: int) -> str:
    shown = list(items[:limit])
    more = len(items) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items)


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
