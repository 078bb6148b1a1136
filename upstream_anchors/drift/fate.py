r"""What became of one anchor, in one word, and where it is now.

Eight words, and each anchor gets exactly one. They ask, in this order: is the place still where it
was, by path and name? Does it still say the same? If it is not where it was, where did it go?

| class | path and name | lines | text |
|---|---|---|---|
| `same` | stand | the same | the same |
| `moved` | stand | others | the same |
| `reworded` | stand | any | differs only in layout, comments or docstrings |
| `changed` | stand | any | differs in what it says |
| `renamed` | same file, other name | any | any; its likeness is the score |
| `moved-file` | other file, same name | any | any |
| `renamed-moved` | other file, other name | any | any |
| `gone` | nowhere | | |

What *text* means depends on what the anchor names:

- **A definition**: the lines it owns, decorators included. Of Python the syntax tree is compared
  without docstrings, of C++ and CUDA the tokens without comments, of prose the words.
- **A file**: all of its lines. **A folder**: the list of its files.
- **A line** (`path#Symbol@"fragment"`): the line. First its symbol is followed, as an anchor of
  its own; then the fragment is looked for there. A line that reads almost the same where it stood
  is `changed`. A line that alone of its file went to another definition is `renamed`: what encloses
  it has another name. A line that is nowhere is `gone`, and the note says whether its symbol
  stands.
- **A flag**, **an environment variable**: the statement that registers it. The name is the
  identity, so neither can be renamed: a flag of another name is another flag.
- **A log string**: the call that prints it. The same text printed from another function of the
  file has `moved`. When no call contains the text, the function that had it is followed, and a
  call of it that says nearly the same is `changed`; else the text is `gone`.
- **A default**: its value. Another value is `changed`, with the value in the note; the same value
  in a declaration that reads otherwise is `reworded`.

`holds` is another question than the class: does the anchor, as it is typed in the book, still
resolve in that release? A line whose fragment no longer matches is `changed` and does not hold; a
method with a new body is `changed` and holds. What does not hold needs a person when the pin moves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from upstream_anchors.place import Place

OUTCOMES = (
    "same",
    "moved",
    "reworded",
    "changed",
    "renamed",
    "moved-file",
    "renamed-moved",
    "gone",
)

# Those that were found by likeness or by a trail rather than by path and name.
RELOCATED = ("renamed", "moved-file", "renamed-moved")


@dataclass(frozen=True)
class Fate:
    r"""One anchor in one release.

    `path`, `symbol` and `lines` say where it is there, and are what they were when it is gone.
    `text` is `same`, `reworded` or `changed`; of an anchor that is gone it is empty. `score` is
    set when the place was found by likeness: from 0 to 1, see `likeness.py`. `added`
    and `removed` count the lines of the diff between the two slices.
    """

    target: str
    outcome: str
    path: str
    symbol: str | None = None
    lines: tuple[int, int] | None = None
    text: str = ""
    holds: bool = True
    score: float | None = None
    added: int = 0
    removed: int = 0
    note: str = ""

    @property
    def where(self) -> str:
        r"""Path, symbol and lines, for people."""
        name = f"{self.path}#{self.symbol}" if self.symbol else self.path
        if self.lines is None:
            return name
        first, last = self.lines
        return f"{name}, line {first}" if first == last else f"{name}, lines {first} to {last}"

    def as_json(self, locked: Place) -> str:
        r"""The fate on one line, without what the locked place says already."""
        entry: dict[str, object] = {"is": self.outcome}
        if self.outcome != "gone":
            if self.path != locked.path:
                entry["path"] = self.path
            if self.symbol != locked.symbol:
                entry["symbol"] = self.symbol
            if self.lines is not None and self.lines != (locked.start, locked.end):
                entry["lines"] = list(self.lines)
            if self.outcome in RELOCATED:
                entry["text"] = self.text
        if not self.holds:
            entry["holds"] = False
        if self.score is not None:
            entry["score"] = self.score
        if self.added or self.removed:
            entry["size"] = [self.added, self.removed]
        if self.note:
            entry["note"] = self.note
        return json.dumps(entry, ensure_ascii=False)

    @classmethod
    def from_json(cls, locked: Place, entry: dict) -> Fate:
        r"""Read an entry back, beside the locked place that it was written against."""
        outcome = entry["is"]
        held = None if locked.start is None or locked.end is None else (locked.start, locked.end)
        lines = tuple(entry["lines"]) if "lines" in entry else held
        implied = {"gone": "", "reworded": "reworded", "changed": "changed"}.get(outcome, "same")
        added, removed = entry.get("size", (0, 0))
        return cls(
            locked.target,
            outcome,
            entry.get("path", locked.path),
            entry.get("symbol", locked.symbol),
            lines,  # type: ignore[arg-type]
            entry.get("text", implied),
            entry.get("holds", True),
            entry.get("score"),
            added,
            removed,
            entry.get("note", ""),
        )
