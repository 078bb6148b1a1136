r"""Check 3: does it lie in files that you have read?

The places that the issue names are looked up in the pinned tree and compared with the learner's
MAP.md. Half of them is enough, if the first one is among them: that is where one begins.
"""

from __future__ import annotations

import re

from capstone.triage.findings import Notes, Outcome
from capstone.triage.setting import Setting


def check(setting: Setting) -> Outcome:
    r"""Whether the change begins in known files; leaves them in `setting.files`."""
    notes, mentions = Notes("map"), setting.mentions
    if setting.territory is None:
        return notes.undecided("no map was given", "--map", "map")
    files = mentions.files
    if files:
        place = next(p for p in mentions.places if p.path == files[0])
        notes.add(f"it names {', '.join(files)}", place.where, "tree")
    elif mentions.vanished:
        gone = mentions.gone[0]
        return notes.fail(f"the pinned tree has no {gone.path}", gone.where, "tree")
    else:
        files, absent = _asked(setting)
        if absent and not files:
            rule = f"you name {absent[0]}, which the pinned tree does not have"
            return notes.undecided(rule, "files", "answer")
        for path in absent:
            notes.add(f"you name {path}, which the pinned tree does not have", "files", "answer")
        if not files:
            return notes.undecided("it names no file of the tree, and nobody else did", "body")
        notes.add(f"you name {', '.join(files)}", "files", "answer")
    known = [path for path in files if path in setting.territory]
    if files[0] not in known:
        return notes.fail(
            f"your map has no sentence for {files[0]}", setting.territory.source, "map"
        )
    if 2 * len(known) < len(files):
        rule = f"your map knows {len(known)} of {len(files)} files"
        return notes.fail(rule, setting.territory.source, "map")
    setting.files = tuple(files)
    strange = len(files) - len(known)
    if strange:
        notes.cost.append((2 * strange, f"{strange} of its files are not on your map"))
    return notes.done(f"your map knows {files[0]}", setting.territory.where(files[0]), "map")


def _asked(setting: Setting) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files that the learner names: those of the tree, and those that are not in it."""
    question = "Which files of the tree would the change touch? (paths, separated by commas)"
    said = setting.answers.text(setting.issue.number, "files", question) or ""
    tree = setting.upstream.tree
    named = [path for path in re.split(r"[,\s]+", said) if path]
    there = tuple(path for path in named if tree.is_file(path))
    return there, tuple(path for path in named if path not in there)
